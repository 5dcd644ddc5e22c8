"""Ending in good order: first not ready, then deaf, then gone."""

from __future__ import annotations

from collections.abc import Callable


class Draining:
    """Whether the server is about to end.

    From the first signal on it is not ready, so that whoever balances load looks elsewhere; it
    goes on answering for the notice, then takes no more connections and finishes what is under
    way.

    Args:
        notice_s: from the first signal until no more connections are taken.
        clock: seconds that only go forward.

    >>> draining = Draining(notice_s=5.0, clock=lambda: 0.0)
    >>> draining.begin()
    >>> draining.has_begun, draining.is_deaf
    (True, False)
    """

    def __init__(self, *, notice_s: float, clock: Callable[[], float]) -> None:
        self._notice_s = notice_s
        self._clock = clock
        self._since_s: float | None = None

    def begin(self) -> None:
        """Be not ready from now on."""
        if self._since_s is None:
            self._since_s = self._clock()

    @property
    def has_begun(self) -> bool:
        """Whether the server is no longer ready."""
        return self._since_s is not None

    @property
    def is_deaf(self) -> bool:
        """Whether the notice is over."""
        return self._since_s is not None and self._clock() >= self._since_s + self._notice_s
