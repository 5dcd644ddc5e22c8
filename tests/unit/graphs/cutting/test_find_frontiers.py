"""Which cuts through several tensors are offered, and what rides along for the fewest bytes."""

from functools import partial

import numpy as np
import pytest
from onnx import TensorProto, helper

from counted_work import lines_run
from edgewise.errors import BadInput
from edgewise.graphs import (
    Cut,
    Model,
    check_proof,
    find_cuts,
    find_frontiers,
    load,
    prove_cuts,
    random_feeds,
    weights_held,
)
from edgewise.profiling import count, undominated
from strategies import chain_file, onnx_file

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
ROW = ("N", 4)
X, Y = [("x", FLOAT, ROW)], [("y", FLOAT, ROW)]


def _model(nodes: list, **fields: object) -> Model:
    return load(onnx_file(nodes, **fields))


def _names(cuts: tuple[Cut, ...]) -> list[list[str]]:
    return [[spec.name for spec in at.tensors] for at in cuts]


def _prove(model: Model, cuts: tuple[Cut, ...]) -> None:
    feeds = [random_feeds(model, np.random.default_rng(0), batch=2, axes={"S": 5})]
    for _, proof in prove_cuts(model, cuts, feeds):
        check_proof(proof)


def _residual() -> Model:
    nodes = [
        helper.make_node("Exp", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Tanh", ["b"], ["c"]),
        helper.make_node("Add", ["a", "c"], ["s"]),
        helper.make_node("Neg", ["s"], ["y"]),
    ]
    return _model(nodes, inputs=X, outputs=Y)


def test_a_residual_stream_crosses_beside_its_branch() -> None:
    model = _residual()
    frontiers = find_frontiers(model)
    assert _names(find_cuts(model)) == [["a"], ["s"]]
    assert _names(frontiers.cuts) == [["a", "b"], ["a", "c"]]
    assert frontiers.complete


def test_beside_a_single_cut_its_branches_are_dominated() -> None:
    model = _residual()
    cuts = (*find_cuts(model), *find_frontiers(model).cuts)
    assert _names(undominated(cuts, count(model))) == [["a"], ["s"]]


def test_an_input_that_the_tail_needs_too_crosses_as_content() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Add", ["b", "x"], ["c"]),
        helper.make_node("Neg", ["c"], ["y"]),
    ]
    model = _model(nodes, inputs=X, outputs=Y)
    assert _names(find_frontiers(model).cuts) == [["x", "a"], ["x", "b"]]
    _prove(model, find_frontiers(model).cuts)


def test_an_output_that_the_head_makes_already_counts() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["early"]),
        helper.make_node("Tanh", ["x"], ["a"]),
        helper.make_node("Neg", ["a"], ["y"]),
    ]
    model = _model(nodes, inputs=X, outputs=[("early", FLOAT, ROW), *Y])
    assert _names(find_frontiers(model).cuts) == [
        ["x", "early"],
        ["x", "a"],
        ["x", "y"],
        ["early", "a"],
    ]
    _prove(model, find_frontiers(model).cuts)


def test_without_content_between_there_is_none() -> None:
    assert find_frontiers(load(chain_file("Relu", "Tanh", "Neg"))).cuts == ()


def test_a_mask_crosses_in_its_narrowest_form() -> None:
    nodes = [
        helper.make_node("Greater", ["mask", "zero"], ["narrow"]),
        helper.make_node("Cast", ["narrow"], ["wide"], to=INT64),
        helper.make_node("Cast", ["wide"], ["m"], to=FLOAT),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Mul", ["a", "m"], ["y"]),
    ]
    inputs = [("x", FLOAT, ("N", "S")), ("mask", INT64, ("N", "S"))]
    model = _model(
        nodes, inputs=inputs, outputs=[("y", FLOAT, ("N", "S"))], weights={"zero": np.int64(0)}
    )
    (at,) = find_cuts(model)
    assert [spec.name for spec in at.tensors] == ["a", "narrow"]
    assert at.structure[0].nbytes(axes={"S": 128}) == 128
    _prove(model, (at,))


