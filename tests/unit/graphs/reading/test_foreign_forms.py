"""Forms that other people's files come in: wrong statements, odd branches, texts, sequences."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.graphs import (
    find_cuts,
    fix_axes,
    list_graph,
    load,
    random_feeds,
    to_bytes,
)
from edgewise.graphs.reading import upgrading
from edgewise.profiling import check_sized, count
from strategies import onnx_file

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def _reshaped(stated: tuple[int | str, ...]) -> bytes:
    nodes = [
        helper.make_node("Reshape", ["x", "to"], ["h"]),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    return onnx_file(
        nodes,
        inputs=[("x", FLOAT, (2, 6))],
        outputs=[("y", FLOAT, stated)],
        weights={"to": np.array([3, 4, 1], np.int64)},
    )


@pytest.mark.engine
@pytest.mark.parametrize("stated", [(1, "n"), (3, 4, 2), (12,)])
def test_a_wrong_stated_shape_gives_way(stated: tuple[int | str, ...]) -> None:
    model = load(_reshaped(stated))
    assert model.outputs[0].shape == (3, 4, 1)
    assert model.changes == ("stated shapes that its operators contradict dropped: 'y'",)
    assert [cut.content[0].shape for cut in find_cuts(model)] == [(3, 4, 1)]
    feeds = random_feeds(model, np.random.default_rng(0))
    with open_engine(to_bytes(model)) as engine:
        assert engine.outputs[0].shape == engine.run(feeds)["y"].shape == (3, 4, 1)


def test_a_right_stated_shape_changes_nothing() -> None:
    assert load(_reshaped((3, 4, 1))).changes == ()


def test_operators_that_do_not_fit_are_still_refused() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    raw = onnx_file(
        [node],
        inputs=[("x", FLOAT, (2, 6))],
        outputs=[("y", FLOAT, (2, 3))],
        weights={"w": np.ones((5, 3), np.float32)},
    )
    with pytest.raises(BadInput, match="whose shapes and types fit together"):
        load(raw)


def _two_rates() -> bytes:
    """An If with a branch for frames of four samples and one for frames of eight."""
    branches = [
        helper.make_graph(
            [helper.make_node("MatMul", ["x", f"w{size}"], [f"y{size}"])],
            f"of{size}",
            [],
            [helper.make_tensor_value_info(f"y{size}", FLOAT, None)],
        )
        for size in (4, 8)
    ]
    node = helper.make_node(
        "If", ["fast"], ["y"], then_branch=branches[1], else_branch=branches[0]
    )
    return onnx_file(
        [node],
        inputs=[("x", FLOAT, ("batch", "samples")), ("fast", BOOL, ())],
        outputs=[("y", FLOAT, ("batch", 3))],
        weights={"w4": np.ones((4, 3), np.float32), "w8": np.ones((8, 3), np.float32)},
    )


@pytest.mark.parametrize(("samples", "macs"), [(4, 12), (8, 24)])
def test_a_branch_for_another_size_is_left_out(samples: int, macs: int) -> None:
    profile = count(load(_two_rates()), axes={"samples": samples})
    assert (profile.macs, profile.uncounted) == (macs, ())


def test_a_size_that_no_branch_takes_is_refused() -> None:
    with pytest.raises(BadInput, match=r"fit together, found MatMul node .*state other sizes"):
        count(load(_two_rates()), axes={"samples": 5})


def test_an_output_of_maps_is_refused() -> None:
    zipped = onnx.ValueInfoProto(name="probabilities")
    entry = zipped.type.sequence_type.elem_type.map_type
    entry.key_type = INT64
    entry.value_type.tensor_type.elem_type = FLOAT
    graph = helper.make_graph(
        [
            helper.make_node(
                "ZipMap",
                ["x"],
                ["probabilities"],
                "zip",
                domain="ai.onnx.ml",
                classlabels_int64s=[0, 1],
            )
        ],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 2])],
        [zipped],
    )
    opset = [helper.make_opsetid("ai.onnx.ml", 1)]
    raw = helper.make_model(graph, opset_imports=opset, ir_version=3).SerializeToString()
    with pytest.raises(BadInput) as refusal:
        load(raw)
    assert str(refusal.value) == (
        "expected outputs of the given bytes that are tensors, found 'probabilities', a sequence "
        "of maps; export it with zipmap=False (skl2onnx: options={'zipmap': False})"
    )


def test_an_output_of_sequences_is_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x", "x"], ["both"])],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [2])],
        [helper.make_tensor_sequence_value_info("both", FLOAT, None)],
    )
    opset = [helper.make_opsetid("", 17)]
    raw = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    with pytest.raises(BadInput, match="found 'both', a sequence; export it with plain tensors"):
        load(raw)


def test_weights_that_are_no_inputs_though_the_form_is_old() -> None:
    weight = numpy_helper.from_array(np.ones(4, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [4])],
        [helper.make_tensor_value_info("y", FLOAT, [4])],
        [weight],
    )
    opset = [helper.make_opsetid("", 17)]
    raw = helper.make_model(graph, opset_imports=opset, ir_version=3).SerializeToString()
    assert load(raw).weight_bytes == 16


@pytest.mark.parametrize("elements", [10, 100_000])
def test_a_weight_with_two_contents_is_refused(elements: int) -> None:
    weight = TensorProto(name="w", dims=[elements], data_type=FLOAT, raw_data=bytes(4 * elements))
    weight.float_data.extend([1.0] * elements)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [elements])],
        [helper.make_tensor_value_info("y", FLOAT, [elements])],
        [weight],
    )
    opset = [helper.make_opsetid("", 17)]
    raw = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    with pytest.raises(BadInput, match="a valid ONNX graph"):
        load(raw)


def _partly_sized() -> bytes:
    """A matrix product; beside it a text, a sequence and places that the data decides."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
        helper.make_node("Cast", ["h"], ["words"], name="text", to=TensorProto.STRING),
        helper.make_node("Cast", ["words"], ["read"], name="read", to=FLOAT),
        helper.make_node("SequenceConstruct", ["read", "h"], ["both"], name="sequence"),
        helper.make_node("SequenceAt", ["both", "first"], ["one"], name="at"),
        helper.make_node("NonZero", ["one"], ["places"], name="places"),
        helper.make_node("ReduceSum", ["places"], ["sum"], name="sum", keepdims=0),
        helper.make_node("Cast", ["sum"], ["y"], name="out", to=FLOAT),
    ]
    return onnx_file(
        nodes,
        inputs=[("x", FLOAT, ("n", 4))],
        outputs=[("y", FLOAT, ())],
        weights={"w": np.ones((4, 3), np.float32), "first": np.array(0, np.int64)},
    )


