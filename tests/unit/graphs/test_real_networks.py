"""Every legal cut of real networks, proved by running it."""

from pathlib import Path

import numpy as np
import pytest

from edgewise.engines import Optimisation
from edgewise.graphs import Model, check_proof, find_cuts, load, prove_cuts, random_feeds
from unit.graphs.real_networks import FASHION, LITE0, between_conv_and_norm, needs_lite0


def _prove_all(model: Model, optimisation: Optimisation) -> int:
    feeds = [random_feeds(model, np.random.default_rng(0))]
    proofs = list(prove_cuts(model, find_cuts(model), feeds, optimisation=optimisation))
    for _, proof in proofs:
        check_proof(proof)
    return len(proofs)


@needs_lite0
def test_lite0_is_read_with_shapes_for_everything() -> None:
    model = load(LITE0)
    cuts = find_cuts(model)
    assert len(cuts) == 56
    assert cuts[0].content[0].shape == ("n", 3, 225, 225)
    assert cuts[-1].tensors[0].shape == ("n", 1280)
    assert [spec.name for spec in cuts[0].structure] == ["/Unsqueeze_output_0"]
    assert cuts[-1].structure == ()
    assert model.weight_bytes == 18_526_124


@needs_lite0
@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("optimisation", [Optimisation.EXTENDED, Optimisation.ALL])
def test_every_cut_of_lite0_holds(optimisation: Optimisation) -> None:
    assert _prove_all(load(LITE0), optimisation) == 56


@pytest.mark.engine
@pytest.mark.parametrize("path", FASHION, ids=[path.stem for path in FASHION])
def test_every_cut_of_the_fashion_networks_holds(path: Path) -> None:
    model = load(path)
    assert _prove_all(model, Optimisation.NONE) >= 10
    assert _prove_all(model, Optimisation.ALL) >= 10
    feeds = [random_feeds(model, np.random.default_rng(0))]
    for at, proof in prove_cuts(
        model, find_cuts(model), feeds, optimisation=Optimisation.EXTENDED
    ):
        folded_across = at.name in between_conv_and_norm(model)
        check_proof(proof, max_rel=1e-6 if folded_across else None)
