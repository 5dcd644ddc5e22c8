"""MACs of operators that are more than a convolution or a matrix product."""

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from edgewise.graphs import load
from edgewise.profiling.counting import count
from strategies import onnx_file

FLOAT = TensorProto.FLOAT


def _macs(
    node: NodeProto, *shapes: tuple[int, ...], made: tuple[int, ...], opset: int = 17
) -> int:
    """Of one node whose inputs are ``a``, ``b``, ``c`` … of these shapes; all but ``a`` stored."""
    names = [chr(ord("a") + i) for i in range(len(shapes))]
    raw = onnx_file(
        [node],
        inputs=[("a", FLOAT, shapes[0])],
        outputs=[("y", FLOAT, made)],
        weights={n: np.zeros(s, np.float32) for n, s in zip(names[1:], shapes[1:], strict=True)},
        opset=opset,
    )
    return count(load(raw)).macs


@pytest.mark.parametrize(
    ("equation", "left", "right", "made", "macs"),
    [
        ("ij,jk->ik", (2, 3), (3, 5), (2, 5), 2 * 3 * 5),
        ("bhid, bhjd -> bhij", (2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 4, 6), 2 * 3 * 4 * 6 * 5),
        ("...i,ij->...j", (7, 2, 3), (3, 5), (7, 2, 5), 7 * 2 * 3 * 5),
        ("i,j->ij", (3,), (5,), (3, 5), 15),
    ],
)
def test_einsum(equation: str, left, right, made, macs: int) -> None:  # type: ignore[no-untyped-def]
    node = helper.make_node("Einsum", ["a", "b"], ["y"], equation=equation)
    assert _macs(node, left, right, made=made) == macs


def test_einsum_of_one_tensor_only_moves() -> None:
    node = helper.make_node("Einsum", ["a"], ["y"], equation="ij->ji")
    assert _macs(node, (3, 4), made=(4, 3)) == 0


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_cells(op: str, gates: int, directions: int) -> None:
    steps, sequences, width, hidden = 5, 2, 3, 7
    way = "bidirectional" if directions == 2 else "forward"
    node = helper.make_node(op, ["a", "b", "c"], ["y"], hidden_size=hidden, direction=way)
    macs = _macs(
        node,
        (steps, sequences, width),
        (directions, gates * hidden, width),
        (directions, gates * hidden, hidden),
        made=(steps, directions, sequences, hidden),
    )
    assert macs == steps * sequences * directions * gates * hidden * (width + hidden)


def test_attention_of_onnx() -> None:
    node = helper.make_node("Attention", ["a", "b", "c"], ["y"])
    shape = (2, 3, 5, 4)
    macs = _macs(node, shape, (2, 3, 6, 4), (2, 3, 6, 4), made=shape, opset=23)
    assert macs == 2 * (2 * 3 * 5 * 6 * 4)


def test_attention_of_onnxruntime_holds_its_projections() -> None:
    node = helper.make_node(
        "Attention", ["a", "b", "c"], ["y"], domain="com.microsoft", num_heads=2
    )
    macs = _macs(node, (1, 5, 8), (8, 24), (24,), made=(1, 5, 8))
    assert macs == 5 * 8 * 24 + 2 * 5 * 5 * 8


def test_a_fused_product_with_a_turned_left_side() -> None:
    node = helper.make_node("FusedMatMul", ["a", "b"], ["y"], domain="com.microsoft", transA=1)
    assert _macs(node, (3, 5), (3, 7), made=(5, 7)) == 5 * 3 * 7


def test_bodies_do_not_hide_what_cannot_be_counted() -> None:
    """Attention of a form that nobody knows is said to be uncounted, not 0 in silence."""
    node = helper.make_node(
        "MultiHeadAttention", ["a"], ["y"], domain="com.microsoft", num_heads=2
    )
    raw = onnx_file(
        [node], inputs=[("a", FLOAT, (1, 5, 2, 3, 4))], outputs=[("y", FLOAT, (1, 5, 8))]
    )
    profile = count(load(raw))
    assert profile.uncounted == (profile.nodes[0].name,)
