"""Stored tensors whose contents are not what they claim."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewise.errors import BadInput
from edgewise.graphs import load
from unit.graphs.reading.hostile_files import FLOAT, branch, product

Change = Callable[[TensorProto], None]


def _raw(data: bytes) -> Change:
    return lambda tensor: setattr(tensor, "raw_data", data)


def _dims(*dims: int) -> Change:
    def change(tensor: TensorProto) -> None:
        tensor.dims[:] = dims

    return change


def _typed(count: int) -> Change:
    def change(tensor: TensorProto) -> None:
        tensor.ClearField("raw_data")
        tensor.float_data.extend([1.0] * count)

    return change


CASES = {
    "short": (_raw(b"1234"), "64 bytes .*found 4, too small for the declared shape"),
    "long": (_raw(bytes(68)), "64 bytes .*found 68, too large for the declared shape"),
    "huge": (_dims(1 << 62, 1 << 62), "at most 2147483647 bytes"),
    "large": (_dims(1 << 28), "found 64, too small"),
    "negative": (_dims(-4, -4), "dimensions of at least 0 .*found -4"),
    "no type": (lambda t: setattr(t, "data_type", 0), "found type number 0"),
    "other type": (lambda t: setattr(t, "data_type", 11), "128 bytes .*found 64"),
    "unknown type": (lambda t: setattr(t, "data_type", 99), "found type number 99"),
    "few numbers": (_typed(3), "16 numbers .*found 3, too small"),
    "many numbers": (_typed(17), "16 numbers .*found 17, too large"),
    "nothing": (lambda t: t.ClearField("raw_data"), "16 numbers .*found 0, too small"),
}


@pytest.mark.parametrize(("change", "found"), CASES.values(), ids=CASES)
def test_an_initialiser_that_lies(change: Change, found: str) -> None:
    file = product()
    change(file.graph.initializer[0])
    with pytest.raises(BadInput, match=found):
        load(file.SerializeToString())


@pytest.mark.parametrize(("change", "found"), CASES.values(), ids=CASES)
def test_a_constant_and_a_branch_that_lie(change: Change, found: str) -> None:
    tensor = numpy_helper.from_array(np.eye(4, dtype=np.float32), "v")
    change(tensor)
    file = product()
    constant = file.graph.node.add(op_type="Constant", output=["k"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
    with pytest.raises(BadInput, match=found):
        load(file.SerializeToString())
    file = product()
    file.graph.node.append(branch(tensor))
    with pytest.raises(BadInput, match=found):
        load(file.SerializeToString())


def test_what_a_tensor_claims_is_not_allocated() -> None:
    file = product()
    file.graph.initializer[0].dims[:] = [1 << 28]
    raw = file.SerializeToString()
    tracemalloc.start()
    try:
        with pytest.raises(BadInput):
            load(raw)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_shapes_that_are_computed_are_not_allocated() -> None:
    """A ConstantOfShape of 2^40 numbers is sized, never made."""
    file = product()
    file.graph.initializer.append(numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "big"))
    file.graph.node.append(helper.make_node("ConstantOfShape", ["big"], ["ones"]))
    file.graph.node.append(helper.make_node("ReduceMax", ["ones"], ["z"], keepdims=0))
    file.graph.output.append(helper.make_tensor_value_info("z", FLOAT, ()))
    assert [spec.name for spec in load(file.SerializeToString()).outputs] == ["y", "z"]


def test_sparse_tensors_are_refused() -> None:
    file = product()
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "places")
    del file.graph.initializer[:]
    file.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 4]))
    with pytest.raises(BadInput, match="dense stored tensors, found a sparse one"):
        load(file.SerializeToString())


@pytest.mark.parametrize(
    "kind",
    [TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT8E4M3FN, TensorProto.BFLOAT16],
)
def test_narrow_weights_have_their_real_size(kind: int) -> None:
    file = product()
    file.opset_import[0].version = 21
    file.graph.initializer.append(helper.make_tensor("n", kind, [5], [1, 1, 0, 1, 1]))
    file.graph.initializer.append(numpy_helper.from_array(np.float32(2), "s"))
    file.graph.node.append(helper.make_node("Cast", ["n"], ["f"], to=FLOAT))
    file.graph.node.append(helper.make_node("ReduceMax", ["f"], ["z"], keepdims=0))
    file.graph.output.append(helper.make_tensor_value_info("z", FLOAT, ()))
    size = {TensorProto.BFLOAT16: 10, TensorProto.FLOAT8E4M3FN: 5}.get(kind, 3)
    assert load(file.SerializeToString()).weight_bytes == 64 + 4 + size
