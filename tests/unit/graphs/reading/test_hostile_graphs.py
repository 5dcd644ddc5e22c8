"""Graphs that contradict themselves, or that were made to exhaust whoever reads them."""

import onnx
import pytest
from onnx import TensorProto, helper

from edgewise.errors import BadInput
from edgewise.graphs import load
from edgewise.profiling.counting import count
from strategies import chain_file, onnx_file
from unit.graphs.reading.hostile_files import FLOAT, product


def _function(name: str, *calls: str) -> onnx.FunctionProto:
    """A function that calls others one after the other."""
    names = ["a", *(f"t{i}" for i in range(len(calls)))]
    nodes = [
        helper.make_node(call, [x], [y], domain="own" if call.startswith("F") else "")
        for call, x, y in zip(calls, names, names[1:], strict=False)
    ]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], [names[-1]], nodes, imports)


def _calling(*functions: onnx.FunctionProto) -> bytes:
    file = product()
    file.graph.node[0].CopyFrom(helper.make_node("F0", ["x"], ["y"], domain="own"))
    file.functions.extend(functions)
    file.opset_import.append(helper.make_opsetid("own", 1))
    return file.SerializeToString()


def test_functions_that_call_themselves() -> None:
    for functions in (
        [_function("F0", "F0")],
        [_function("F0", "Relu", "F1"), _function("F1", "F0")],
    ):
        with pytest.raises(BadInput, match="nested at most 50 deep, and none in a cycle"):
            load(_calling(*functions))


def test_functions_that_grow_beyond_measure() -> None:
    doubling = [_function(f"F{i}", f"F{i + 1}", f"F{i + 1}") for i in range(40)]
    with pytest.raises(BadInput, match="at most 1000000 nodes once local functions are inlined"):
        load(_calling(*doubling, _function("F40", "Relu")))


def test_functions_are_inlined_and_counted() -> None:
    model = load(_calling(_function("F0", "F1", "F1"), _function("F1", "Relu", "Tanh")))
    assert [node.op_type for node in model.ir.graph] == ["Relu", "Tanh"] * 2
    assert model.changes == ("2 local functions inlined",)


def test_two_results_of_one_name() -> None:
    file = product()
    file.graph.node.append(helper.make_node("Relu", ["x"], ["y"]))
    with pytest.raises(BadInput, match="a name of its own for every result, found 'y' twice"):
        load(file.SerializeToString())


def test_two_initialisers_of_one_name() -> None:
    file = product()
    file.graph.initializer.append(file.graph.initializer[0])
    with pytest.raises(BadInput, match="every initialiser, found 'w' twice"):
        load(file.SerializeToString())


def test_two_inputs_and_two_outputs_of_one_name() -> None:
    file = product()
    file.graph.input.append(file.graph.input[0])
    with pytest.raises(BadInput, match="every input, found 'x' twice"):
        load(file.SerializeToString())
    file = product()
    file.graph.output.append(file.graph.output[0])
    with pytest.raises(BadInput, match="every output, found 'y' twice"):
        load(file.SerializeToString())


def test_two_versions_of_the_operators() -> None:
    file = product()
    file.opset_import.append(helper.make_opsetid("ai.onnx", 9))
    with pytest.raises(BadInput, match=r"one version of each set .*several of 'ai\.onnx'"):
        load(file.SerializeToString())


def _nested(depth: int) -> onnx.NodeProto:
    """An If in an If in an If."""
    inner = helper.make_node("Relu", ["x"], ["b0"])
    for level in range(1, depth):
        result = [helper.make_tensor_value_info(f"b{level - 1}", FLOAT, ("N", 4))]
        other = helper.make_node("Neg", ["x"], [f"b{level - 1}"])
        inner = helper.make_node(
            "If",
            ["c"],
            [f"b{level}"],
            then_branch=helper.make_graph([inner], f"g{level}", [], result),
            else_branch=helper.make_graph([other], f"o{level}", [], result),
        )
    return inner


def test_branches_in_branches() -> None:
    raw = onnx_file(
        [_nested(25)],
        inputs=[("x", FLOAT, ("N", 4)), ("c", TensorProto.BOOL, ())],
        outputs=[("b24", FLOAT, ("N", 4))],
    )
    model = load(raw)
    assert len(list(model.ir.graph)) == 1
    assert count(model).macs == 0


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    size, length = b"", len(data)
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + data


@pytest.mark.parametrize("depth", [100, 1_000, 10_000])
def test_graphs_nested_without_end(depth: int) -> None:
    graph = b""
    for _ in range(depth):
        graph = _field(1, _field(5, _field(6, graph)))  # node, its attribute, its graph
    with pytest.raises(BadInput, match="not ONNX"):
        load(b"\x08\x08" + _field(7, graph))


def test_a_giant_text_attribute_and_giant_names() -> None:
    file = product()
    file.graph.node[0].name = "n" * 1_000_000
    file.graph.node[0].doc_string = "d" * 1_000_000
    assert load(file.SerializeToString()).weight_bytes == 64
    file.graph.node[0].attribute.add(
        name="text", s=b"s" * 5_000_000, type=onnx.AttributeProto.STRING
    )
    with pytest.raises(BadInput) as refusal:
        load(file.SerializeToString())
    assert len(str(refusal.value)) < 2_000


def test_a_name_that_is_no_text() -> None:
    raw = chain_file("Relu", "Tanh").replace(b"tiny", b"\xff\xfe\xfa\xfb")
    with pytest.raises(BadInput, match="names and texts in UTF-8"):
        load(raw)


def test_a_text_output_and_a_complex_input() -> None:
    for kind, found in ((TensorProto.STRING, "string"), (TensorProto.COMPLEX64, "complex64")):
        raw = onnx_file(
            [helper.make_node("Identity", ["x"], ["y"])],
            inputs=[("x", kind, ("N", 4))],
            outputs=[("y", kind, ("N", 4))],
        )
        with pytest.raises(BadInput, match=f"tensor 'x' of one of the types .*found '{found}'"):
            load(raw)
