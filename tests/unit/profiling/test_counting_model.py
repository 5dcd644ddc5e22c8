"""MACs, bytes and peak memory by hand, and of real networks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from edgewise.errors import BadInput
from edgewise.graphs import find_cuts, load
from edgewise.profiling.counting import check_sized, count
from edgewise.profiling.profile import Profile
from strategies import onnx_file

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
ROOT = Path(__file__).resolve().parents[3]
LITE0 = ROOT.parent / "shared" / "models" / "efficientnet-lite0.onnx"


def _count(
    nodes: Sequence[NodeProto],
    shape: Sequence[int | str],
    made: Sequence[int | str],
    batch: int = 1,
    **weights: np.ndarray,
) -> Profile:
    raw = onnx_file(
        nodes, inputs=[("x", FLOAT, shape)], outputs=[("y", FLOAT, made)], weights=weights
    )
    return count(load(raw), batch=batch)


def _weight(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("op", "shape", "made", "weight", "attributes", "macs"),
    [
        # 8 outputs channels x 6x6 places x 3x3x3 summands
        ("Conv", ("N", 3, 8, 8), ("N", 8, 6, 6), (8, 3, 3, 3), {}, 8 * 36 * 27),
        # depthwise: each output channel sums over one input channel
        ("Conv", ("N", 6, 8, 8), ("N", 6, 6, 6), (6, 1, 3, 3), {"group": 6}, 6 * 36 * 9),
        ("Conv", ("N", 3, 9), ("N", 4, 7), (4, 3, 3), {}, 4 * 7 * 9),
        # every one of 2x5x5 inputs meets 3x3 weights of each of 4 output channels
        ("ConvTranspose", ("N", 2, 5, 5), ("N", 4, 7, 7), (2, 4, 3, 3), {}, 2 * 25 * 36),
        ("Gemm", (3, 5), (3, 7), (5, 7), {}, 3 * 5 * 7),
        ("Gemm", (5, 3), (3, 7), (7, 5), {"transA": 1, "transB": 1}, 3 * 5 * 7),
        ("MatMul", (2, 6, 3, 5), (2, 6, 3, 7), (5, 7), {}, 2 * 6 * 3 * 5 * 7),
        ("MatMul", ("N", 5), ("N", 7), (5, 7), {}, 5 * 7),
        ("Add", ("N", 5), ("N", 5), (5,), {}, 0),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_macs(op, shape, made, weight, attributes, macs) -> None:  # type: ignore[no-untyped-def]
    profile = _count(
        [helper.make_node(op, ["x", "w"], ["y"], **attributes)], shape, made, w=_weight(*weight)
    )
    assert profile.macs == macs


def test_the_batch_scales_macs_and_activations_but_not_weights() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")]
    one, five = (_count(nodes, ("N", 4), ("N", 3), batch=b, w=_weight(4, 3)) for b in (1, 5))
    (a,), (b,) = one.nodes, five.nodes
    assert (a.macs, a.weight_bytes, a.read_bytes, a.written_bytes) == (12, 48, 16, 12)
    assert (b.macs, b.weight_bytes, b.read_bytes, b.written_bytes) == (60, 48, 80, 60)
    assert five.peak_activation_bytes == 5 * one.peak_activation_bytes == 5 * 28


def test_edges_say_who_makes_and_who_reads() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="relu"),
        helper.make_node("Add", ["a", "a"], ["b"], name="add"),
        helper.make_node("Mul", ["b", "a"], ["y"], name="mul"),
    ]
    edges = {edge.name: edge for edge in _count(nodes, (1, 4), (1, 4)).edges}
    assert {n: (e.producer, e.consumers, e.bytes) for n, e in edges.items()} == {
        "x": (None, ("relu",), 16),
        "a": ("relu", ("add", "mul"), 16),
        "b": ("add", ("mul",), 16),
        "y": ("mul", (), 16),
    }


def test_what_depends_on_no_input_is_weights_and_not_listed() -> None:
    nodes = [
        helper.make_node("Relu", ["w"], ["k"], name="folded"),
        helper.make_node("Add", ["x", "k"], ["y"], name="add"),
    ]
    profile = _count(nodes, (1, 4), (1, 4), w=_weight(4))
    assert [(node.name, node.weight_bytes, node.read_bytes) for node in profile.nodes] == [
        ("add", 16, 16)
    ]


def test_peak_memory_follows_lifetimes() -> None:
    wide = [
        helper.make_node("Concat", ["x", "x", "x"], ["a"], axis=1),  # x 16 + a 48
        helper.make_node("Relu", ["a"], ["b"]),  # x, a, b: x lives until its last use
        helper.make_node("ReduceMax", ["b"], ["c"], axes=[1]),  # b 48 + c 4, and x 16
        helper.make_node("Add", ["x", "c"], ["y"]),  # x 16 + c 4 + y 16
    ]
    assert _count(wide, (1, 4), (1, 4)).peak_activation_bytes == 16 + 48 + 48


def test_an_output_lives_to_the_end_and_an_unread_value_only_while_it_is_made() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Concat", ["x", "x"], ["unread"], axis=1),
        helper.make_node("Concat", ["x", "x"], ["z"], axis=1),
    ]
    raw = onnx_file(
        nodes,
        inputs=[("x", FLOAT, (1, 4))],
        outputs=[("y", FLOAT, (1, 4)), ("z", FLOAT, (1, 8))],
    )
    assert count(load(raw)).peak_activation_bytes == 16 + 16 + 32


def test_a_batch_that_is_folded_into_another_axis_is_followed() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "back"], ["y"]),
    ]
    profile = _count(
        nodes,
        ("N", 3, 4),
        ("N", 3, 4),
        batch=2,
        flat=np.array([-1, 4]),
        back=np.array([-1, 3, 4]),
    )
    assert {edge.name: edge.bytes for edge in profile.edges}["a"] == 2 * 3 * 4 * 4


def test_an_open_axis_is_named() -> None:
    raw = onnx_file(
        [helper.make_node("Relu", ["x"], ["y"])],
        inputs=[("x", FLOAT, ("N", "length"))],
        outputs=[("y", FLOAT, ("N", "length"))],
    )
    with pytest.raises(BadInput, match="a size for the axis 'length', found none"):
        count(load(raw))


def test_an_unknown_shape_is_named() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["a"], name="g"),
        helper.make_node("Neg", ["a"], ["y"]),
    ]
    raw = onnx_file(nodes, inputs=[("x", FLOAT, ("N", 4))], outputs=[("y", INT64, (2, "found"))])
    profile = count(load(raw))
    assert profile.uncounted == tuple(node.name for node in profile.nodes)
    assert [one.name for one in profile.unsized] == ["a", "y"]
    with pytest.raises(BadInput, match="known size of every tensor, found 'a', an axis that dep"):
        check_sized(profile)


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(BadInput, match="a batch of at least 1, found 0"):
        _count([helper.make_node("Relu", ["x"], ["y"])], (1, 4), (1, 4), batch=0)


@pytest.mark.skipif(not LITE0.exists(), reason="needs ../shared/models/efficientnet-lite0.onnx")
def test_lite0_has_the_published_macs() -> None:
    model = load(LITE0)
    profile = count(model)
    # 407 M in the EfficientNet-Lite repository, which counts other operators as well.
    assert 385_000_000 <= profile.macs <= 407_000_000
    cuts = {at.name: at.nbytes() for at in find_cuts(model)}
    edges = {edge.name: edge.bytes for edge in profile.edges}
    riding = edges["/Concat_output_0"]
    assert all(0 <= nbytes - edges[name] <= riding for name, nbytes in cuts.items())
    assert {node.op for node in profile.nodes if node.macs} == {"Conv", "Gemm"}
