"""Prove that two halves compute what the whole computes, by running all three."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from edgewise.engines import OnnxRuntimeEngine, Optimisation, open_engine
from edgewise.errors import BadInput, ProofFailed
from edgewise.graphs.cutting.cuts import Cut
from edgewise.graphs.cutting.halves import Halves, cut
from edgewise.graphs.gaps import gap_between, same_bits
from edgewise.graphs.model import Model, to_bytes
from edgewise.tensors import Array, Feeds

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


def _answers(
    model: Model, feeds: tuple[Feeds, ...], optimisation: Optimisation
) -> list[Mapping[str, Array]]:
    if not feeds:
        raise BadInput(
            expected="at least one input to prove a cut with",
            found="none",
            remedy="pass examples, or random_feeds(model, rng)",
        )
    with _open(model, optimisation) as whole:
        return [whole.run(feed) for feed in feeds]


def _compare(
    halves: Halves,
    feeds: tuple[Feeds, ...],
    wanted: list[Mapping[str, Array]],
    optimisation: Optimisation,
) -> Proof:
    with _open(halves.head, optimisation) as head, _open(halves.tail, optimisation) as tail:
        found = [tail.run(head.run(feed)) for feed in feeds]
    pairs = [
        (want[name], got[name]) for want, got in zip(wanted, found, strict=True) for name in want
    ]
    gaps = [gap_between(want, got) for want, got in pairs]
    return Proof(
        max_abs=max(gap for gap, _ in gaps),
        max_rel=max(ratio for _, ratio in gaps),
        bit_equal=all(same_bits(want, got) for want, got in pairs),
        runs=len(feeds),
        optimisation=optimisation,
    )


def _open(model: Model, optimisation: Optimisation) -> OnnxRuntimeEngine:
    return open_engine(to_bytes(model), optimisation=optimisation, custom_ops=model.custom_ops)
