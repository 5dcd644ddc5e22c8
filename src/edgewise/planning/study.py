"""Decide what runs where: every way of answering costed, the best that holds chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgewise.bundle import Quality, RouteKind
from edgewise.errors import BadInput
from edgewise.graphs import Cut, Model, find_cuts
from edgewise.planning.candidates import (
    FULL,
    Candidate,
    Limits,
    Objective,
    Samples,
    Settings,
    Sketch,
    sketch_all,
)
from edgewise.planning.judging import Judge
from edgewise.planning.measuring import Measurements, cut_for, measure
from edgewise.planning.prediction import Target, predict, refine
from edgewise.preparation import ImagePreparation
from edgewise.profiling import Progress, Segments, measure_halves
from edgewise.units import format_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What runs where on one link, and why everything else was rejected.

    Args:
        model_digest: the original network.
        variants: digest of every network that may run, by name.
        objective: what was made small.
        target: device, link and cloud.
        limits: what the chosen one keeps.
        chosen: the best candidate that keeps the limits.
        candidates: every candidate, fastest first, the chosen one included.
    """

    model_digest: str
    variants: Mapping[str, str]
    objective: Objective
    target: Target
    limits: Limits
    chosen: Candidate
    candidates: tuple[Candidate, ...]


def plan(
    variants: Mapping[str, Model],
    samples: Samples,
    targets: Sequence[Target],
    *,
    preparation: ImagePreparation | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> tuple[Plan, ...]:
    """Plan for each target; everything is measured once, on this machine.

    Args:
        variants: networks with the same inputs and outputs, by name; ``full`` is the original.
        samples: disjoint examples for ranges and for judging.
        targets: device, link and cloud; one plan for each.
        preparation: of pictures, when inputs are pictures.
        settings: qualities, limits and effort.
        progress: told what is being done, and how far it is.

    Raises:
        BadInput: without examples or targets, or when no candidate keeps the limits.
    """
    study = begin_study(
        variants, samples, preparation=preparation, settings=settings, progress=progress
    )
    if not targets:
        raise BadInput(expected="at least one link", found="none", remedy="pass --link")
    return tuple(study.plan(target) for target in targets)


def begin_study(
    variants: Mapping[str, Model],
    samples: Samples,
    *,
    preparation: ImagePreparation | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Study:
    """Measure everything once; then plan for as many targets and limits as wanted.

    The arguments are those of :func:`plan`.
    """
    _check(variants, samples)
    settings = settings or Settings()
    cuts = useful_cuts(variants)
    measured = measure(
        variants,
        cuts,
        samples,
        preparation=preparation,
        settings=settings,
        progress=progress,
    )
    return Study(variants, samples, measured, preparation, settings)


def useful_cuts(variants: Mapping[str, Model]) -> dict[str, tuple[Cut, ...]]:
    """Legal cuts worth costing, by variant.

    A smaller variant is cut where the original is: the tensors that its own nodes add, such as
    those between QuantizeLinear and DequantizeLinear, carry nothing that these do not.
    """
    legal = {name: find_cuts(model) for name, model in variants.items()}
    known = {at.content[0].name for at in legal[FULL]}
    return {
        name: tuple(at for at in cuts if at.content[0].name in known)
        for name, cuts in legal.items()
    }


class Study:
    """Measurements shared by many plans; see :func:`begin_study`.

    Args:
        variants: networks by name.
        samples: disjoint examples.
        measured: times on this machine.
        preparation: of pictures, when inputs are pictures.
        settings: qualities, limits and effort.
    """

    def __init__(
        self,
        variants: Mapping[str, Model],
        samples: Samples,
        measured: Measurements,
        preparation: ImagePreparation | None,
        settings: Settings,
    ) -> None:
        self._variants = variants
        self._samples = samples
        self._measured = measured
        self._settings = settings
        self._sketches = sketch_all(
            variants,
            measured.cuts,
            pixels=preparation is not None and bool(measured.pixels),
            quality_level=settings.quality_level,
        )
        self._judge = Judge(
            variants,
            calibrate=samples.calibrate,
            select=samples.select,
            preparation=preparation,
        )
        self._segments: dict[str, Segments] = {}
        self._quality: dict[str, Quality] = {}

    def plan(self, target: Target, limits: Limits | None = None) -> Plan:
        """What runs where for one target.

        Args:
            target: device, link and cloud.
            limits: instead of those of the settings.

        Raises:
            BadInput: when no candidate keeps the limits.
        """
        limits = limits or self._settings.limits
        full = self._variants[FULL]
        ranked = sorted(
            (
                predict(s, self._measured, target, inputs=full.inputs, outputs=full.outputs)
                for s in self._sketches
            ),
            key=_by_time,
        )
        best, rest = ranked[: self._settings.refined], ranked[self._settings.refined :]
        refined = [self._refine(candidate, target) for candidate in best]
        ranked = sorted([*refined, *rest], key=_by_time)
        chosen, judged = self._choose(ranked, target, limits)
        return Plan(
            model_digest=full.digest,
            variants={name: model.digest for name, model in self._variants.items()},
            objective=Objective.LATENCY,
            target=target,
            limits=limits,
            chosen=chosen,
            candidates=tuple(_explain(c, chosen) for c in judged),
        )

    def _refine(self, candidate: Candidate, target: Target) -> Candidate:
        if candidate.sketch.kind is not RouteKind.SPLIT:
            return candidate
        return refine(
            candidate,
            self._halves_times(candidate.sketch),
            target,
            normalise=self._measured.normalise,
        )

    def _halves_times(self, sketch: Sketch) -> Segments:
        if sketch.name not in self._segments:
            assert sketch.cut is not None
            halves = cut_for(
                self._variants[sketch.variant],
                sketch.cut,
                sketch.codec,
                self._samples.calibrate,
            )
            feeds = self._samples.select[0].feeds
            self._segments[sketch.name] = measure_halves(halves, feeds, repeats=15)
        return self._segments[sketch.name]

    def _choose(
        self, ranked: Sequence[Candidate], target: Target, limits: Limits
    ) -> tuple[Candidate, list[Candidate]]:
        judged: list[Candidate] = []
        for position, raw in enumerate(ranked):
            candidate = self._refine(raw, target)
            reason = forbidden(candidate, limits)
            if reason is None:
                candidate = self._with_quality(candidate)
                reason = refusal(candidate, limits)
            judged.append(replace(candidate, rejected=reason))
            if reason is None:
                return candidate, [*judged, *ranked[position + 1 :]]
        raise BadInput(
            expected="a route that keeps the limits",
            found=judged[0].rejected or "none",
            remedy="loosen --min-agreement or --max-latency, or give more examples",
        )

    def _with_quality(self, candidate: Candidate) -> Candidate:
        name = candidate.sketch.name
        if name not in self._quality:
            self._quality[name] = self._judge.judge(candidate)
        return replace(candidate, route=replace(candidate.route, quality=self._quality[name]))


def forbidden(candidate: Candidate, limits: Limits) -> str | None:
    """Why a candidate is out of the question, whatever its quality."""
    if limits.raw_input_stays and candidate.sketch.kind is RouteKind.CLOUD:
        return "sends the raw input, which must stay on the device"
    return None


def refusal(candidate: Candidate, limits: Limits) -> str | None:
    """Why a judged candidate breaks the limits; ``None`` when it keeps them."""
    quality = candidate.route.quality
    if quality is not None and quality.value < limits.min_agreement:
        return (
            f"decides as the full network on {quality.value:.1%} of {quality.n} examples, "
            f"below {limits.min_agreement:.1%}"
        )
    if limits.max_latency_s is not None and candidate.total_s > limits.max_latency_s:
        return (
            f"takes {format_duration(candidate.total_s)}, "
            f"over the limit of {format_duration(limits.max_latency_s)}"
        )
    return None


def _by_time(candidate: Candidate) -> float:
    return candidate.total_s


def _explain(candidate: Candidate, chosen: Candidate) -> Candidate:
    if candidate.rejected is not None or candidate.sketch.name == chosen.sketch.name:
        return candidate
    slower = candidate.total_s - chosen.total_s
    share = max(_SHARES, key=lambda share: share[1](candidate))
    return replace(
        candidate,
        rejected=f"{format_duration(slower)} slower than {chosen.sketch.name}, "
        f"mostly {share[0]} ({format_duration(share[1](candidate))})",
    )


_SHARES: tuple[tuple[str, Callable[[Candidate], float]], ...] = (
    ("on the device", lambda c: c.device.mid.latency_s),
    ("on the link", lambda c: c.link.mid.latency_s),
    ("in the cloud", lambda c: c.cloud.mid.latency_s),
)


def _check(variants: Mapping[str, Model], samples: Samples) -> None:
    if FULL not in variants:
        raise BadInput(
            expected=f"a variant named {FULL!r}",
            found=", ".join(variants) or "none",
            remedy="pass the original network under that name",
        )
    if not samples.calibrate or not samples.select:
        raise BadInput(
            expected="examples to calibrate and to select with",
            found="none",
            remedy="pass --data DIR with at least two examples",
        )