def test_what_has_a_size_is_counted_beside_what_has_none() -> None:
    model = load(_partly_sized())
    profile = count(model, batch=2)
    assert profile.macs == 2 * 4 * 3
    assert {"text", "read", "sequence", "at", "places", "sum"} >= set(profile.uncounted)
    assert {"text", "sequence", "at", "places"} <= set(profile.uncounted)
    assert {"product", "out"}.isdisjoint(profile.uncounted)
    assert str(profile.unsized[0]) == "'words', text, whose length nobody states"
    by_name = {node.name: node for node in profile.nodes}
    assert (by_name["text"].read_bytes, by_name["text"].written_bytes) == (24, 0)
    assert profile.peak_activation_bytes >= 32 + 24
    tensors = list_graph(model, batch=2).tensors
    assert (tensors["words"].dtype, tensors["words"].shape) == ("string", (2, 3))
    assert tensors["words"].nbytes is None


def test_no_plan_is_made_of_what_has_no_size() -> None:
    with pytest.raises(BadInput, match=r"known size of every tensor, found 'words', text, whose"):
        check_sized(count(load(_partly_sized())))


def _joined() -> bytes:
    """What a decoder does with its cache: new rows behind the old ones."""
    nodes = [
        helper.make_node("Concat", ["past", "x"], ["present"], axis=1),
        helper.make_node("MatMul", ["present", "w"], ["y"]),
    ]
    return onnx_file(
        nodes,
        inputs=[("x", FLOAT, ("n", "new", 4)), ("past", FLOAT, ("n", "old", 4))],
        outputs=[("present", FLOAT, ("n", None, 4)), ("y", FLOAT, ("n", None, 3))],
        weights={"w": np.ones((4, 3), np.float32)},
    )


