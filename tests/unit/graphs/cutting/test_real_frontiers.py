"""Fifty cuts through several tensors of each real network, chosen by seed, proved by running."""

from pathlib import Path

import numpy as np
import pytest

from edgewise.engines import Optimisation
from edgewise.graphs import (
    Cut,
    Model,
    Payload,
    QuantRange,
    check_proof,
    cut,
    find_frontiers,
    load,
    prove,
    prove_cuts,
    random_feeds,
)
from edgewise.zoo import get
from unit.graphs.real_networks import FASHION, LITE0, between_conv_and_norm, needs_lite0

CUTS = 50


def _some(cuts: tuple[Cut, ...], seed: int = 0) -> list[Cut]:
    chosen = np.random.default_rng(seed).permutation(len(cuts))[:CUTS]
    return [cuts[index] for index in sorted(chosen)]


def _feeds(model: Model) -> list[dict[str, np.ndarray]]:
    return [random_feeds(model, np.random.default_rng(0))]


def _prove_some(model: Model) -> int:
    cuts = _some(find_frontiers(model).cuts)
    folded = between_conv_and_norm(model)
    for at, proof in prove_cuts(model, cuts, _feeds(model), optimisation=Optimisation.EXTENDED):
        across = any(spec.name in folded for spec in at.content)
        check_proof(proof, max_rel=1e-6 if across else None)
    return len(cuts)


@pytest.mark.engine
@pytest.mark.parametrize("path", FASHION, ids=[path.stem for path in FASHION])
def test_fifty_frontiers_of_the_fashion_networks_hold(path: Path) -> None:
    assert _prove_some(load(path)) == CUTS


@pytest.mark.engine
@pytest.mark.slow
@needs_lite0
def test_fifty_frontiers_of_lite0_hold() -> None:
    assert _prove_some(load(LITE0)) == CUTS


@pytest.mark.engine
@pytest.mark.parametrize("name", ["light-squeezenet", "light-inception-v1"])
def test_fifty_frontiers_of_branching_networks_hold(name: str, tmp_path: Path) -> None:
    assert _prove_some(load(get(name, cache=tmp_path))) == CUTS


@pytest.mark.parametrize(
    ("name", "two", "three"), [("light-inception-v1", 117, 558), ("light-inception-v2", 340, 4290)]
)
def test_inception_has_as_many_frontiers_as_its_branches_allow(
    name: str, two: int, three: int, tmp_path: Path
) -> None:
    found = find_frontiers(load(get(name, cache=tmp_path)))
    widths = [len(at.content) for at in found.cuts]
    assert (widths.count(2), widths.count(3), found.complete) == (two, three, True)


@pytest.mark.engine
@pytest.mark.parametrize("path", FASHION, ids=[path.stem for path in FASHION])
def test_several_tensors_cross_in_every_payload(path: Path) -> None:
    model = load(path)
    cuts = _some(find_frontiers(model).cuts)[::17]
    for at in cuts:
        spans = {spec.name: QuantRange(low=-40.0, high=40.0) for spec in at.content}
        exact = cut(model, at)
        check_proof(prove(model, exact, _feeds(model)), max_rel=1e-6)
        for payload, share, max_rel in ((Payload.FP16, 2, 0.02), (Payload.INT8, 4, 2.0)):
            halves = cut(model, at, payload=payload, ranges=spans)
            assert len(halves.boundary) == len(at.tensors)
            sent = sum(spec.nbytes() for spec in halves.boundary)
            assert sent * share == sum(spec.nbytes() for spec in exact.boundary)
            check_proof(prove(model, halves, _feeds(model)), max_rel=max_rel)
