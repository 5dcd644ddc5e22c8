"""A small valid file, taken apart by the tests of hostile ones."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from strategies import onnx_file

FLOAT = TensorProto.FLOAT


def product() -> onnx.ModelProto:
    """``y = x @ w`` with a 4 by 4 weight."""
    raw = onnx_file(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        inputs=[("x", FLOAT, ("N", 4))],
        outputs=[("y", FLOAT, ("N", 4))],
        weights={"w": np.eye(4, dtype=np.float32)},
    )
    return onnx.load_model_from_string(raw)


def branch(tensor: onnx.TensorProto) -> onnx.NodeProto:
    """An If with the tensor inside one branch."""
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["x", tensor.name], ["t"])],
        "then",
        [],
        [helper.make_tensor_value_info("t", FLOAT, ("N", 4))],
        [tensor],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["e"])],
        "else",
        [],
        [helper.make_tensor_value_info("e", FLOAT, ("N", 4))],
    )
    return helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=other)


def external(
    location: str, *, offset: str = "0", length: str | None = "64", name: str = "w"
) -> onnx.TensorProto:
    """A 4 by 4 weight that says it is kept in another file."""
    tensor = numpy_helper.from_array(np.eye(4, dtype=np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": offset, "length": length}
    for key, text in entries.items():
        if text is not None:
            tensor.external_data.add(key=key, value=text)
    return tensor
