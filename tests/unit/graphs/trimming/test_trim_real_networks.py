"""Real networks: nothing that only training needed is left, and cuts keep their names."""

from pathlib import Path

import numpy as np
import pytest

from edgewise.graphs import find_cuts, load, random_feeds
from edgewise.graphs.trimming import trim

ROOT = Path(__file__).resolve().parents[4]
LITE0 = ROOT.parent / "shared" / "models" / "efficientnet-lite0.onnx"
FASHION = {"fashion-mobilenetv3": 87, "fashion-resnet20": 52}  # what OnnxSlim 0.1.98 leaves too

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(("name", "nodes"), FASHION.items())
def test_no_norm_is_left_in_the_fashion_networks(name, nodes, ops) -> None:
    model = load(ROOT / "src" / "edgewise" / "zoo" / "assets" / "fashion" / f"{name}.onnx")
    feeds = [random_feeds(model, np.random.default_rng(seed), batch=2) for seed in range(3)]
    trimmed = trim(model, feeds)
    assert "BatchNormalization" in ops(model)
    assert "BatchNormalization" not in ops(trimmed.model)
    assert trimmed.step.nodes_after <= nodes
    assert trimmed.step.undone == ()
    assert trimmed.step.max_rel <= 1e-5
    assert trimmed.step.bytes_before == model.weight_bytes
    assert trimmed.step.bytes_after == trimmed.model.weight_bytes < model.weight_bytes
    assert trimmed.model.inputs == model.inputs
    assert trimmed.model.outputs == model.outputs
    assert dict(trimmed.model.metadata) == dict(model.metadata)
    cuts = {cut.name for cut in find_cuts(trimmed.model)}
    assert cuts
    assert cuts <= {cut.name for cut in find_cuts(model)}
    assert trim(trimmed.model).step.removed == ()


@pytest.mark.skipif(not LITE0.exists(), reason="needs ../shared/models/efficientnet-lite0.onnx")
def test_lite0_is_a_fifth_of_its_nodes(ops) -> None:
    model = load(LITE0)
    trimmed = trim(model)
    assert trimmed.step.nodes_after <= 94  # OnnxSlim 0.1.98 leaves 94, onnxsim 0.8.1 leaves 100
    assert trimmed.step.undone == ()
    assert "Constant" not in ops(trimmed.model)
    assert trimmed.model.outputs == model.outputs
    cuts = {cut.name for cut in find_cuts(trimmed.model)}
    assert len(cuts) >= 40
    assert cuts <= {cut.name for cut in find_cuts(model)}
