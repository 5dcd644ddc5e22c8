"""What was measured lately of both halves' computing, and how it fades; pure values, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

_PACE_HALF_LIFE_S = 60.0
_PACE_WEIGHT = 0.3
_MOST_RATIO = 1e3
_QUEUE_HALF_LIFE_S = 8.0
_QUEUE_WEIGHT = 0.3
_WINDOW = 64


def share_left(age_s: float, half_life_s: float) -> float:
    """The share of a measurement's weight that is left; a clock that jumps back takes none.

    >>> share_left(16.0, 8.0), share_left(-1.0, 8.0)
    (0.25, 1.0)
    """
    share: float = 0.5 ** (max(0.0, age_s) / half_life_s)
    return share


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How many times longer work takes than planned: throttling, or a busy server.

    An average that gives the newest measurement 30 %, and fades to 1 with a half-life of a
    minute, so that what is no longer tried is tried again.

    >>> Drift().observed(now_s=0.0, measured_s=0.2, planned_s=0.1).ratio(0.0)
    2.0
    """

    now_s: float = 0.0
    mean: float = 1.0
    samples: int = 0

    def observed(self, *, now_s: float, measured_s: float, planned_s: float) -> Drift:
        """With one more measurement; a plan of nothing says nothing."""
        if planned_s <= 0 or not 0 < measured_s < math.inf:
            return self
        newest = min(_MOST_RATIO, measured_s / planned_s)
        share = _PACE_WEIGHT if self.samples else 1.0
        mean = self.ratio(now_s) * (1 - share) + newest * share
        return Drift(now_s=now_s, mean=mean, samples=self.samples + 1)

    def ratio(self, now_s: float) -> float:
        """Measured over planned, as far as that still holds."""
        return 1 + (self.mean - 1) * share_left(now_s - self.now_s, _PACE_HALF_LIFE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """How long requests wait at the server before it works on them, whatever their route.

    Quick to believe in a longer wait, slow to believe in a shorter one; fades to none with a
    half-life of 8 seconds, so that a server that is no longer asked is asked again.

    >>> busy = Queue().observed(now_s=0.0, waited_s=1.0)
    >>> busy.wait_s(0.0), busy.wait_s(8.0), busy.observed(now_s=0.0, waited_s=0.0).wait_s(0.0)
    (1.0, 0.5, 0.7)
    """

    now_s: float = 0.0
    mean_s: float = 0.0

    def observed(self, *, now_s: float, waited_s: float) -> Queue:
        """With one more measurement."""
        before_s = self.wait_s(now_s)
        mixed_s = before_s * (1 - _QUEUE_WEIGHT) + waited_s * _QUEUE_WEIGHT
        return Queue(now_s=now_s, mean_s=max(waited_s, mixed_s))

    def wait_s(self, now_s: float) -> float:
        """Expected of the next request."""
        return self.mean_s * share_left(now_s - self.now_s, _QUEUE_HALF_LIFE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The newest 64 measurements, for quantiles.

    >>> Window().added(3.0).added(1.0).added(2.0).quantile(0.5)
    2.0
    """

    values: tuple[float, ...] = ()

    def added(self, value: float) -> Window:
        """With one more, the oldest left out."""
        return Window(values=(*self.values, value)[-_WINDOW:])

    def quantile(self, share: float) -> float | None:
        """The smallest value that at least this share does not exceed; ``None`` without any."""
        if not self.values:
            return None
        rank = math.ceil(share * len(self.values))
        return sorted(self.values)[max(0, rank - 1)]
