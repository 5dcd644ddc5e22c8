"""What something costs, as a value with an algebra."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, fields

from edgewise.errors import BadInput


class Evidence(enum.StrEnum):
    """Where a number comes from."""

    PREDICTED = "predicted"
    FITTED = "fitted"
    MEASURED = "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one piece of work costs; every field is at least 0.

    ``a + b`` is one after the other: the peak is the larger one, all else adds.
    ``a | b`` is both at once: the latency is the longer one, all else adds, the peak too.

    >>> a, b = Cost(latency_s=1.0, peak_bytes=8), Cost(latency_s=2.0, peak_bytes=5)
    >>> (a + b).latency_s, (a + b).peak_bytes
    (3.0, 8.0)
    >>> (a | b).latency_s, (a | b).peak_bytes
    (2.0, 13.0)
    """

    latency_s: float = 0.0
    energy_j: float = 0.0
    peak_bytes: float = 0.0
    up_bytes: float = 0.0
    down_bytes: float = 0.0
    provider_usd: float = 0.0
    user_usd: float = 0.0
    co2_kg: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = float(getattr(self, field.name))
            if math.isnan(value) or value < 0:
                raise BadInput(
                    expected=f"{field.name} of at least 0",
                    found=str(value),
                    remedy="check what it was computed from",
                )
            object.__setattr__(self, field.name, value)

    def __add__(self, other: Cost) -> Cost:
        return _combine(self, other, largest="peak_bytes")

    def __or__(self, other: Cost) -> Cost:
        return _combine(self, other, largest="latency_s")


ZERO = Cost()


def _combine(a: Cost, b: Cost, *, largest: str) -> Cost:
    totals = {field.name: getattr(a, field.name) + getattr(b, field.name) for field in fields(a)}
    totals[largest] = max(getattr(a, largest), getattr(b, largest))
    return Cost(**totals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A cost with its range and where it comes from; predicted and measured are one type.

    Field by field, ``low <= mid <= high``.

    >>> Forecast.exactly(Cost(latency_s=2.0), Evidence.MEASURED).mid.latency_s
    2.0
    """

    low: Cost
    mid: Cost
    high: Cost
    evidence: Evidence

    def __post_init__(self) -> None:
        for field in fields(Cost):
            low, mid, high = (getattr(c, field.name) for c in (self.low, self.mid, self.high))
            if not low <= mid <= high:
                raise BadInput(
                    expected=f"low <= mid <= high in {field.name}",
                    found=f"{low}, {mid}, {high}",
                    remedy="order the three costs",
                )

    @staticmethod
    def exactly(cost: Cost, evidence: Evidence) -> Forecast:
        """A forecast without spread."""
        return Forecast(low=cost, mid=cost, high=cost, evidence=evidence)

    def __add__(self, other: Forecast) -> Forecast:
        return Forecast(
            low=self.low + other.low,
            mid=self.mid + other.mid,
            high=self.high + other.high,
            evidence=_weaker(self.evidence, other.evidence),
        )


def _weaker(a: Evidence, b: Evidence) -> Evidence:
    order = tuple(Evidence)
    return min(a, b, key=order.index)