@pytest.mark.engine
def test_a_cache_may_be_empty() -> None:
    model = load(_joined())
    sizes = {"new": 2, "old": 0}
    assert count(model, axes=sizes).macs == 2 * 4 * 3
    feeds = random_feeds(model, np.random.default_rng(0), axes=sizes)
    assert feeds["past"].shape == (1, 0, 4)
    with open_engine(to_bytes(model)) as engine:
        np.testing.assert_array_equal(engine.run(feeds)["present"], feeds["x"])
        nobody = {"x": feeds["x"][:0], "past": feeds["past"][:0]}
        with pytest.raises(BadInput, match=r"for the input 'x', found float32\[0, 2, 4\]"):
            engine.run(nobody)


def test_a_batch_of_nothing_and_negative_sizes_are_refused() -> None:
    model = load(_joined())
    with pytest.raises(BadInput, match="at least 1 for the axis 'n', found 0"):
        count(model, axes={"n": 0, "new": 1, "old": 1})
    with pytest.raises(BadInput, match="at least 0 for the axis 'old', found -1"):
        count(model, axes={"new": 1, "old": -1})


def test_a_fixed_axis_leaves_the_batch_open() -> None:
    model = fix_axes(load(_joined()), {"new": 1, "old": 7})
    assert [spec.shape for spec in model.inputs] == [("n", 1, 4), ("n", 7, 4)]
    assert [cut.content[0].shape for cut in find_cuts(model)] == [("n", 8, 4)]


def _form_of_a_network() -> bytes:
    """All weights alike, as in files that hold only the form of a network."""
    same = numpy_helper.from_array(np.array([0.02], np.float32))
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["w"], value=same),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Softmax", ["h"], ["y"], axis=1),
    ]
    return onnx_file(
        nodes,
        inputs=[("x", FLOAT, ("N", 4))],
        outputs=[("y", FLOAT, ("N", 4))],
        weights={"shape": np.array([4, 4], np.int64)},
        opset=9,
    )


@pytest.mark.engine
def test_the_proof_of_an_upgrade_sees_through_weights_that_are_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With all weights alike every softmax is 1/4, turned round or not."""
    assert load(_form_of_a_network()).changes == ("opset 9 upgraded to 17",)
    convert = upgrading.convert

    def wrong(proto: onnx.ModelProto, where: str) -> onnx.ModelProto:
        made = convert(proto, where)
        turned = helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0])
        (product,) = (node for node in made.graph.node if node.op_type == "MatMul")
        product.input[1] = "turned"
        made.graph.node.insert(1, turned)
        return made

    monkeypatch.setattr("edgewise.graphs.reading.loading.convert", wrong)
    with pytest.raises(BadInput, match="other numbers in 'y'"):
        load(_form_of_a_network())


def test_a_network_over_two_gigabytes_is_not_written() -> None:
    model = load(_reshaped((3, 4, 1)))
    ir = model.ir.clone()

    def never() -> onnx_ir.Tensor:
        raise AssertionError("nothing that large is allocated")

    huge = onnx_ir.LazyTensor(
        never, dtype=onnx_ir.DataType.FLOAT, shape=onnx_ir.Shape([2**29]), name="huge"
    )
    ir.graph.register_initializer(onnx_ir.Value(name="huge", const_value=huge))
    with pytest.raises(BadInput, match=r"at most 2147483647 bytes, found 21474836\d\d bytes of w"):
        to_bytes(replace(model, ir=ir))


def test_the_same_version_of_operators_stated_twice() -> None:
    file = onnx.load_model_from_string(_reshaped((3, 4, 1)))
    file.opset_import.extend([file.opset_import[0], helper.make_opsetid("com.microsoft", 1)])
    file.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model = load(file.SerializeToString())
    assert (model.opset, count(model).macs) == (17, 0)
