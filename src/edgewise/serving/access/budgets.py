"""How much each key may ask for: token buckets in items and in milliseconds of the engine."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgewise.serving.access.keys import KeyEntry

# A second's worth may be used at once, and never less than one item.
_BURST_S = 1.0


class TokenBucket:
    """Fills at a steady rate up to a brim; may be taken below empty, and then has to recover.

    Source: token bucket as in RFC 2697, section 3, with one bucket.

    Args:
        rate_per_s: tokens that flow in.
        brim: the most that it holds; it starts full.
        now_s: on a clock that only goes forward.

    >>> bucket = TokenBucket(rate_per_s=2.0, brim=4.0, now_s=0.0)
    >>> bucket.take(4.0, now_s=0.0)
    >>> bucket.wait_s(1.0, now_s=0.0)
    0.5
    """

    def __init__(self, *, rate_per_s: float, brim: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._brim = self._level = brim
        self._then_s = now_s

    def wait_s(self, amount: float, *, now_s: float) -> float:
        """Seconds until so much is there; what is more than the brim only needs a full bucket."""
        self._fill(now_s)
        return max(0.0, min(amount, self._brim) - self._level) / self._rate_per_s

    def take(self, amount: float, *, now_s: float) -> None:
        """Take so much, whether it is there or not."""
        self._fill(now_s)
        self._level -= amount

    def _fill(self, now_s: float) -> None:
        passed_s = max(0.0, now_s - self._then_s)
        self._level = min(self._brim, self._level + passed_s * self._rate_per_s)
        self._then_s = max(self._then_s, now_s)


class Budget:
    """What one key has left; used from the event loop alone, hence without a lock.

    Items are paid before the engine runs, its time after: nobody knows it earlier. A key in debt
    waits until the debt is paid.

    Args:
        entry: with the limits.
        clock: seconds that only go forward.
    """

    def __init__(self, entry: KeyEntry, *, clock: Callable[[], float]) -> None:
        self.entry = entry
        self._clock = clock
        self._concurrent = entry.concurrent
        self._items = self._bucket(entry.items_per_s, least=1.0)
        self._compute_ms = self._bucket(entry.compute_ms_per_s, least=1.0)
        self.under_way = 0

    @property
    def name(self) -> str:
        """The operator's name for the key."""
        return self.entry.name

    def retry_after_s(self, *, items: int = 1) -> int | None:
        """Whole seconds until there is room for so many items; ``None`` when there is now."""
        now_s = self._clock()
        wait_s = self._items.wait_s(items, now_s=now_s) if self._items else 0.0
        if self._compute_ms:
            wait_s = max(wait_s, self._compute_ms.wait_s(1.0, now_s=now_s))
        return math.ceil(wait_s) if wait_s > 0 else None

    @property
    def is_crowded(self) -> bool:
        """Whether as many requests are under way as may be."""
        return self._concurrent is not None and self.under_way >= self._concurrent

    def pay_items(self, items: int) -> None:
        """Take items."""
        if self._items:
            self._items.take(items, now_s=self._clock())

    def pay_compute(self, seconds: float) -> None:
        """Take time of the engine."""
        if self._compute_ms:
            self._compute_ms.take(seconds * 1e3, now_s=self._clock())

    def _bucket(self, rate_per_s: float | None, *, least: float) -> TokenBucket | None:
        if rate_per_s is None:
            return None
        brim = max(least, rate_per_s * _BURST_S)
        return TokenBucket(rate_per_s=rate_per_s, brim=brim, now_s=self._clock())
