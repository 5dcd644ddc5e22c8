"""Run the requests of a batch as one, and each answer as if it had been alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

import numpy as np

from edgewise.engines import Engine
from edgewise.serving.batching.batcher import Batch, Entry, Expired
from edgewise.tensors import Array, Feeds, TensorSpec

R = TypeVar("R")
Outputs = dict[str, Array]
Clock = Callable[[], float]

# Rows in another place of a matrix product are added up in another order.
_SAME = 1e-5
_OPEN_AXIS = 3
_SEED = 20261122


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[R]):
    """What one request needs, in the order it is called.

    Args:
        receive: the inputs of the network from what crossed the link.
        run: the network; the same for all of a group.
        finish: the answer from this request's rows of the outputs.
    """

    receive: Callable[[], Feeds]
    run: Callable[[Feeds], Outputs]
    finish: Callable[[Outputs], R]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Generic[R]):
    """One request's answer.

    Args:
        answer: what its job's ``finish`` gave.
        decode_s: its own ``receive``.
        compute_s: the run it was part of.
        own_compute_s: of that, its part by items.
        started_s: when that run began.
        items: rows of that run.
        leads: it is the first of its run, and stands for it where runs are counted.
        finish_s: its own ``finish``.
    """

    answer: R
    decode_s: float
    compute_s: float
    own_compute_s: float
    started_s: float
    items: int
    leads: bool
    finish_s: float


@dataclass(slots=True)
class _Place(Generic[R]):
    entry: Entry[Job[R]]
    feeds: Feeds
    decode_s: float


@dataclass(frozen=True, slots=True)
class _Run:
    outputs: Sequence[Outputs]
    started_s: float
    compute_s: float
    items: int


def run_batch(batch: Batch[Job[R]], clock: Clock) -> list[Done[R] | Exception]:
    """An answer or an error for each request, in order.

    When the joined run fails, or its outputs cannot be told apart, each request runs once alone,
    so that none fails for what another one sent.
    """
    places = [_receive(entry, clock) for entry in batch.entries]
    good = [place for place in places if not isinstance(place, Exception)]
    joined = _run_joined(good, clock) if len(good) > 1 else None
    row = iter(range(len(good)))
    results: list[Done[R] | Exception] = []
    for place in places:
        if isinstance(place, Exception):
            results.append(place)
        elif joined is None:
            results.append(_run_alone(place, clock))
        else:
            results.append(_finish(place, joined, next(row), clock))
    return results


def joins(engine: Engine) -> bool:
    """Whether joined rows give what each gives alone: tried here with made-up inputs.

    A symbolic first axis alone does not say so: it may be time, and dynamic quantization takes
    one scale from all rows.
    """
    specs = (*engine.inputs, *engine.outputs)
    if not all(spec.shape and isinstance(spec.shape[0], str) for spec in specs):
        return False
    rng = np.random.default_rng(_SEED)
    rows = [{spec.name: _made(spec, rng, i) for spec in engine.inputs} for i in range(2)]
    try:
        alone = [engine.run(row) for row in rows]
        together = _split(engine.run(_stack(rows)), [1, 1])
    except Exception:  # whatever it is, such rows cannot be joined
        return False
    return together is not None and all(
        _is_same(found[name], wanted[name])
        for found, wanted in zip(together, alone, strict=True)
        for name in wanted
    )


def _receive(entry: Entry[Job[R]], clock: Clock) -> _Place[R] | Exception:
    start_s = clock()
    try:
        feeds = entry.work.receive()
    except Exception as error:
        return error
    return _Place(entry, feeds, clock() - start_s)


def _run_joined(places: Sequence[_Place[R]], clock: Clock) -> _Run | None:
    sizes = [place.entry.items for place in places]
    start_s = clock()
    try:
        joined = places[0].entry.work.run(_stack([place.feeds for place in places]))
    except Exception:  # some request's fault; alone it is seen whose
        return None
    compute_s = clock() - start_s
    outputs = _split(joined, sizes)
    return None if outputs is None else _Run(outputs, start_s, compute_s, sum(sizes))


def _run_alone(place: _Place[R], clock: Clock) -> Done[R] | Exception:
    start_s = clock()
    if start_s >= place.entry.deadline_s:
        return Expired("the deadline passed")
    try:
        outputs = place.entry.work.run(place.feeds)
    except Exception as error:
        return error
    run = _Run([outputs], start_s, clock() - start_s, place.entry.items)
    return _finish(place, run, 0, clock)


def _finish(place: _Place[R], run: _Run, row: int, clock: Clock) -> Done[R] | Exception:
    start_s = clock()
    try:
        answer = place.entry.work.finish(run.outputs[row])
    except Exception as error:
        return error
    return Done(
        answer=answer,
        decode_s=place.decode_s,
        compute_s=run.compute_s,
        own_compute_s=run.compute_s * place.entry.items / run.items,
        started_s=run.started_s,
        items=run.items,
        leads=row == 0,
        finish_s=clock() - start_s,
    )


def _stack(rows: Sequence[Feeds]) -> dict[str, Array]:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _split(outputs: Outputs, sizes: Sequence[int]) -> list[Outputs] | None:
    """Each request's rows; ``None`` when some output's first axis is not the batch."""
    ends = list(accumulate(sizes))
    if any(not array.ndim or array.shape[0] != ends[-1] for array in outputs.values()):
        return None
    pieces = {name: np.split(array, ends[:-1]) for name, array in outputs.items()}
    return [{name: piece[i] for name, piece in pieces.items()} for i in range(len(sizes))]


def _made(spec: TensorSpec, rng: np.random.Generator, row: int) -> Array:
    """One row: small numbers in the first, larger ones in the second."""
    axes = {size: _OPEN_AXIS for size in spec.shape[1:] if isinstance(size, str)}
    shape = (1, *spec.concrete(1, axes)[1:])
    if np.issubdtype(spec.dtype, np.floating):
        return np.asarray(rng.normal(0, 1 + 9 * row, shape), spec.dtype)
    # Integers may be indices or masks: 0 and 1 are always among them.
    return np.asarray(rng.integers(0, 2, shape) if row else np.ones(shape), spec.dtype)


def _is_same(found: Array, wanted: Array) -> bool:
    if found.shape != wanted.shape:
        return False
    if not np.issubdtype(wanted.dtype, np.floating):
        return bool(np.array_equal(found, wanted))
    exact, near = wanted.astype(np.float64), found.astype(np.float64)
    largest = float(np.abs(exact).max(initial=0.0))
    return bool((np.abs(near - exact) <= _SAME * largest).all())
