"""Models that are quantised already, models without weights, and very large graphs."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.graphs import check_proof, find_cuts, load, prove_cuts, random_feeds
from edgewise.profiling.counting import count
from strategies import onnx_file

FLOAT = TensorProto.FLOAT
SCALES = {"s": np.float32(0.1), "z": np.uint8(128), "zw": np.int8(0)}


def _qdq() -> bytes:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "zw"], ["dw"]),
        helper.make_node("Conv", ["d", "dw"], ["y"]),
    ]
    return onnx_file(
        nodes,
        inputs=[("x", FLOAT, ("N", 3, 8, 8))],
        outputs=[("y", FLOAT, ("N", 4, 6, 6))],
        weights={"w": np.ones((4, 3, 3, 3), np.int8), **SCALES},
    )


def _operators() -> bytes:
    """The other form: integer operators, some of onnxruntime's own."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "s", "zw", "s", "z"], ["c"]),
        helper.make_node(
            "QLinearAdd", ["c", "s", "z", "c", "s", "z", "s", "z"], ["a"], domain="com.microsoft"
        ),
        helper.make_node(
            "QLinearGlobalAveragePool",
            ["a", "s", "z", "s", "z"],
            ["p"],
            domain="com.microsoft",
            channels_last=0,
        ),
        helper.make_node("DequantizeLinear", ["p", "s", "z"], ["y"]),
    ]
    return onnx_file(
        nodes,
        inputs=[("x", FLOAT, ("N", 3, 8, 8))],
        outputs=[("y", FLOAT, ("N", 4, 1, 1))],
        weights={"w": np.ones((4, 3, 3, 3), np.int8), **SCALES},
    )


@pytest.mark.engine
@pytest.mark.parametrize(
    ("raw", "names"), [(_qdq(), {"q", "d"}), (_operators(), {"q", "c", "a", "p"})]
)
def test_quantised_models_are_counted_and_cut(raw: bytes, names: set[str]) -> None:
    model = load(raw)
    assert count(model, batch=2).macs == 2 * 4 * 36 * 27
    cuts = find_cuts(model)
    assert {cut.name for cut in cuts} == names
    assert next(c for c in cuts if c.name == "q").nbytes() == 3 * 64
    feeds = [random_feeds(model, np.random.default_rng(0), batch=2)]
    for _, proof in prove_cuts(model, cuts, feeds):
        check_proof(proof)


def test_a_model_without_weights() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Tanh", ["a"], ["y"])]
    model = load(
        onnx_file(nodes, inputs=[("x", FLOAT, ("N", 4))], outputs=[("y", FLOAT, ("N", 4))])
    )
    profile = count(model)
    assert (model.weight_bytes, profile.macs, len(find_cuts(model))) == (0, 0, 1)


def test_ten_thousand_nodes() -> None:
    """With shapes computed anew all along, so that nothing is taken from the file."""
    nodes, last = [], "x"
    for i in range(2_000):
        nodes += [
            helper.make_node("Shape", [last], [f"s{i}"]),
            helper.make_node("Relu", [last], [f"r{i}"]),
            helper.make_node("Conv", [f"r{i}", "w"], [f"c{i}"], pads=[1, 1, 1, 1]),
            helper.make_node("Reshape", [f"c{i}", f"s{i}"], [f"h{i}"]),
            helper.make_node("Tanh", [f"h{i}"], [f"a{i}"]),
        ]
        last = f"a{i}"
    shape = ("N", 2, 4, 4)
    raw = onnx_file(
        nodes,
        inputs=[("x", FLOAT, shape)],
        outputs=[(last, FLOAT, shape)],
        weights={"w": np.zeros((2, 2, 3, 3), np.float32)},
    )
    model = load(raw)
    profile = count(model)
    assert len(profile.nodes) == 10_000
    assert profile.macs == 2_000 * 2 * 16 * 18
    assert len(find_cuts(model)) >= 2_000
