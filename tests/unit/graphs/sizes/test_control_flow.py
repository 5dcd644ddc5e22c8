"""If, Loop and Scan: what they compute is counted, their shapes are known."""

from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewise.errors import BadInput
from edgewise.graphs import list_graph, load
from edgewise.profiling.counting import count
from edgewise.profiling.profile import Profile
from strategies import onnx_file

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def _info(name: str, kind: int = FLOAT, shape: object = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def _branch(name: str, *products: int) -> onnx.GraphProto:
    """A chain of matrix products of these widths, from the outer ``x``."""
    widths = (4, *products)
    names = ["x", *(f"{name}{i}" for i in range(len(products)))]
    nodes = [
        helper.make_node("MatMul", [a, f"{name}w{i}"], [b])
        for i, (a, b) in enumerate(pairwise(names))
    ]
    weights = [_weight(f"{name}w{i}", *pair) for i, pair in enumerate(pairwise(widths))]
    return helper.make_graph(nodes, name, [], [_info(names[-1])], weights)


def _choose(condition: dict[str, np.ndarray], extra: list[tuple[str, int, object]]) -> Profile:
    raw = onnx_file(
        [
            helper.make_node(
                "If",
                ["c"],
                ["y"],
                then_branch=_branch("t", 8, 4),
                else_branch=_branch("e", 4),
            )
        ],
        inputs=[("x", FLOAT, ("N", 4)), *extra],
        outputs=[("y", FLOAT, ("N", 4))],
        weights=condition,
    )
    return count(load(raw))


def test_of_an_if_the_larger_branch_counts() -> None:
    profile = _choose({}, [("c", BOOL, ())])
    assert profile.macs == 4 * 8 + 8 * 4
    assert profile.uncounted == ()
    assert profile.nodes[0].weight_bytes == 4 * (32 + 32 + 16)


def test_of_an_if_whose_condition_is_known_the_branch_that_runs_counts() -> None:
    assert _choose({"c": np.array(False)}, []).macs == 16


def _loop(*, steps: bool, times: int | None = None) -> bytes:
    """A loop of matrix products; with ``steps`` it stacks what each turn gives."""
    made = [_info("step", FLOAT, ("N", 4))] if steps else []
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["goes"]),
            helper.make_node("MatMul", ["s", "w"], ["s2"]),
            *([helper.make_node("Tanh", ["s2"], ["step"])] if steps else []),
        ],
        "body",
        [_info("i", INT64, ()), _info("go", BOOL, ()), _info("s", FLOAT, ("N", 4))],
        [_info("goes", BOOL, ()), _info("s2", FLOAT, ("N", 4)), *made],
    )
    weights = {"w": np.ones((4, 4), np.float32)}
    return onnx_file(
        [helper.make_node("Loop", ["times", "", "x"], ["y", "steps"][: 1 + steps], body=body)],
        inputs=[("x", FLOAT, ("N", 4)), *([("times", INT64, ())] if times is None else [])],
        outputs=[("y", FLOAT, ("N", 4)), ("steps", FLOAT, ("turns", "N", 4))][: 1 + steps],
        weights=weights if times is None else {**weights, "times": np.array(times)},
    )


def test_a_loop_counts_as_often_as_it_runs() -> None:
    model = load(_loop(steps=True, times=7))
    assert count(model, batch=2).macs == 7 * 2 * 16
    assert list_graph(model, batch=2).tensors["steps"].shape == (7, 2, 4)


def test_a_loop_of_unknown_length_is_said_to_be_uncounted() -> None:
    profile = count(load(_loop(steps=False)))
    assert (profile.macs, profile.uncounted) == (0, (profile.nodes[0].name,))
    stacked = count(load(_loop(steps=True)))
    assert [str(one) for one in stacked.unsized] == [
        "'steps', an axis that depends on the data (axis 0)"
    ]


def test_a_scan_counts_each_slice() -> None:
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["row", "w"], ["p"]),
            helper.make_node("Add", ["s", "p"], ["t"]),
        ],
        "body",
        [_info("s", FLOAT, (4,)), _info("row", FLOAT, (4,))],
        [_info("t", FLOAT, (4,)), _info("p", FLOAT, (4,))],
    )
    raw = onnx_file(
        [helper.make_node("Scan", ["zero", "x"], ["y", "all"], body=body, num_scan_inputs=1)],
        inputs=[("x", FLOAT, ("rows", 4))],
        outputs=[("y", FLOAT, (4,)), ("all", FLOAT, ("rows", 4))],
        weights={"w": np.ones((4, 4), np.float32), "zero": np.zeros(4, np.float32)},
    )
    model = load(raw)
    assert count(model, axes={"rows": 6}).macs == 6 * 16
    assert list_graph(model, axes={"rows": 6}).tensors["all"].shape == (6, 4)


def test_a_loop_in_an_if_counts_too() -> None:
    inner = onnx.load_model_from_string(_loop(steps=False, times=3)).graph
    then = helper.make_graph(inner.node, "then", [], [_info("y")], inner.initializer)
    otherwise = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["n"])], "else", [], [_info("n")]
    )
    raw = onnx_file(
        [helper.make_node("If", ["c"], ["out"], then_branch=then, else_branch=otherwise)],
        inputs=[("x", FLOAT, ("N", 4)), ("c", BOOL, ())],
        outputs=[("out", FLOAT, ("N", 4))],
    )
    assert count(load(raw)).macs == 3 * 16


def test_a_sequence_inside_is_loaded_and_its_size_left_open() -> None:
    raw = onnx_file(
        [
            helper.make_node("SplitToSequence", ["x"], ["parts"], axis=1),
            helper.make_node("ConcatFromSequence", ["parts"], ["y"], axis=1),
        ],
        inputs=[("x", FLOAT, ("N", 4))],
        outputs=[("y", FLOAT, ("N", 4))],
    )
    model = load(raw)
    profile = count(model)
    assert str(profile.unsized[0]) == "'parts', a sequence or an optional"
    assert profile.uncounted == tuple(node.name for node in profile.nodes)


def test_a_sequence_at_the_border_is_refused_and_an_unused_one_dropped() -> None:
    file = onnx.load_model_from_string(
        onnx_file(
            [helper.make_node("Relu", ["x"], ["y"])],
            inputs=[("x", FLOAT, ("N", 4))],
            outputs=[("y", FLOAT, ("N", 4))],
        )
    )
    file.graph.input.append(helper.make_tensor_sequence_value_info("past", FLOAT, ("N", 4)))
    model = load(file.SerializeToString())
    assert [spec.name for spec in model.inputs] == ["x"]
    assert model.changes == ("1 unused input without a tensor form dropped",)
    file.graph.node.append(helper.make_node("SequenceLength", ["past"], ["n"]))
    file.graph.output.append(_info("n", INT64, ()))
    with pytest.raises(BadInput, match=r"'past' to be a tensor .*found a sequence"):
        load(file.SerializeToString())
