"""Decide what runs where: every way of answering costed, the best that holds chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
from edgewise.planning.choosing import by_time, choose, forbidden, unfaithful
from edgewise.planning.judging import Judge
from edgewise.planning.measuring import Cutter, Measurements, measure
from edgewise.planning.prediction import Target, predict, refine
from edgewise.preparation import ImagePreparation
from edgewise.profiling import (
    NotFinite,
    Segments,
    measure_contenders,
    measure_halves,
    open_axes,
)
from edgewise.progress import Progress

_VARIANT_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")  # part of file names in the bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What runs where on one link, and why everything else was rejected.

    Args:
        model_digest: the file of the original network, before trimming.
        variants: digest of every network that may run, by name.
        objective: what was made small.
        target: device, link and cloud.
        limits: what the chosen one keeps.
        chosen: the best candidate that keeps the limits.
        fallback: the fastest one without the cloud that decides well enough, however long it
            takes.
        candidates: every candidate, fastest first, the chosen one included.
    """

    model_digest: str
    variants: Mapping[str, str]
    objective: Objective
    target: Target
    limits: Limits
    chosen: Candidate
    fallback: Candidate
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
        BadInput: without examples or targets.
        LimitNotMet: when no candidate keeps the limits.
    """
    study = begin_study(
        variants, samples, preparation=preparation, settings=settings, progress=progress
    )
    if not targets:
        raise BadInput(expected="at least one link", found="none", remedy="pass --link")
    return study.plans([(target, study.limits) for target in targets])


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
    for model in variants.values():
        _check_axes(model)
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
            quality_levels=settings.quality_levels,
        )
        self._cutter = Cutter(variants, samples.calibrate)
        self._judge = Judge(
            variants, cutter=self._cutter, select=samples.select, preparation=preparation
        )
        self._witness = self._judge
        if samples.report:
            self._witness = Judge(
                variants, cutter=self._cutter, select=samples.report, preparation=preparation
            )
        self._segments: dict[str, Segments] = {}
        self._leading: frozenset[str] = frozenset()
        self._quality: dict[str, Quality] = {}
        self._stated: dict[str, Quality] = {}

    @property
    def limits(self) -> Limits:
        """What a route must keep unless a plan says otherwise."""
        return self._settings.limits

    def plans(self, wanted: Sequence[tuple[Target, Limits]]) -> tuple[Plan, ...]:
        """Plans for several targets and limits, comparable with each other.

        The whole networks and the leading candidates of all of them are timed in one go, in
        turn: on a machine that drifts, times taken one after the other favour the lucky.

        Args:
            wanted: what to plan for.

        Raises:
            LimitNotMet: when no candidate keeps the limits of one of them.
        """
        leaders = {
            sketch.name: sketch
            for target, limits in wanted
            for sketch in self._leaders(target, limits)
        }
        self._time_together(list(leaders.values()))
        return tuple(self.plan(target, limits) for target, limits in wanted)

    def plan(self, target: Target, limits: Limits | None = None) -> Plan:
        """What runs where for one target.

        Args:
            target: device, link and cloud.
            limits: instead of those of the settings.

        Raises:
            LimitNotMet: when no candidate keeps the limits.
        """
        limits = limits or self.limits
        full = self._variants[FULL]
        trial = _Trial(self, target, limits)
        predicted = [
            trial.refine(candidate) if candidate.sketch.name in self._leading else candidate
            for candidate in self._predict(target)
        ]
        chosen, candidates = choose(predicted, trial, refined=self._settings.refined)
        chosen = self._with_stated_quality(chosen)
        fallback = self._with_stated_quality(self._fallback(candidates, limits))
        return Plan(
            model_digest=full.origin,
            variants={name: model.digest for name, model in self._variants.items()},
            objective=Objective.LATENCY,
            target=target,
            limits=limits,
            chosen=chosen,
            fallback=fallback,
            candidates=tuple(_same_name(_same_name(c, fallback), chosen) for c in candidates),
        )

    def _predict(self, target: Target) -> list[Candidate]:
        full = self._variants[FULL]
        return [predict(sketch, self._measured, target, model=full) for sketch in self._sketches]

    def _leaders(self, target: Target, limits: Limits) -> list[Sketch]:
        splits = [
            candidate
            for candidate in self._predict(target)
            if candidate.sketch.kind is RouteKind.SPLIT and forbidden(candidate, limits) is None
        ]
        return [c.sketch for c in sorted(splits, key=by_time)[: self._settings.refined]]

    def _time_together(self, sketches: Sequence[Sketch]) -> None:
        try:
            halves = {
                sketch.name: self._cutter.cut(sketch.variant, sketch.cut, sketch.codec)
                for sketch in sketches
                if sketch.cut is not None
            }
            feeds = self._samples.select[0].feeds
            whole, segments = measure_contenders(self._variants, halves, feeds, repeats=9)
        except NotFinite:
            return  # each will be timed by itself, and the one that overflows rejected
        self._measured = replace(self._measured, whole=whole)
        self._segments.update(segments)
        self._leading = frozenset(segments)

    def refine(self, candidate: Candidate, target: Target) -> Candidate:
        """The same candidate with the times of its very own halves.

        Raises:
            NotFinite: when one half gives what the other cannot take.
        """
        if candidate.sketch.kind is not RouteKind.SPLIT:
            return candidate
        times = self._halves_times(candidate.sketch)
        return refine(candidate, times, target, normalise=self._measured.normalise)

    def with_quality(self, candidate: Candidate) -> Candidate:
        """The same candidate with its agreement on the examples.

        Raises:
            NotFinite: when one half gives what the other cannot take.
        """
        quality = self._quality_of(candidate.sketch)
        return replace(candidate, route=replace(candidate.route, quality=quality))

    def _with_stated_quality(self, candidate: Candidate) -> Candidate:
        """With its agreement on examples that had no part in choosing it."""
        name = candidate.sketch.name
        if self._witness is self._judge:
            return self.with_quality(candidate)
        if name not in self._stated:
            self._stated[name] = self._witness.judge(candidate.sketch)
        return replace(candidate, route=replace(candidate.route, quality=self._stated[name]))

    def _quality_of(self, sketch: Sketch) -> Quality:
        if sketch.name not in self._quality:
            self._quality[sketch.name] = self._judge.judge(sketch)
        return self._quality[sketch.name]

    def spoiled(self, variant: str, limits: Limits) -> str | None:
        """Why no route with this network can be good enough; ``None`` when one may be."""
        if variant == FULL:
            return None
        whole = next(
            c for c in self._sketches if (c.kind, c.variant) == (RouteKind.LOCAL, variant)
        )
        reason = unfaithful(self._quality_of(whole), limits)
        return None if reason is None else f"its network {reason}"

    def _halves_times(self, sketch: Sketch) -> Segments:
        if sketch.name not in self._segments:
            assert sketch.cut is not None
            halves = self._cutter.cut(sketch.variant, sketch.cut, sketch.codec)
            feeds = self._samples.select[0].feeds
            self._segments[sketch.name] = measure_halves(halves, feeds, repeats=15)
        return self._segments[sketch.name]

    def _fallback(self, candidates: Sequence[Candidate], limits: Limits) -> Candidate:
        local = [c for c in candidates if c.sketch.kind is RouteKind.LOCAL]
        for candidate in sorted(local, key=by_time):
            judged = self.with_quality(candidate)
            if (
                candidate.sketch.variant == FULL
                or unfaithful(judged.route.quality, limits) is None
            ):
                return judged
        raise AssertionError("the full network is always a candidate")


class _Trial:
    """What a study can find out about the candidates of one plan."""

    def __init__(self, study: Study, target: Target, limits: Limits) -> None:
        self._study = study
        self._target = target
        self._limits = limits

    def refused(self, candidate: Candidate) -> str | None:
        reason = forbidden(candidate, self._limits)
        if reason is None and candidate.sketch.kind is RouteKind.SPLIT:
            reason = self._study.spoiled(candidate.sketch.variant, self._limits)
        return reason

    def refine(self, candidate: Candidate) -> Candidate:
        try:
            return self._study.refine(candidate, self._target)
        except NotFinite as error:
            return replace(candidate, rejected=f"cannot be sent: {error}")

    def judge(self, candidate: Candidate) -> Candidate:
        try:
            judged = self._study.with_quality(candidate)
        except NotFinite as error:
            return replace(candidate, rejected=f"cannot be sent: {error}")
        return replace(judged, rejected=unfaithful(judged.route.quality, self._limits))


def _same_name(candidate: Candidate, judged: Candidate) -> Candidate:
    """The candidate, or the one of its name that has been judged."""
    return judged if candidate.sketch.name == judged.sketch.name else candidate


def _check_axes(model: Model) -> None:
    _, others = open_axes(model.inputs)
    for spec in model.inputs:
        for axis in spec.shape:
            if axis in others:
                raise BadInput(
                    expected=f"a network {model.name!r} whose only open axis is the batch",
                    found=f"the axis {axis!r} of the input {spec.name!r}",
                    remedy="export it with fixed sizes, or fix them: "
                    f"edgewise.graphs.fix_axes(model, {{{axis!r}: SIZE}})",
                )


def _check(variants: Mapping[str, Model], samples: Samples) -> None:
    if FULL not in variants:
        raise BadInput(
            expected=f"a variant named {FULL!r}",
            found=", ".join(variants) or "none",
            remedy="pass the original network under that name",
        )
    odd = [name for name in variants if not _VARIANT_NAME.fullmatch(name)]
    if odd:
        raise BadInput(
            expected="variants named by 1 to 40 letters, digits and _ -",
            found=repr(odd[0][:60]),
            remedy="give the variant another name",
        )
    if not samples.calibrate or not samples.select:
        raise BadInput(
            expected="examples to calibrate and to select with",
            found="none",
            remedy="pass --data DIR with at least two examples",
        )
