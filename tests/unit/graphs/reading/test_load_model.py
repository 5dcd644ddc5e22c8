"""What a loaded network knows of itself, and how it is written."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.graphs import load, save, to_bytes
from edgewise.tensors import Role
from strategies import chain_file, onnx_file

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def test_a_path_and_its_bytes_are_the_same_network(tmp_path: Path) -> None:
    raw = chain_file("Relu", "Tanh")
    path = tmp_path / "small.onnx"
    path.write_bytes(raw)
    model = load(path)
    assert model == load(str(path))
    assert model.digest == hashlib.sha256(raw).hexdigest() == load(raw).digest
    assert (model.name, load(raw).name) == ("small", "tiny")
    assert (model.opset, model.weight_bytes) == (17, 0)
    assert [str(spec) for spec in model.inputs] == ["x float32[N, 4]"]
    assert [str(spec) for spec in model.outputs] == ["y float32[N, 4]"]


@pytest.mark.parametrize("opset", [13, 17, 21, 24])
def test_supported_opsets_load_and_run(opset: int) -> None:
    raw = to_bytes(load(chain_file("Relu", "Tanh", opset=opset)))
    with open_engine(raw) as engine:
        assert engine.run({"x": np.zeros((2, 4), np.float32)})["y"].shape == (2, 4)
    assert onnx.load_model_from_string(raw).ir_version <= 10


def test_a_newer_ir_version_is_written_as_ten() -> None:
    file = onnx.load_model_from_string(chain_file("Relu", "Tanh"))
    file.ir_version = 11
    written = onnx.load_model_from_string(to_bytes(load(file.SerializeToString())))
    assert written.ir_version == 10


def test_an_unnamed_first_axis_is_the_batch_and_one_stays_one() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    for first, expected in ((None, "batch"), (1, 1), ("rows", "rows")):
        raw = onnx_file([node], inputs=[("x", FLOAT, (first, 4))], outputs=[("y", FLOAT, None)])
        file = onnx.load_model_from_string(raw)
        file.graph.output[0].type.tensor_type.shape.dim.extend(
            file.graph.input[0].type.tensor_type.shape.dim
        )
        assert load(file.SerializeToString()).inputs[0].shape == (expected, 4)


def test_nodes_get_names_of_their_own() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="same"),
        helper.make_node("Tanh", ["a"], ["b"], name="same"),
        helper.make_node("Neg", ["b"], ["c"]),
        helper.make_node("Abs", ["c"], ["y"], name="Neg_2"),
    ]
    raw = onnx_file(nodes, inputs=[("x", FLOAT, ("N", 4))], outputs=[("y", FLOAT, ("N", 4))])
    names = [node.name for node in load(raw).ir.graph]
    assert len(set(names)) == 4
    assert all(names)
    assert (names[0], names[3]) == ("same", "Neg_2")


def test_weights_are_counted_and_are_no_inputs() -> None:
    weight = np.zeros((4, 3), np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    raw = onnx_file(
        [node],
        inputs=[("x", FLOAT, ("N", 4)), ("w", FLOAT, (4, 3))],
        outputs=[("y", FLOAT, ("N", 3))],
        weights={"w": weight},
    )
    model = load(raw)
    assert [spec.name for spec in model.inputs] == ["x"]
    assert model.weight_bytes == weight.nbytes


def test_shapes_are_found_through_pads_computed_from_constants() -> None:
    constants = {
        "half": np.array([0, 0, 1, 1], np.int64),
        "twice": np.array([2], np.int64),
        "zeros": np.array([8], np.int64),
    }
    nodes = [
        helper.make_node("Tile", ["half", "twice"], ["pads"]),
        helper.make_node("Reshape", ["pads", "zeros"], ["flat"]),
        helper.make_node("Pad", ["x", "flat"], ["p"]),
        helper.make_node("Relu", ["p"], ["y"]),
    ]
    raw = onnx_file(
        nodes,
        inputs=[("x", FLOAT, ("N", 3, 8, 8))],
        outputs=[("y", FLOAT, ("N", 3, 10, 10))],
        weights=constants,
    )
    padded = next(v for node in load(raw).ir.graph for v in node.outputs if v.name == "p")
    assert list(padded.shape) == ["N", 3, 10, 10]


def test_a_batch_axis_that_inference_loses_is_found_by_trying() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "rows"], ["c"]),
        helper.make_node("Reshape", ["c", "flat"], ["y"]),
    ]
    raw = onnx_file(
        nodes,
        inputs=[("x", FLOAT, ("N", 3, 4))],
        outputs=[("y", FLOAT, ("N", 12))],
        weights={"flat": np.array([-1, 12]), "rows": np.array([-1, 4])},
    )
    shapes = {v.name: v.shape for node in load(raw).ir.graph for v in node.outputs}
    assert list(shapes["b"]) == ["N", 12]
    # Three rows an example: no axis of the input, and not one that the trial invented.
    assert next(iter(shapes["c"])) not in ("N", 2, 3)


def test_roles_of_inputs_follow_their_use() -> None:
    nodes = [
        helper.make_node("Cast", ["ids"], ["i32"], to=TensorProto.INT32),
        helper.make_node("Gather", ["table", "i32"], ["e"]),
        helper.make_node("Unsqueeze", ["mask", "last"], ["m1"]),
        helper.make_node("Cast", ["m1"], ["m"], to=FLOAT),
        helper.make_node("Mul", ["e", "m"], ["y"]),
    ]
    raw = onnx_file(
        nodes,
        inputs=[("ids", INT64, ("N", 5)), ("mask", INT64, ("N", 5))],
        outputs=[("y", FLOAT, ("N", 5, 3))],
        weights={"table": np.zeros((7, 3), np.float32), "last": np.array([2], np.int64)},
    )
    assert [spec.role for spec in load(raw).inputs] == [Role.CONTENT, Role.STRUCTURE]


def test_local_functions_are_inlined() -> None:
    double = helper.make_function(
        "own",
        "Double",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    graph = helper.make_graph(
        [helper.make_node("Double", ["x"], ["y"], domain="own")],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, ("N", 4))],
        [helper.make_tensor_value_info("y", FLOAT, ("N", 4))],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    file = helper.make_model(graph, opset_imports=imports, functions=[double], ir_version=8)
    model = load(file.SerializeToString())
    assert [node.op_type for node in model.ir.graph] == ["Add"]


def test_saving_gives_the_bytes_and_loads_again(tmp_path: Path) -> None:
    model = load(chain_file("Relu", "Tanh"))
    path = tmp_path / "out.onnx"
    path.write_bytes(b"older")
    save(model, path)
    assert path.read_bytes() == to_bytes(model)
    assert load(path).inputs == model.inputs
    assert [p.name for p in tmp_path.iterdir()] == ["out.onnx"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    model = load(chain_file("Relu", "Tanh"))
    with pytest.raises(BadInput, match=r"a place to write .*No such file"):
        save(model, tmp_path / "missing" / "out.onnx")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput, match="a place to write"):
        save(model, tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_metadata_is_read_and_cannot_be_changed() -> None:
    file = onnx.load_model_from_string(chain_file("Relu", "Tanh"))
    helper.set_model_props(file, {"edgewise.licence": "MIT"})
    model = load(file.SerializeToString())
    assert dict(model.metadata) == {"edgewise.licence": "MIT"}
    with pytest.raises(TypeError):
        model.metadata["a"] = "b"  # type: ignore[index]


def _external(tmp_path: Path, location: str, *, length: int = 48) -> Path:
    tensor = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "w")
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=text)
    raw = onnx_file(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        inputs=[("x", FLOAT, ("N", 4))],
        outputs=[("y", FLOAT, ("N", 3))],
    )
    file = onnx.load_model_from_string(raw)
    file.graph.initializer.append(tensor)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.bin").write_bytes(data)
    (tmp_path / "w.bin").write_bytes(data)
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    path = folder / "m.onnx"
    path.write_bytes(file.SerializeToString())
    return path


def test_external_data_is_brought_in_and_is_part_of_the_digest(tmp_path: Path) -> None:
    path = _external(tmp_path, "w.bin")
    model = load(path)
    assert model.weight_bytes == 48
    with open_engine(to_bytes(model)) as engine:
        assert engine.run({"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[18, 22, 26]]
    (path.parent / "w.bin").write_bytes(bytes(48))
    assert load(path).digest != model.digest


@pytest.mark.parametrize("location", ["../w.bin", "link.bin", "a/../../w.bin", "", "..\\w.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(BadInput, match="external data inside the model's folder"):
        load(_external(tmp_path, location))


def test_external_data_at_an_absolute_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="external data inside the model's folder"):
        load(_external(tmp_path, str(tmp_path / "model" / "w.bin")))


def test_missing_or_short_external_data_is_said(tmp_path: Path) -> None:
    path = _external(tmp_path, "w.bin")
    (path.parent / "w.bin").write_bytes(bytes(40))
    with pytest.raises(BadInput, match=r"48 bytes of external data.*40 bytes; .*cut short"):
        load(path)
    (path.parent / "w.bin").unlink()
    with pytest.raises(BadInput, match=r"external data in 'w\.bin', found no such file"):
        load(path)


def test_bytes_with_external_data_are_refused(tmp_path: Path) -> None:
    raw = _external(tmp_path, "w.bin").read_bytes()
    with pytest.raises(BadInput, match="weights are inside the given bytes"):
        load(raw)
