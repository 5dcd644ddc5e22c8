"""Find out everything that can be said of a network without running it on real data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgewise.errors import BadInput, EdgewiseError
from edgewise.graphs import (
    ASSUMED_AXIS,
    FRONTIER_BOUND,
    Cut,
    Model,
    Trim,
    find_cuts,
    find_frontiers,
    outline,
    trim,
    weights_held,
)
from edgewise.profiling.counting import count
from edgewise.profiling.dominance import undominated
from edgewise.profiling.inspection import CutFigures, Inspection
from edgewise.profiling.liveness import find_peak
from edgewise.profiling.prefix import prefixes_of
from edgewise.profiling.profile import Profile
from edgewise.tensors import Axes, TensorSpec
from edgewise.units import format_bytes

_NODES_NAMED = 3
_MOST_HELD = 2000  # cuts whose weights are added up: seconds for networks of 10 000 nodes
_MOST_RUN_BYTES = 2_000_000_000  # a network is run to see what can go


def inspect(
    model: Model, *, batch: int = 1, axes: Axes | None = None, trimming: bool = True
) -> Inspection:
    """Find out everything that can be said of a network without real data.

    What cannot be known of a network is left out with its reason; the rest is there.

    Args:
        model: a loaded network.
        batch: the size of the inputs' symbolic first axes.
        axes: sizes of symbolic axes by name; others than the batch are taken as 128.
        trimming: whether to try what can be trimmed, which runs the network a few times.

    Raises:
        BadInput: on an axis that the network does not have, or a size below 1.
    """
    sizes, assumed = _settle_axes(model.inputs, batch, axes or {})
    profile, uncounted = _count(model, batch, sizes)
    step, untrimmed = _trim(model, profile) if trimming else (None, "it was not asked for")
    search, cuts = find_frontiers(model, bound=FRONTIER_BOUND), find_cuts(model)
    figures = _figures((*cuts, *search.cuts), model, profile, batch, sizes)
    several = [cut for cut in figures[len(cuts) :] if cut.unbeaten]
    shown = _with_weights([*figures[: len(cuts)], *several], model)
    return Inspection(
        model=model,
        outline=outline(model),
        batch=batch,
        axes=sizes,
        assumed=assumed,
        profile=profile,
        peak=None if profile is None else find_peak(profile, _names(model.outputs)),
        uncounted=uncounted,
        cuts=shown[: len(cuts)],
        frontiers=shown[len(cuts) :],
        search=search,
        frontier_bound=FRONTIER_BOUND,
        trim=step,
        untrimmed=untrimmed,
    )


def open_axes(inputs: Sequence[TensorSpec]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the symbolic first axes, which are the batch, and those of all others.

    >>> words = TensorSpec(name="ids", dtype="int64", shape=("n", "words"))
    >>> open_axes([words])
    (('n',), ('words',))
    """
    firsts = dict.fromkeys(d for s in inputs for d in s.shape[:1] if isinstance(d, str))
    every = dict.fromkeys(dim for spec in inputs for dim in spec.shape if isinstance(dim, str))
    return tuple(firsts), tuple(name for name in every if name not in firsts)


def _settle_axes(
    inputs: Sequence[TensorSpec], batch: int, axes: Axes
) -> tuple[dict[str, int], tuple[str, ...]]:
    firsts, others = open_axes(inputs)
    _check_names((*firsts, *others), axes)
    _check_batch(inputs, firsts, batch, axes)
    assumed = tuple(name for name in others if name not in axes)
    return {**dict.fromkeys(assumed, ASSUMED_AXIS), **axes}, assumed


def _check_names(known: Sequence[str], axes: Axes) -> None:
    for name, size in axes.items():
        if name not in known:
            raise BadInput(
                expected=f"one of the open axes {', '.join(known)}"
                if known
                else "no axis to be named, for all sizes of this network are fixed",
                found=repr(name[:80]),
                remedy="check the name" if known else "leave --axis away",
            )
        _check_size(f"a size of at least 1 for the axis {name!r}", size)


