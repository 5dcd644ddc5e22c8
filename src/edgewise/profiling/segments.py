"""Measure contiguous segments of a network: a head, a tail, the whole.

Engines fuse nodes, so the time of a run of layers is not the sum of single-layer times
(Zhang et al., QDMP, 2020); only whole segments are timed, as they would run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgewise.engines import Engine, open_engine
from edgewise.errors import EdgewiseError
from edgewise.graphs import Cut, Halves, Model, cut, to_bytes
from edgewise.profiling.counting import check_sized, count
from edgewise.profiling.prefix import prefixes_of
from edgewise.profiling.timing import NOTHING, Timing, time_interleaved
from edgewise.progress import Progress
from edgewise.tensors import Array, Feeds, TensorSpec


class NotFinite(EdgewiseError):  # noqa: N818 - it names the cause, not the mechanism
    """What would cross between two halves is infinite or no number, so no tail takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """Times of both halves of one cut, on this machine."""

    head: Timing
    tail: Timing


def measure_whole(
    models: Mapping[str, Model], feeds: Feeds, *, repeats: int = 15, threads: int = 1
) -> dict[str, Timing]:
    """Time whole networks against each other on this machine.

    Args:
        models: networks with the same inputs, by name.
        feeds: one set of inputs.
        repeats: counted runs of each.
        threads: threads of one run.
    """
    return measure_contenders(models, {}, feeds, repeats=repeats, threads=threads)[0]


def measure_halves(
    halves: Halves, feeds: Feeds, *, repeats: int = 7, threads: int = 1
) -> Segments:
    """Time both halves of a cut, the tail fed with what the head gives.

    Raises:
        NotFinite: when the tail cannot take what the head gives.
    """
    return measure_together({"": halves}, feeds, repeats=repeats, threads=threads)[""]


def measure_together(
    halves: Mapping[str, Halves], feeds: Feeds, *, repeats: int = 7, threads: int = 1
) -> dict[str, Segments]:
    """Time the halves of several cuts in turn, so that their differences mean something.

    Args:
        halves: by name; all of networks with the same inputs.
        feeds: one set of inputs.
        repeats: counted runs of each half.
        threads: threads of one run.

    Raises:
        NotFinite: when a tail cannot take what its head gives.
    """
    return measure_contenders({}, halves, feeds, repeats=repeats, threads=threads)[1]


def measure_contenders(
    wholes: Mapping[str, Model],
    halves: Mapping[str, Halves],
    feeds: Feeds,
    *,
    repeats: int = 15,
    threads: int = 1,
) -> tuple[dict[str, Timing], dict[str, Segments]]:
    """Time whole networks and the halves of others in turn, so that they can be compared.

    Args:
        wholes: networks by name.
        halves: cut networks by name; all take the same inputs.
        feeds: one set of inputs.
        repeats: counted runs of each.
        threads: threads of one run.

    Raises:
        NotFinite: when a tail cannot take what its head gives.
    """
    works: dict[tuple[str, str], Callable[[], object]] = {}
    with contextlib.ExitStack() as stack:

        def opened(model: Model) -> Engine:
            return stack.enter_context(open_engine(to_bytes(model), threads=threads))

        for name, model in wholes.items():
            works["whole", name] = partial(opened(model).run, feeds)
        for name, pair in halves.items():
            head, tail = opened(pair.head), opened(pair.tail)
            works["head", name] = partial(head.run, feeds)
            works["tail", name] = partial(tail.run, crossing(head.run(feeds), tail.inputs))
        times = time_interleaved(works, repeats=repeats)
    return (
        {name: times["whole", name] for name in wholes},
        {name: Segments(head=times["head", name], tail=times["tail", name]) for name in halves},
    )


def run_halves(head: Engine, tail: Engine, feeds: Feeds) -> dict[str, Array]:
    """What tail(head(x)) gives.

    Raises:
        NotFinite: when the tail cannot take what the head gives.
    """
    return tail.run(crossing(head.run(feeds), tail.inputs))


def crossing(outputs: Feeds, taken: Sequence[TensorSpec]) -> dict[str, Array]:
    """Those outputs of a head that its tail takes.

    Raises:
        NotFinite: on NaN or infinity, which no engine takes: most often an FP16 payload whose
            values are beyond 65 504.
    """
    sent = {spec.name: outputs[spec.name] for spec in taken}
    for name, array in sent.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise NotFinite(f"{name} holds values that {array.dtype.name} cannot")
    return sent


def measure_cuts(
    model: Model,
    cuts: Sequence[Cut],
    feeds: Feeds,
    *,
    anchors: int | None = None,
    repeats: int = 7,
    progress: Progress | None = None,
) -> tuple[Segments, ...]:
    """Times of both halves of every cut, raw tensors crossing.

    Args:
        model: the whole.
        cuts: along one chain, in any order.
        feeds: one set of inputs.
        anchors: how many cuts to time, at least 2; the others are placed between them by what
            lies before them (:func:`prefixes_of`). ``None`` times every cut.
        repeats: counted runs of each half.
        progress: told how far it is.

    Raises:
        BadInput: when there are cuts, and the size of some tensor is unknown.
    """
    if not cuts:
        return ()
    profile = count(model)
    check_sized(profile)
    prefixes = prefixes_of(profile, [[spec.name for spec in at.tensors] for at in cuts])
    efforts = [prefix.effort for prefix in prefixes]
    chosen = _spread(efforts, len(cuts) if anchors is None else anchors)
    exact: dict[int, Segments] = {}
    for done, index in enumerate(chosen):
        # Where the network itself overflows there is no tail to time, nor one to run later.
        with contextlib.suppress(NotFinite):
            exact[index] = measure_halves(cut(model, cuts[index]), feeds, repeats=repeats)
        if progress is not None:
            progress(f"timing segments of {model.name}", done + 1, len(chosen))
    known = sorted(exact, key=efforts.__getitem__)
    return tuple(
        exact.get(index)
        or _between(effort, [efforts[i] for i in known], [exact[i] for i in known])
        for index, effort in enumerate(efforts)
    )


def _spread(efforts: Sequence[float], wanted: int) -> list[int]:
    """Indices of about ``wanted`` cuts, evenly spread in effort, both ends among them."""
    if len(efforts) <= wanted:
        return list(range(len(efforts)))
    places = np.linspace(min(efforts), max(efforts), max(2, wanted))
    nearest = {int(np.argmin([abs(effort - place) for effort in efforts])) for place in places}
    return sorted(nearest, key=lambda index: efforts[index])


def _between(effort: float, known: Sequence[float], timed: Sequence[Segments]) -> Segments:
    if not timed:
        return Segments(head=NOTHING, tail=NOTHING)
    return Segments(
        head=_interpolate(effort, known, [segments.head for segments in timed]),
        tail=_interpolate(effort, known, [segments.tail for segments in timed]),
    )


def _interpolate(effort: float, known: Sequence[float], times: Sequence[Timing]) -> Timing:
    return Timing(
        median_s=float(np.interp(effort, known, [t.median_s for t in times])),
        low_s=float(np.interp(effort, known, [t.low_s for t in times])),
        high_s=float(np.interp(effort, known, [t.high_s for t in times])),
        runs=0,
    )
