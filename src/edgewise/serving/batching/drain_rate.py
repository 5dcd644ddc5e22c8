"""How fast the queue really drains."""

from __future__ import annotations

from collections import deque

_WINDOW_S = 10.0
_EVENTS = 1024


class DrainRate:
    """Items per second that really ran, over the last seconds in which anything ran.

    Each finished batch counts with the busy time since the one before it, so that neither idle
    time nor several engines at once distort the rate.

    >>> rate = DrainRate()
    >>> rate.busy(now_s=5.0)
    >>> rate.finished(4, now_s=7.0)
    >>> rate.items_per_s(now_s=7.0)
    2.0
    """

    def __init__(self) -> None:
        self._events: deque[tuple[float, int, float]] = deque(maxlen=_EVENTS)
        self._since_s: float | None = None

    def busy(self, *, now_s: float) -> None:
        """An engine starts while none was running."""
        self._since_s = now_s

    def finished(self, items: int, *, now_s: float, idle: bool = False) -> None:
        """A batch has run; ``idle`` when no other is running."""
        since_s = now_s if self._since_s is None else self._since_s
        self._events.append((now_s, items, max(0.0, now_s - since_s)))
        self._since_s = None if idle else now_s

    def items_per_s(self, *, now_s: float) -> float | None:
        """The rate; ``None`` as long as nothing has finished lately."""
        while self._events and self._events[0][0] < now_s - _WINDOW_S:
            self._events.popleft()
        items = sum(event[1] for event in self._events)
        seconds = sum(event[2] for event in self._events)
        # A run that takes ever longer lowers the rate before it ends.
        if self._since_s is not None and self._events:
            longest_s = max(event[2] for event in self._events)
            seconds += max(0.0, now_s - self._since_s - longest_s)
        return items / seconds if items and seconds > 0 else None
