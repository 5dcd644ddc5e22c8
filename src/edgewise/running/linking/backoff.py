"""When to try again: later each time, and seldom in all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_DOUBLINGS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How deliveries are tried again.

    Args:
        first_s: the pause after one failure; each further one doubles it.
        longest_s: and no pause is longer.
        budget: failures in a row of attempts before every pause is the longest; each success
            gives a tenth of one back (gRPC A6, retry throttling: tokens and their ratio).
        timeout_s: how long one delivery may take.

    >>> Patience(first_s=0.5).longest_s
    300.0
    """

    first_s: float = 1.0
    longest_s: float = 300.0
    budget: float = 10.0
    timeout_s: float = 30.0


class Backoff:
    """Counts failures; knows neither clocks nor threads.

    Args:
        patience: how long and how often.
        chance: gives a number from 0 to 1, so that many devices do not come back at once.

    >>> backoff = Backoff(Patience(), chance=lambda: 1.0)
    >>> [backoff.failed() for _ in range(4)]
    [1.0, 2.0, 4.0, 8.0]
    """

    def __init__(self, patience: Patience, *, chance: Callable[[], float]) -> None:
        self._patience = patience
        self._chance = chance
        self._failures = 0
        self._tokens = patience.budget

    def failed(self) -> float:
        """The pause before the next attempt, in seconds."""
        patience = self._patience
        pause_s = patience.first_s * 2.0 ** min(self._failures, _DOUBLINGS)
        self._failures += 1
        self._tokens = max(0.0, self._tokens - 1)
        if not self._tokens:
            pause_s = patience.longest_s
        return min(pause_s, patience.longest_s) * (0.5 + 0.5 * self._chance())

    def succeeded(self) -> None:
        """The way is open again."""
        self._failures = 0
        self._tokens = min(self._patience.budget, self._tokens + 0.1)
