"""Measure contiguous segments of a network: a head, a tail, the whole.

Engines fuse nodes, so the time of a run of layers is not the sum of single-layer times
(Zhang et al., QDMP, 2020); only whole segments are timed, as they would run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgewise.engines import open_engine
from edgewise.graphs import Cut, Halves, Model, cut, to_bytes
from edgewise.profiling.counting import count
from edgewise.profiling.prefix import prefix_of
from edgewise.profiling.timing import Timing, time_interleaved
from edgewise.progress import Progress
from edgewise.tensors import Feeds


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
    engines = {name: open_engine(to_bytes(m), threads=threads) for name, m in models.items()}
    works: dict[str, Callable[[], object]] = {
        name: partial(engine.run, feeds) for name, engine in engines.items()
    }
    try:
        return time_interleaved(works, repeats=repeats)
    finally:
        for engine in engines.values():
            engine.close()


def measure_halves(
    halves: Halves, feeds: Feeds, *, repeats: int = 7, threads: int = 1
) -> Segments:
    """Time both halves of a cut, the tail fed with what the head gives."""
    with (
        open_engine(to_bytes(halves.head), threads=threads) as head,
        open_engine(to_bytes(halves.tail), threads=threads) as tail,
    ):
        known = {**feeds, **head.run(feeds)}
        tail_feeds = {spec.name: known[spec.name] for spec in tail.inputs}
        times = time_interleaved(
            {"head": lambda: head.run(feeds), "tail": lambda: tail.run(tail_feeds)},
            repeats=repeats,
        )
    return Segments(head=times["head"], tail=times["tail"])


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
        cuts: along one chain, from the input to the output.
        feeds: one set of inputs.
        anchors: how many cuts to time; the others are placed between them by what lies before
            them (:func:`prefix_of`). ``None`` times every cut.
        repeats: counted runs of each half.
        progress: told how far it is.
    """
    profile = count(model)
    efforts = [prefix_of(profile, [s.name for s in at.tensors]).effort for at in cuts]
    chosen = _spread(efforts, len(cuts) if anchors is None else anchors)
    timed = []
    for done, index in enumerate(chosen):
        timed.append(measure_halves(cut(model, cuts[index]), feeds, repeats=repeats))
        if progress is not None:
            progress(f"timing segments of {model.name}", done + 1, len(chosen))
    known = [efforts[index] for index in chosen]
    exact = dict(zip(chosen, timed, strict=True))
    return tuple(
        exact.get(index) or _between(effort, known, timed) for index, effort in enumerate(efforts)
    )


def _spread(efforts: Sequence[float], wanted: int) -> list[int]:
    """Indices of about ``wanted`` cuts, evenly spread in effort, both ends among them."""
    if len(efforts) <= wanted:
        return list(range(len(efforts)))
    places = np.linspace(efforts[0], efforts[-1], wanted)
    nearest = {int(np.argmin([abs(effort - place) for effort in efforts])) for place in places}
    return sorted(nearest, key=lambda index: efforts[index])


def _between(effort: float, known: Sequence[float], timed: Sequence[Segments]) -> Segments:
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
