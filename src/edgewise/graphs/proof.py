"""Prove that two halves compute what the whole computes, by running all three."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edgewise.engines import Engine, Optimisation, open_engine
from edgewise.errors import BadInput, ProofFailed
from edgewise.graphs.cuts import Cut
from edgewise.graphs.cutting import Halves, cut
from edgewise.graphs.flow import embedding_rows
from edgewise.graphs.model import Model, to_bytes
from edgewise.tensors import Array, Feeds, Role, TensorSpec

# Layout optimisations add in another order; 3e-6 was measured on EfficientNet-Lite0.
REORDERED_MAX_REL = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How far two halves were from the whole.

    Args:
        max_abs: the largest difference of any number of any output.
        max_rel: the largest ratio, over outputs, of the largest difference to the largest number.
        bit_equal: whether every output had the same bits.
        runs: how many inputs were tried.
        optimisation: what the engine was allowed to do to each graph.
    """

    max_abs: float
    max_rel: float
    bit_equal: bool
    runs: int
    optimisation: Optimisation


def prove(
    model: Model,
    halves: Halves,
    feeds: Iterable[Feeds],
    *,
    optimisation: Optimisation = Optimisation.EXTENDED,
) -> Proof:
    """Run the whole and the halves on the same inputs and compare.

    Raises:
        BadInput: when there are no inputs, or they are not what the network takes.
    """
    tried = tuple(feeds)
    return _compare(halves, tried, _answers(model, tried, optimisation), optimisation)


def prove_cuts(
    model: Model,
    cuts: Iterable[Cut],
    feeds: Iterable[Feeds],
    *,
    optimisation: Optimisation = Optimisation.EXTENDED,
) -> Iterator[tuple[Cut, Proof]]:
    """Prove many cuts of one network with a raw payload; the whole runs only once."""
    tried = tuple(feeds)
    wanted = _answers(model, tried, optimisation)
    for at in cuts:
        yield at, _compare(cut(model, at), tried, wanted, optimisation)


def check_proof(proof: Proof, *, max_rel: float | None = None) -> None:
    """Raise unless the halves equal the whole.

    Args:
        proof: what was found.
        max_rel: the largest relative difference allowed; unless given, none at all, or 1e-5 where
            the engine may change layouts. A lossy payload needs one.

    Raises:
        ProofFailed: beyond that.

    >>> check_proof(Proof(max_abs=0.1, max_rel=0.5, bit_equal=False, runs=1,
    ...                   optimisation=Optimisation.EXTENDED))
    Traceback (most recent call last):
    edgewise.errors.ProofFailed: the halves differ from the whole by 0.5 relative (0.1 absolute) \
in 1 run; allowed is 0
    """
    if max_rel is None:
        max_rel = REORDERED_MAX_REL if proof.optimisation is Optimisation.ALL else 0.0
    within = proof.bit_equal if max_rel == 0 else proof.max_rel <= max_rel
    if not within:
        runs = f"{proof.runs} run{'s' if proof.runs > 1 else ''}"
        raise ProofFailed(
            f"the halves differ from the whole by {proof.max_rel:.3g} relative "
            f"({proof.max_abs:.3g} absolute) in {runs}; allowed is {max_rel:g}"
        )


def random_feeds(model: Model, rng: np.random.Generator, *, batch: int = 1) -> dict[str, Array]:
    """Inputs to try a network with.

    Floats are standard normal, 8- and 16-bit integers uniform over their range, indices of an
    embedding uniform over its rows. Structure is all ones: nothing masked.

    Args:
        model: the network.
        rng: the source of randomness.
        batch: the size of every symbolic axis.
    """
    rows = {value.name: embedding_rows(value) for value in model.ir.graph.inputs}
    return {
        spec.name: _random(spec, spec.concrete(batch), rng, rows[spec.name])
        for spec in model.inputs
    }


def _random(
    spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator, rows: int | None
) -> Array:
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if rows is not None:
        return rng.integers(0, rows, shape).astype(dtype)
    if spec.role is Role.CONTENT and dtype.kind in "iu" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
    return np.ones(shape, dtype)


def _answers(
    model: Model, feeds: tuple[Feeds, ...], optimisation: Optimisation
) -> list[Mapping[str, Array]]:
    if not feeds:
        raise BadInput(
            expected="at least one input to prove a cut with",
            found="none",
            remedy="pass examples, or random_feeds(model, rng)",
        )
    with open_engine(to_bytes(model), optimisation=optimisation) as whole:
        return [whole.run(feed) for feed in feeds]


def _compare(
    halves: Halves,
    feeds: tuple[Feeds, ...],
    wanted: list[Mapping[str, Array]],
    optimisation: Optimisation,
) -> Proof:
    with (
        open_engine(to_bytes(halves.head), optimisation=optimisation) as head,
        open_engine(to_bytes(halves.tail), optimisation=optimisation) as tail,
    ):
        found = [_run_halves(head, tail, feed) for feed in feeds]
    pairs = [
        (want[name], got[name]) for want, got in zip(wanted, found, strict=True) for name in want
    ]
    gaps = [_gap(want, got) for want, got in pairs]
    return Proof(
        max_abs=max(gap for gap, _ in gaps),
        max_rel=max(ratio for _, ratio in gaps),
        bit_equal=all(_same_bits(want, got) for want, got in pairs),
        runs=len(feeds),
        optimisation=optimisation,
    )


def _run_halves(head: Engine, tail: Engine, feed: Feeds) -> dict[str, Array]:
    return tail.run(head.run(feed))


def _same_bits(want: Array, got: Array) -> bool:
    same_form = want.dtype == got.dtype and want.shape == got.shape
    return same_form and want.tobytes() == got.tobytes()


def _gap(want: Array, got: Array) -> tuple[float, float]:
    """The largest difference, absolute and relative; infinite where shape or NaN differ."""
    if want.shape != got.shape:
        return float("inf"), float("inf")
    a, b = want.astype(np.float64), got.astype(np.float64)
    alike = (a == b) | (np.isnan(a) & np.isnan(b))
    if alike.all():
        return 0.0, 0.0
    gap = float(np.max(np.abs(a[~alike] - b[~alike])))
    scale = float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0))
    if not np.isfinite(gap):
        return float("inf"), float("inf")
    return gap, gap / scale if scale else float("inf")