def _check_batch(
    inputs: Sequence[TensorSpec], firsts: Sequence[str], batch: int, axes: Axes
) -> None:
    _check_size("a batch of at least 1", batch)
    if batch > 1 and not firsts:
        raise BadInput(
            expected="a network with an open first axis for a batch",
            found=", ".join(map(str, inputs)),
            remedy="leave --batch away, or export the network with a symbolic batch",
        )
    twice = [name for name in firsts if axes.get(name, batch) != batch]
    if batch > 1 and twice:
        raise BadInput(
            expected=f"one size for the batch {twice[0]!r}",
            found=f"{batch} and {axes[twice[0]]}",
            remedy="leave --batch or --axis away",
        )


def _check_size(expected: str, size: int) -> None:
    if size < 1:
        raise BadInput(expected=expected, found=str(size), remedy="use 1 or more")


def _count(model: Model, batch: int, axes: Axes) -> tuple[Profile | None, str]:
    try:
        profile = count(model, batch=batch, axes=axes)
    except BadInput as error:
        return None, str(error)
    return profile, _left_out(profile)


def _left_out(profile: Profile) -> str:
    nodes = profile.uncounted
    if not nodes:
        return ""
    named = ", ".join(map(repr, nodes[:_NODES_NAMED])) + ", …" * (len(nodes) > _NODES_NAMED)
    why = str(profile.unsized[0]) if profile.unsized else "only running it tells"
    return f"{len(nodes)} node{'s' * (len(nodes) > 1)} ({named}): {why}"


def _trim(model: Model, profile: Profile | None) -> tuple[Trim | None, str]:
    needed = sum(spec.nbytes() for spec in model.inputs)
    if profile is not None:
        needed = max(needed, profile.peak_activation_bytes)
    if needed > _MOST_RUN_BYTES:
        return None, f"trying it at these sizes would take {format_bytes(needed)} of memory"
    try:
        return trim(model).step, ""
    except EdgewiseError as error:
        return None, str(error)


def _names(specs: Sequence[TensorSpec]) -> list[str]:
    return [spec.name for spec in specs]


def _figures(
    cuts: Sequence[Cut], model: Model, profile: Profile | None, batch: int, axes: Axes
) -> list[CutFigures]:
    sizes = [at.nbytes(batch, axes) for at in cuts]
    before: Sequence[int | None] = [None] * len(cuts)
    leading: Sequence[Cut] = cuts
    if profile is not None:
        names = [_names(at.tensors) for at in cuts]
        before = [prefix.macs for prefix in prefixes_of(profile, names)]
        leading = undominated(cuts, profile, batch=batch, axes=axes)
    unbeaten = {id(at) for at in leading}
    last = {(size, macs): id(at) for size, macs, at in zip(sizes, before, cuts, strict=True)}
    most = sum(spec.nbytes(batch, axes) for spec in model.inputs)
    return [
        CutFigures(
            cut=at,
            bytes=size,
            macs_before=macs,
            head_weight_bytes=None,
            tail_weight_bytes=None,
            unbeaten=id(at) in unbeaten,
            best=id(at) in unbeaten and last[size, macs] == id(at) and size < most,
        )
        for at, size, macs in zip(cuts, sizes, before, strict=True)
    ]


def _with_weights(figures: Sequence[CutFigures], model: Model) -> tuple[CutFigures, ...]:
    """The same with the weights of both halves; of very many cuts, for the best ones alone.

    Where none is the best, it is the smallest that a reader wants to know of.
    """
    asked = figures
    if len(figures) > _MOST_HELD:
        smallest = min(figures, key=lambda cut: cut.bytes)
        asked = [cut for cut in figures if cut.best] or [smallest]
    held = dict(zip(map(id, asked), weights_held(model, [f.cut for f in asked]), strict=True))
    return tuple(
        replace(
            cut,
            head_weight_bytes=held[id(cut)].head_bytes,
            tail_weight_bytes=held[id(cut)].tail_bytes,
        )
        if id(cut) in held
        else cut
        for cut in figures
    )
