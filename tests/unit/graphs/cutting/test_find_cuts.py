"""Which cuts are legal, and what rides along."""

import itertools
from functools import partial

import numpy as np
import pytest
from onnx import TensorProto, helper

from counted_work import lines_run
from edgewise.errors import BadInput
from edgewise.graphs import Cut, find_cuts, load
from edgewise.tensors import Role, TensorSpec
from strategies import chain_file, onnx_file

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
ROW = ("N", 4)


def _cuts(nodes: list, **fields: object) -> list[Cut]:
    return list(find_cuts(load(onnx_file(nodes, **fields))))


def test_a_chain_is_cut_between_its_operators() -> None:
    cuts = find_cuts(load(chain_file("Relu", "Tanh", "Neg")))
    assert [c.name for c in cuts] == ["t0", "t1"]
    assert cuts[0].nbytes(batch=2) == 32


def test_parallel_branches_are_never_cut_in_any_order() -> None:
    first = helper.make_node("Exp", ["x"], ["a"])
    left = [helper.make_node("Relu", ["a"], ["l1"]), helper.make_node("Tanh", ["l1"], ["l2"])]
    right = [helper.make_node("Neg", ["a"], ["r1"]), helper.make_node("Abs", ["r1"], ["r2"])]
    last = [helper.make_node("Add", ["l2", "r2"], ["s"]), helper.make_node("Relu", ["s"], ["y"])]
    border = {"inputs": [("x", FLOAT, ROW)], "outputs": [("y", FLOAT, ROW)]}
    orders = [
        order
        for order in itertools.permutations([*left, *right])
        if order.index(left[0]) < order.index(left[1])
        and order.index(right[0]) < order.index(right[1])
    ]
    assert len(orders) == 6
    for order in orders:
        assert [c.name for c in _cuts([first, *order, *last], **border)] == ["a", "s"]


def test_two_outputs_must_both_pass() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["y"]),
        helper.make_node("Neg", ["y"], ["b"]),
        helper.make_node("Abs", ["b"], ["z"]),
    ]
    cuts = _cuts(nodes, inputs=[("x", FLOAT, ROW)], outputs=[("y", FLOAT, ROW), ("z", FLOAT, ROW)])
    assert [c.name for c in cuts] == ["a", "y"]


def test_shape_computations_ride_along_as_structure() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "s"], ["c"]),
        helper.make_node("Neg", ["c"], ["y"]),
    ]
    cuts = _cuts(nodes, inputs=[("x", FLOAT, ROW)], outputs=[("y", FLOAT, ROW)])
    assert [[t.name for t in c.tensors] for c in cuts] == [["a", "s"], ["b", "s"], ["c"]]
    (shape,) = cuts[0].structure
    assert (shape.role, shape.dtype, shape.shape) == (Role.STRUCTURE, "int64", (2,))
    assert cuts[0].nbytes() == 16 + 16


def test_the_shape_of_the_cut_itself_is_measured_in_the_tail() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Shape", ["a"], ["s"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "s"], ["y"]),
    ]
    cuts = _cuts(nodes, inputs=[("x", FLOAT, ROW)], outputs=[("y", FLOAT, ROW)])
    assert [[t.name for t in c.tensors] for c in cuts] == [["a"], ["b", "s"]]


def test_a_mask_input_rides_along_and_its_float_form_is_made_again() -> None:
    nodes = [
        helper.make_node("Cast", ["mask"], ["m"], to=FLOAT),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Mul", ["a", "m"], ["b"]),
        helper.make_node("Mul", ["b", "m"], ["y"]),
    ]
    inputs = [("x", FLOAT, ROW), ("mask", INT64, ROW)]
    cuts = _cuts(nodes, inputs=inputs, outputs=[("y", FLOAT, ROW)])
    assert [[t.name for t in c.tensors] for c in cuts] == [["a", "mask"], ["b", "mask"]]


def test_embedding_indices_are_content_and_hold_a_cut_back() -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("Relu", ["e"], ["a"]),
        helper.make_node("Gather", ["table", "ids"], ["again"]),
        helper.make_node("Add", ["a", "again"], ["b"]),
        helper.make_node("Neg", ["b"], ["y"]),
    ]
    cuts = _cuts(
        nodes,
        inputs=[("ids", INT64, ROW)],
        outputs=[("y", FLOAT, ("N", 4, 3))],
        weights={"table": np.zeros((7, 3), np.float32)},
    )
    assert [c.name for c in cuts] == ["b"]


def test_constants_computed_from_constants_never_cross() -> None:
    nodes = [
        helper.make_node("Relu", ["c"], ["k"]),
        helper.make_node("Add", ["x", "k"], ["a"]),
        helper.make_node("Add", ["a", "k"], ["y"]),
    ]
    cuts = _cuts(
        nodes,
        inputs=[("x", FLOAT, ROW)],
        outputs=[("y", FLOAT, ROW)],
        weights={"c": np.ones(4, np.float32)},
    )
    assert [[t.name for t in c.tensors] for c in cuts] == [["a"]]


def test_a_body_that_captures_content_holds_a_cut_back() -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["inner"])],
        "body",
        [],
        [helper.make_tensor_value_info("inner", FLOAT, ROW)],
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("If", ["flag"], ["c"], then_branch=body, else_branch=body),
        helper.make_node("Neg", ["c"], ["y"]),
    ]
    inputs = [("x", FLOAT, ROW), ("flag", BOOL, ())]
    cuts = _cuts(nodes, inputs=inputs, outputs=[("y", FLOAT, ROW)])
    assert [[t.name for t in c.tensors] for c in cuts] == [["a", "flag"], ["c"]]


def test_an_answer_that_is_an_index_is_still_an_answer() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("ArgMax", ["b"], ["y"], axis=1, keepdims=0),
    ]
    cuts = _cuts(nodes, inputs=[("x", FLOAT, ROW)], outputs=[("y", INT64, ("N",))])
    assert [c.name for c in cuts] == ["a", "b"]


def test_an_output_that_no_content_reaches_allows_no_cut() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["y"]),
    ]
    outputs = [("y", FLOAT, ROW), ("s", INT64, (2,))]
    assert _cuts(nodes, inputs=[("x", FLOAT, ROW)], outputs=outputs) == []


def test_one_operator_leaves_nothing_to_cut() -> None:
    assert find_cuts(load(chain_file("Relu"))) == ()


def test_a_tensor_of_unknown_shape_is_no_cut() -> None:
    nodes = [
        helper.make_node("Compress", ["x", "wanted"], ["a"]),
        helper.make_node("Neg", ["a"], ["y"]),
    ]
    inputs = [("x", FLOAT, ROW), ("wanted", TensorProto.BOOL, ("N",))]
    assert _cuts(nodes, inputs=inputs, outputs=[("y", FLOAT, ("found",))]) == []


def test_a_cut_without_content_is_refused() -> None:
    mask = TensorSpec(name="m", dtype="bool", shape=(1,), role=Role.STRUCTURE)
    with pytest.raises(BadInput, match="at least one content tensor, found m"):
        Cut(tensors=(mask,))


def test_the_work_grows_with_the_graph_and_not_with_its_square() -> None:
    lines = {}
    for size in (250, 2000):
        model = load(chain_file(*["Relu"] * size))
        assert len(find_cuts(model)) == size - 1
        lines[size] = lines_run(partial(find_cuts, model))
    assert lines[2000] < 10 * lines[250]  # eight times the nodes; a square would be 64
