"""Symbolic axes that get a size for good."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.errors import BadInput
from edgewise.graphs import Model, check_proof, find_cuts, fix_axes, load, prove_cuts, random_feeds
from strategies import onnx_file

FLOAT = TensorProto.FLOAT


def _pictures() -> Model:
    """Strided convolutions over pictures of any size."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(2, 4, 3, 3)).astype(np.float32),
    }
    return load(
        onnx_file(
            nodes,
            inputs=[("x", FLOAT, ("N", 1, "height", "width"))],
            outputs=[("y", FLOAT, ("N", 2, 1, 1))],
            weights=weights,
        )
    )


@pytest.mark.engine
def test_a_fixed_picture_size_opens_all_cuts() -> None:
    model = _pictures()
    assert find_cuts(model) == ()
    fixed = fix_axes(model, {"height": 16, "width": 24})
    assert fixed.inputs[0].shape == ("N", 1, 16, 24)
    assert [str(cut) for cut in find_cuts(fixed)] == [
        "a float32[N, 4, 8, 12]",
        "b float32[N, 4, 8, 12]",
        "c float32[N, 2, 4, 6]",
    ]
    assert fixed.changes == ("axis 'height' fixed at 16", "axis 'width' fixed at 24")
    assert model.inputs[0].shape == ("N", 1, "height", "width")
    feeds = [random_feeds(fixed, np.random.default_rng(0))]
    for _, proof in prove_cuts(fixed, find_cuts(fixed), feeds):
        check_proof(proof)


def test_an_axis_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInput, match=r"axes N, height, width, found 'depth': 3"):
        fix_axes(_pictures(), {"depth": 3})
    with pytest.raises(BadInput, match=r"found 'height': 0"):
        fix_axes(_pictures(), {"height": 0})
