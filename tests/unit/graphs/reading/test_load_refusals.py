"""Files that cannot be used, and what is said of each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgewise.errors import BadInput
from edgewise.graphs import load
from strategies import chain_file, onnx_file

FLOAT = TensorProto.FLOAT


def _file(
    node: onnx.NodeProto,
    shape: Sequence[int | str] = ("N", 4),
    kind: int = FLOAT,
    weights: dict[str, np.ndarray] | None = None,
) -> bytes:
    return onnx_file(
        [node], inputs=[("x", kind, shape)], outputs=[("y", kind, ("N", 4))], weights=weights
    )


def test_a_wrong_path() -> None:
    with pytest.raises(BadInput, match=r"an ONNX file at no/such\.onnx, found no such file"):
        load("no/such.onnx")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"found a folder; name the file in it"):
        load(tmp_path)


def test_a_path_that_cannot_be_one() -> None:
    with pytest.raises(BadInput, match="unusable path"):
        load("a\0b")


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"", "no bytes at all"),
        (b"\x89PNG\r\n", "not ONNX"),
        (b"hello, this is text", "not ONNX"),
        (chain_file("Relu", "Tanh")[:40], "not ONNX, or a file cut short"),
    ],
    ids=["empty", "png", "text", "truncated"],
)
def test_bytes_that_are_no_network(raw: bytes, found: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=found):
        load(raw)
    path = tmp_path / "m.onnx"
    path.write_bytes(raw)
    with pytest.raises(BadInput, match=found):
        load(path)


@pytest.mark.parametrize("opset", [1, 6, 25])
def test_an_opset_out_of_range(opset: int) -> None:
    with pytest.raises(BadInput, match=f"opset 7 to 24 .*, found opset {opset}; export"):
        load(chain_file("Relu", "Tanh", opset=opset))


def test_a_zero_sized_axis() -> None:
    relu = helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(BadInput, match="input 'x', found axis 1 of size 0"):
        load(_file(relu, (1, 0)))


def test_an_unknown_domain() -> None:
    node = helper.make_node("Fancy", ["x"], ["y"], domain="acme")
    with pytest.raises(BadInput, match="'Fancy' of the unknown domain 'acme'"):
        load(_file(node))


def test_an_unknown_operator() -> None:
    with pytest.raises(BadInput, match=r"a valid ONNX graph .*No Op registered for Fancy"):
        load(_file(helper.make_node("Fancy", ["x"], ["y"])))


def test_operators_that_do_not_fit() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    with pytest.raises(BadInput, match=r"fit together.*Incompatible dimensions"):
        load(_file(node, weights={"w": np.zeros((5, 4), np.float32)}))


def test_strings() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    with pytest.raises(BadInput, match=r"tensor 'x' of one of the types .*found 'string'"):
        load(_file(node, kind=TensorProto.STRING))


def test_an_input_of_unknown_rank() -> None:
    file = onnx.load_model_from_string(_file(helper.make_node("Relu", ["x"], ["y"])))
    file.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(BadInput):
        load(file.SerializeToString())


def test_a_network_without_operators() -> None:
    with pytest.raises(BadInput, match="found no operator"):
        load(onnx_file([], inputs=[("x", FLOAT, (1,))], outputs=[("x", FLOAT, (1,))]))


def test_a_cycle() -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    raw = onnx_file(nodes, inputs=[("x", FLOAT, (1,))], outputs=[("b", FLOAT, (1,))])
    with pytest.raises(BadInput, match="topologically sorted"):
        load(raw)


def test_a_tensor_that_lies_about_its_size() -> None:
    file = onnx.load_model_from_string(
        _file(
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            weights={"w": np.zeros((4, 4), np.float32)},
        )
    )
    file.graph.initializer[0].raw_data = b"1234"
    with pytest.raises(BadInput, match="too small for the declared shape"):
        load(file.SerializeToString())
