"""Candidates and trials whose every outcome is stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgewise.bundle import Coefficients, PayloadCodec, Quality, Route, RouteKind
from edgewise.cost import Cost, Evidence, Forecast
from edgewise.planning import Candidate, Limits, Sketch
from edgewise.planning.choosing import forbidden, unfaithful


def _exactly(seconds: float) -> Forecast:
    return Forecast.exactly(Cost(latency_s=seconds), Evidence.PREDICTED)


def candidate(
    name: str,
    total_s: float,
    *,
    kind: RouteKind = RouteKind.SPLIT,
    variant: str = "full",
    agreement: float | None = None,
) -> Candidate:
    """Half on the device, a quarter on the link, a quarter in the cloud."""
    sketch = Sketch(
        name=name,
        kind=kind,
        variant=variant,
        codec=PayloadCodec.NONE if kind is RouteKind.LOCAL else PayloadCodec.FP32,
        sends_input=kind is RouteKind.CLOUD,
    )
    return Candidate(
        sketch=sketch,
        route=Route(
            name=name,
            kind=kind,
            quality=None if agreement is None else quality(agreement),
            coefficients=Coefficients(device_s=total_s),
        ),
        device=_exactly(total_s / 2),
        link=_exactly(total_s / 4),
        cloud=_exactly(total_s / 4),
        total=_exactly(total_s),
    )


def quality(agreement: float) -> Quality:
    return Quality(metric="agreement", value=agreement, low=0.0, high=1.0, n=20)


@dataclass
class StatedTrial:
    """Knows in advance what refining and judging find, and notes what it was asked."""

    limits: Limits = field(default_factory=Limits)
    exact_s: Mapping[str, float] = field(default_factory=dict)
    agreement: Mapping[str, float] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    refined: list[str] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)

    def refused(self, one: Candidate) -> str | None:
        return forbidden(one, self.limits)

    def refine(self, one: Candidate) -> Candidate:
        name = one.sketch.name
        self.refined.append(name)
        if name in self.broken:
            return replace(one, rejected="cannot be sent")
        return replace(one, total=_exactly(self.exact_s.get(name, one.total_s)))

    def judge(self, one: Candidate) -> Candidate:
        self.judged.append(one.sketch.name)
        found = quality(self.agreement.get(one.sketch.name, 1.0))
        judged = replace(one, route=replace(one.route, quality=found))
        return replace(judged, rejected=unfaithful(found, self.limits))