def test_lengths_cross_rather_than_the_masks_made_of_them() -> None:
    nodes = [
        helper.make_node("Less", ["places", "length"], ["left"]),
        helper.make_node("GreaterOrEqual", ["places", "length"], ["right"]),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Where", ["left", "a", "none"], ["b"]),
        helper.make_node("Where", ["right", "b", "none"], ["y"]),
    ]
    row = ("N", 64)
    model = _model(
        nodes,
        inputs=[("x", FLOAT, row), ("length", INT64, ("N", 1))],
        outputs=[("y", FLOAT, row)],
        weights={"places": np.arange(64)[None], "none": np.float32(0)},
    )
    assert _names(find_cuts(model)) == [["a", "length"], ["b", "length"]]
    _prove(model, find_cuts(model))


def test_together_two_masks_are_made_of_one_source_that_neither_alone_is_worth() -> None:
    # Two masks of 12 bytes come from 16 bytes: one alone is carried, of both the source is.
    nodes = [
        helper.make_node("Greater", ["source", "low"], ["left"]),
        helper.make_node("Less", ["source", "low"], ["right"]),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Where", ["left", "a", "none"], ["b"]),
        helper.make_node("Tanh", ["b"], ["c"]),
        helper.make_node("Where", ["right", "c", "none"], ["y"]),
    ]
    model = _model(
        nodes,
        inputs=[("x", FLOAT, (6, 2)), ("source", INT64, (1, 2))],
        outputs=[("y", FLOAT, (6, 2))],
        weights={"low": np.zeros((6, 1), np.int64), "none": np.float32(0)},
    )
    assert _names(find_cuts(model)) == [["a", "source"], ["b", "right"], ["c", "right"]]
    _prove(model, find_cuts(model))


def test_the_shape_of_content_that_crosses_is_measured_again() -> None:
    nodes = [
        helper.make_node("Exp", ["x"], ["a"]),
        helper.make_node("Shape", ["a"], ["s"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "s"], ["c"]),
        helper.make_node("Add", ["a", "c"], ["d"]),
        helper.make_node("Reshape", ["d", "s"], ["y"]),
    ]
    model = _model(nodes, inputs=X, outputs=Y)
    assert _names(find_cuts(model)) == [["a"], ["d", "s"]]
    assert _names(find_frontiers(model).cuts) == [["a", "b"], ["a", "c"]]
    _prove(model, (*find_cuts(model), *find_frontiers(model).cuts))


def test_content_that_a_later_mask_compares_crosses_too() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Greater", ["a", "b"], ["m"]),
        helper.make_node("Where", ["m", "b", "none"], ["y"]),
    ]
    model = _model(nodes, inputs=X, outputs=Y, weights={"none": np.float32(0)})
    assert _names(find_cuts(model)) == [["a"], ["b", "m"]]


def test_random_numbers_are_drawn_once() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("ConstantOfShape", ["s"], ["zeros"]),
        helper.make_node("RandomNormalLike", ["zeros"], ["noise"], dtype=FLOAT),
        helper.make_node("Add", ["a", "noise"], ["b"]),
        helper.make_node("Add", ["b", "noise"], ["y"]),
    ]
    model = _model(nodes, inputs=X, outputs=Y)
    assert ["b", "noise"] in _names(find_cuts(model))


def _decoder(layers: int) -> Model:
    shape = ("N", "P", 4)
    nodes, inputs, outputs = [], [("x", FLOAT, ("N", "S", 4))], []
    hidden = "x"
    for layer in range(layers):
        for kind in "kv":
            name = f"{kind}{layer}"
            inputs.append((f"past_{name}", FLOAT, shape))
            outputs.append((f"present_{name}", FLOAT, ("N", "T", 4)))
            nodes.append(helper.make_node("Relu", [hidden], [name]))
            nodes.append(
                helper.make_node("Concat", [f"past_{name}", name], [f"present_{name}"], axis=1)
            )
        nodes += [
            helper.make_node(
                "Transpose", [f"present_k{layer}"], [f"turned{layer}"], perm=[0, 2, 1]
            ),
            helper.make_node("MatMul", [hidden, f"turned{layer}"], [f"score{layer}"]),
            helper.make_node("MatMul", [f"score{layer}", f"present_v{layer}"], [f"mix{layer}"]),
            helper.make_node("Add", [hidden, f"mix{layer}"], [f"h{layer}"]),
        ]
        hidden = f"h{layer}"
    nodes.append(helper.make_node("Neg", [hidden], ["y"]))
    return _model(nodes, inputs=inputs, outputs=[("y", FLOAT, ("N", "S", 4)), *outputs])


