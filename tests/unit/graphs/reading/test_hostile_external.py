"""External data that would read another file, wait for ever, or is not what it says."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgewise.errors import BadInput
from edgewise.graphs import load
from unit.graphs.reading.hostile_files import FLOAT, branch, external, product

OUTSIDE = "external data inside the model's folder"


def _write(folder: Path, tensor: onnx.TensorProto) -> Path:
    file = product()
    del file.graph.initializer[:]
    file.graph.initializer.append(tensor)
    folder.mkdir(exist_ok=True)
    path = folder / "m.onnx"
    path.write_bytes(file.SerializeToString())
    return path


def _data(path: Path, count: int = 16) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(np.eye(4, dtype=np.float32).tobytes()[: count * 4])
    return path


@pytest.mark.parametrize(
    "location",
    ["../w.bin", "/etc/passwd", "a/../../w.bin", "..", ".", "", "./", "a\\w.bin", "a\0b"],
)
def test_paths_that_leave_the_folder(tmp_path: Path, location: str) -> None:
    _data(tmp_path / "w.bin")
    with pytest.raises(BadInput, match=OUTSIDE):
        load(_write(tmp_path / "model", external(location)))


def test_a_link_to_a_file_outside(tmp_path: Path) -> None:
    path = _write(tmp_path / "model", external("w.bin"))
    (path.parent / "w.bin").symlink_to(_data(tmp_path / "secret"))
    with pytest.raises(BadInput, match=OUTSIDE):
        load(path)


def test_a_link_to_a_folder_outside(tmp_path: Path) -> None:
    path = _write(tmp_path / "model", external("d/w.bin"))
    _data(tmp_path / "other" / "w.bin")
    (path.parent / "d").symlink_to(tmp_path / "other")
    with pytest.raises(BadInput, match=OUTSIDE):
        load(path)


def test_a_hard_link(tmp_path: Path) -> None:
    path = _write(tmp_path / "model", external("w.bin"))
    os.link(_data(tmp_path / "secret"), path.parent / "w.bin")
    with pytest.raises(BadInput, match=r"2 hard links; copy the file: cp w\.bin copy"):
        load(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = _write(tmp_path / "model", external("w.bin"))
    os.mkfifo(path.parent / "w.bin")
    with pytest.raises(BadInput, match="a folder, a pipe or a device"):
        load(path)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(BadInput, match="a pipe or a device"):
        load(tmp_path / "pipe.onnx")


def test_a_folder_as_data(tmp_path: Path) -> None:
    path = _write(tmp_path / "model", external("w.bin"))
    (path.parent / "w.bin").mkdir()
    with pytest.raises(BadInput, match="a folder, a pipe or a device"):
        load(path)


def test_a_device_as_the_model() -> None:
    with pytest.raises(BadInput, match="a pipe or a device; name a regular file"):
        load("/dev/zero")


def test_a_missing_file_and_one_without_permission(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"external data in 'd/w\.bin', found no such file"):
        load(_write(tmp_path / "model", external("d/w.bin")))


@pytest.mark.parametrize(
    ("offset", "length", "found"),
    [
        ("0", "63", "64 bytes of external data for the tensor 'w', found a length of 63"),
        ("0", "65", "a length of 65"),
        ("4", "64", "68 bytes of external data .*a file of 64 bytes"),
        ("4", None, "68 bytes of external data .*a file of 64 bytes"),
        ("999999999999999999", "64", "a file of 64 bytes"),
        ("-1", "64", "a number of bytes .*found '-1'"),
        ("0", "1e9", "a number of bytes"),
        ("٣", "64", "a number of bytes"),
    ],
)
def test_lies_about_the_place(tmp_path: Path, offset: str, length: str | None, found: str) -> None:
    path = _write(tmp_path / "model", external("w.bin", offset=offset, length=length))
    _data(path.parent / "w.bin")
    with pytest.raises(BadInput, match=found):
        load(path)


def test_huge_external_dimensions_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    tensor = external("w.bin", length=None)
    tensor.dims[:] = [1 << 40, 1 << 40]
    with pytest.raises(BadInput, match="at most 2147483647 bytes in the stored tensor 'w'"):
        load(_write(tmp_path / "model", tensor))


def test_data_in_a_folder_below_and_shared_by_tensors(tmp_path: Path) -> None:
    path = _write(tmp_path / "model", external("d/./w.bin"))
    _data(path.parent / "d" / "w.bin")
    assert load(path).weight_bytes == 64


def test_every_tensor_counts_for_the_digest_in_branches_too(tmp_path: Path) -> None:
    path = _write(tmp_path / "model", external("w.bin"))
    _data(path.parent / "w.bin")
    file = onnx.load(path, load_external_data=False)
    file.graph.node.append(branch(external("v.bin", name="v")))
    file.graph.input.append(helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, ()))
    file.graph.output.append(helper.make_tensor_value_info("z", FLOAT, ("N", 4)))
    path.write_bytes(file.SerializeToString())
    with pytest.raises(BadInput, match=r"external data in 'v\.bin'"):
        load(path)
    _data(path.parent / "v.bin")
    before = load(path)
    assert before.weight_bytes == 128
    (path.parent / "v.bin").write_bytes(bytes(64))
    assert load(path).digest != before.digest


def test_external_data_inside_a_local_function_stays_in_the_folder(tmp_path: Path) -> None:
    file = product()
    constant = helper.make_node("Constant", [], ["k"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(
        external("../w.bin")
    )
    body = [constant, helper.make_node("MatMul", ["a", "k"], ["b"])]
    file.functions.append(
        helper.make_function("own", "F", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    )
    file.opset_import.append(helper.make_opsetid("own", 1))
    file.graph.node[0].CopyFrom(helper.make_node("F", ["x"], ["y"], domain="own"))
    path = tmp_path / "m.onnx"
    path.write_bytes(file.SerializeToString())
    with pytest.raises(BadInput, match=OUTSIDE):
        load(path)