def test_a_decoder_with_many_pasts_has_no_small_frontier_and_that_is_seen_at_once() -> None:
    frontiers = find_frontiers(_decoder(40))
    assert frontiers.cuts == ()
    assert frontiers.complete
    assert frontiers.visited < 20


@pytest.mark.engine
def test_a_loop_and_a_sequence_between_two_tensors_are_cut_where_that_is_legal() -> None:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "a"], ["next"]),
            helper.make_node("Identity", ["going"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", INT64, ()),
            helper.make_tensor_value_info("going", BOOL, ()),
            helper.make_tensor_value_info("state", FLOAT, ROW),
        ],
        [
            helper.make_tensor_value_info("still", BOOL, ()),
            helper.make_tensor_value_info("next", FLOAT, ROW),
        ],
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Loop", ["turns", "", "b"], ["c"], body=body),
        helper.make_node("SequenceConstruct", ["c", "a"], ["parts"]),
        helper.make_node("ConcatFromSequence", ["parts"], ["y"], axis=0),
    ]
    model = _model(
        nodes, inputs=X, outputs=[("y", FLOAT, ("M", 4))], weights={"turns": np.int64(3)}
    )
    found = (*find_cuts(model), *find_frontiers(model).cuts)
    assert [names for names in _names(found) if "parts" in names] == []
    assert _names(found)[:2] == [["a"], ["a", "b"]]
    _prove(model, found)


def test_more_tensors_are_found_when_asked_for() -> None:
    nodes = [
        helper.make_node("Exp", ["x"], ["a"]),
        *(helper.make_node("Relu", ["a"], [f"b{i}"]) for i in range(5)),
        helper.make_node("Sum", [f"b{i}" for i in range(5)], ["y"]),
    ]
    model = _model(nodes, inputs=X, outputs=Y)
    widths = [len(at.content) for at in find_frontiers(model, most=5).cuts]
    # a with one to four of the five branches begun, or all of them without a
    assert [widths.count(width) for width in range(2, 7)] == [5, 10, 10, 6, 0]


def test_the_bound_is_kept_and_said() -> None:
    some = find_frontiers(_residual(), bound=3)
    assert (some.visited, some.complete) == (3, False)


@pytest.mark.parametrize("wrong", [{"most": 1}, {"bound": 0}])
def test_a_single_tensor_or_no_search_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BadInput, match=r"at least 2 tensors, and a bound of at least 1, found"):
        find_frontiers(_residual(), **wrong)


def test_weights_that_both_halves_need_are_held_by_both() -> None:
    nodes = [
        helper.make_node("Relu", ["w"], ["k"]),
        helper.make_node("Add", ["x", "k"], ["a"]),
        helper.make_node("Add", ["a", "k"], ["b"]),
        helper.make_node("Add", ["b", "v"], ["y"]),
    ]
    weights = {"w": np.ones(4, np.float32), "v": np.ones((1, 4), np.float32)}
    model = _model(nodes, inputs=X, outputs=Y, weights=weights)
    first, second = weights_held(model, find_cuts(model))
    assert (first.head, first.tail, first.head_bytes, first.tail_bytes) == (
        ("w",),
        ("w", "v"),
        16,
        32,
    )
    assert (second.head, second.tail, second.tail_bytes) == (("w",), ("v",), 16)


def test_weights_of_a_cut_that_is_none_are_refused() -> None:
    (at,) = find_cuts(load(chain_file("Relu", "Neg")))
    with pytest.raises(BadInput, match="found the name 't0'"):
        weights_held(_residual(), [at])


def test_the_work_grows_with_the_graph_and_not_with_its_square() -> None:
    lines = {}
    for size in (200, 1600):
        nodes, last = [helper.make_node("Relu", ["x"], ["h0"])], 0
        for last in range(1, size):
            nodes.append(helper.make_node("Tanh", [f"h{last - 1}"], [f"t{last}"]))
            nodes.append(helper.make_node("Add", [f"h{last - 1}", f"t{last}"], [f"h{last}"]))
        model = _model(nodes, inputs=X, outputs=[(f"h{last}", FLOAT, ROW)])
        assert len(find_frontiers(model).cuts) == size - 1
        lines[size] = lines_run(partial(_search_and_weigh, model))
    assert lines[1600] < 10 * lines[200]  # eight times the nodes; a square would be 64


def _search_and_weigh(model: Model) -> None:
    find_frontiers(model)
    weights_held(model, find_cuts(model))
