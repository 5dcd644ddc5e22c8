"""Bundles on disk: whole or not there, and nothing trusted."""

import dataclasses
import hashlib
import os
import resource
import shutil
import subprocess
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from edgewise.bundle import MANIFEST, Bundle, open_bundle, write_bundle
from edgewise.errors import BadInput

COPY_AGAIN = "; copy the bundle again, or plan it anew"


def files(folder):
    """Everything in and beside a folder, by relative name."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def renamed(manifest, name):
    return dataclasses.replace(manifest, name=name)


def heavy(manifest, parts, nbytes):
    """The same bundle with a part of many bytes."""
    raw = bytes(nbytes)
    part = dataclasses.replace(
        manifest.part("head"), bytes=nbytes, sha256=hashlib.sha256(raw).hexdigest()
    )
    rest = tuple(p for p in manifest.parts if p.name != "head")
    return dataclasses.replace(manifest, parts=(part, *rest)), {**parts, "head": raw}


@pytest.fixture
def manifest(manifest):
    """Without the probe; what is said of parts holds for it too."""
    return dataclasses.replace(manifest, probe=None)


@pytest.fixture
def copy(complete, tmp_path):
    """The golden bundle, to be spoilt by a test."""
    return shutil.copytree(complete, tmp_path / "b")


def test_what_is_written_is_read(tmp_path, manifest, parts):
    bundle = write_bundle(tmp_path / "new" / "b", manifest, parts)
    assert bundle == open_bundle(tmp_path / "new" / "b")
    assert bundle.manifest == manifest
    assert {name: bundle.read_part(name) for name in parts} == parts
    assert bundle.digest == hashlib.sha256((bundle.path / MANIFEST).read_bytes()).hexdigest()
    assert sorted(files(tmp_path / "new")) == sorted(
        ["b", f"b/{MANIFEST}", "b/head.onnx", "b/tail.onnx", "b/whole.onnx"]
    )
    assert bundle.path.stat().st_mode & 0o777 == 0o755


def test_the_golden_bundle_is_written_byte_for_byte(tmp_path, complete, parts):
    golden = open_bundle(complete)
    probe = golden.read_file(golden.manifest.probe)
    write_bundle(tmp_path / "b", golden.manifest, parts, probe=probe)
    assert files(tmp_path / "b") == files(complete)


def test_a_bundle_takes_the_place_of_another(tmp_path, manifest, parts):
    write_bundle(tmp_path / "b", renamed(manifest, "old"), parts)
    assert write_bundle(tmp_path / "b", manifest, parts).manifest.name == manifest.name
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_an_empty_folder_is_filled(tmp_path, manifest, parts):
    (tmp_path / "b").mkdir()
    write_bundle(tmp_path / "b", manifest, parts)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_link_to_a_bundle_stays_a_link(tmp_path, manifest, parts):
    write_bundle(tmp_path / "b", renamed(manifest, "old"), parts)
    (tmp_path / "link").symlink_to("b")
    assert write_bundle(tmp_path / "link", manifest, parts).manifest.name == manifest.name
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "link"]


@pytest.mark.parametrize(
    ("name", "found"),
    [("no", "nothing"), ("file", "a file"), ("x" * 300, "nothing")],
)
def test_a_wrong_path_is_refused(tmp_path, name, found):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput) as refusal:
        open_bundle(tmp_path / name)
    assert str(refusal.value) == (
        f"expected a bundle folder at {tmp_path / name}, found {found}; "
        "make one with: edgewise plan MODEL -o BUNDLE"
    )


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(BadInput) as refusal:
        open_bundle(tmp_path)
    assert str(refusal.value) == (
        f"expected a regular file bundle.json in {tmp_path}, "
        f"found No such file or directory{COPY_AGAIN}"
    )


@pytest.mark.parametrize("size", [0, 4_000_001])
def test_a_manifest_of_absurd_size_is_not_read(copy, size):
    os.truncate(copy / MANIFEST, size)
    with pytest.raises(BadInput) as refusal:
        open_bundle(copy)
    assert str(refusal.value) == (
        f"expected 1 to 4000000 bytes in {copy / MANIFEST}, found {size} bytes{COPY_AGAIN}"
    )


def test_a_manifest_that_is_no_json_is_refused_with_its_path(copy):
    (copy / MANIFEST).write_text("{")
    with pytest.raises(BadInput, match=rf"valid JSON in {copy / MANIFEST}, found .*; write it"):
        open_bundle(copy)


def read_head(folder) -> str:
    with pytest.raises(BadInput) as refusal:
        open_bundle(folder).read_part("head")
    return str(refusal.value)


def test_a_missing_part_is_refused(copy):
    (copy / "head.onnx").unlink()
    assert read_head(copy) == (
        f"expected a regular file head.onnx in {copy}, found No such file or directory{COPY_AGAIN}"
    )


def test_a_part_that_is_a_link_is_refused_even_with_the_right_bytes(copy, complete):
    (copy / "head.onnx").unlink()
    (copy / "head.onnx").symlink_to(complete / "head.onnx")
    assert read_head(copy) == (
        f"expected a regular file head.onnx in {copy}, found a symbolic link{COPY_AGAIN}"
    )


def test_a_part_that_is_a_folder_is_refused(copy):
    (copy / "head.onnx").unlink()
    (copy / "head.onnx").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    assert read_head(copy) == (
        f"expected a regular file head.onnx in {copy}, "
        f"found a folder, a pipe or a device{COPY_AGAIN}"
    )
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("writer", [False, True])
def test_a_part_that_is_a_pipe_is_refused_without_waiting(copy, writer):
    (copy / "head.onnx").unlink()
    os.mkfifo(copy / "head.onnx")
    held = os.open(copy / "head.onnx", os.O_RDWR) if writer else None
    try:
        assert "found a folder, a pipe or a device" in read_head(copy)
    finally:
        if held is not None:
            os.close(held)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_part_of_another_size_is_refused(copy, parts, change):
    size = len(parts["head"])
    os.truncate(copy / "head.onnx", size + change)
    assert read_head(copy) == (
        f"expected {size} bytes in {copy / 'head.onnx'}, found {size + change} bytes{COPY_AGAIN}"
    )


def test_a_part_with_one_bit_changed_is_refused(copy, parts):
    raw = bytearray(parts["head"])
    raw[-1] ^= 1
    (copy / "head.onnx").write_bytes(raw)
    assert read_head(copy) == (
        f"expected head.onnx as the manifest of {copy} lists it, "
        f"found another file of {len(raw)} bytes{COPY_AGAIN}"
    )


def test_a_part_that_nobody_listed_is_refused(copy):
    with pytest.raises(BadInput) as refusal:
        open_bundle(copy).read_part("nose")
    assert str(refusal.value) == (
        "expected one of the parts head, tail, whole, found 'nose'; choose one"
    )
    with pytest.raises(BadInput) as refusal:
        open_bundle(copy).manifest.route("nose")
    assert str(refusal.value) == (
        "expected one of the routes local, split-h, cloud-jpeg, found 'nose'; choose one"
    )


def test_a_huge_declared_size_allocates_nothing(copy, manifest):
    part = dataclasses.replace(manifest.part("head"), bytes=2**31)
    bundle = Bundle(
        path=copy, manifest=dataclasses.replace(manifest, parts=(part,)), digest="0" * 64
    )
    tracemalloc.start()
    with pytest.raises(BadInput, match="expected 2147483648 bytes in"):
        bundle.read_part("head")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000


# Writing: whatever goes wrong, nothing new lies there and the former bundle is whole.


def test_a_folder_of_something_else_is_left_alone(tmp_path, manifest, parts):
    (tmp_path / "thesis.txt").write_text("years of work")
    for path, found in ((tmp_path, "thesis.txt"), (tmp_path / "thesis.txt", "thesis.txt")):
        with pytest.raises(BadInput) as refusal:
            write_bundle(path, manifest, parts)
        assert str(refusal.value) == (
            f"expected a bundle or nothing at {path}, found something else: {found!r}; "
            "give -o another folder"
        )
    assert files(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_bundle_beside_foreign_files_is_not_replaced(copy, manifest, parts):
    (copy / "notes.txt").write_text("mine")
    before = files(copy)
    with pytest.raises(BadInput, match=r"found something else: 'notes\.txt'"):
        write_bundle(copy, manifest, parts)
    assert files(copy) == before


def test_networks_without_a_manifest_are_not_replaced(tmp_path, manifest, parts):
    (tmp_path / "mine.onnx").write_text("a model")
    with pytest.raises(BadInput, match=r"found something else: 'mine\.onnx'"):
        write_bundle(tmp_path, manifest, parts)
    assert files(tmp_path) == {"mine.onnx": b"a model"}


@pytest.mark.parametrize(
    ("given", "named"),
    [({"head": b""}, "head"), ({"tail": None}, "tail"), ({"further": b"x"}, "further")],
)
def test_parts_that_are_not_those_listed_are_refused(copy, manifest, parts, given, named):
    before = files(copy.parent)
    wrong = {name: raw for name, raw in {**parts, **given}.items() if raw is not None}
    with pytest.raises(BadInput) as refusal:
        write_bundle(copy, manifest, wrong)
    assert str(refusal.value) == (
        "expected exactly the parts that the manifest lists, byte for byte, found another, "
        f"a missing or a further part {named!r}; list each part with describe_part"
    )
    assert files(copy.parent) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"preparation": {"scale": float("nan")}},
            "expected finite numbers and valid text in the",
        ),
        ({"labels": ("\ud800",)}, "expected finite numbers and valid text in the manifest of"),
        ({"preparation": {"scale": 2**53}}, "expected valid JSON in"),
        ({"schema": 2}, "expected schema 1 in"),
        ({"routes": ()}, "expected 1 to 64 routes in"),
    ],
)
def test_a_manifest_that_nobody_could_read_never_replaces_one(
    copy, manifest, parts, changes, message
):
    before = files(copy.parent)
    with pytest.raises(BadInput) as refusal:
        write_bundle(copy, dataclasses.replace(manifest, **changes), parts)
    assert str(refusal.value).startswith(message)
    assert files(copy.parent) == before


@pytest.mark.parametrize(
    ("name", "found"), [("x" * 300, "File name too long"), ("file/b", "a file in its path")]
)
def test_a_folder_that_cannot_be_made_is_refused(tmp_path, manifest, parts, name, found):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput) as refusal:
        write_bundle(tmp_path / name, manifest, parts)
    assert str(refusal.value) == (
        f"expected room and permission to write {tmp_path / name}, found {found}; "
        "free some space or give -o another folder; nothing was left behind"
    )
    assert files(tmp_path) == {"file": b""}


def refuse_write(target, manifest, parts, found):
    before = files(target.parent)
    with pytest.raises(BadInput) as refusal:
        write_bundle(target, manifest, parts)
    assert str(refusal.value) == (
        f"expected room and permission to write {target}, found {found}; "
        "free some space or give -o another folder; nothing was left behind"
    )
    assert files(target.parent) == before


@pytest.mark.parametrize("name", ["b", "new"])
def test_a_limit_on_file_size_leaves_nothing_half_written(copy, manifest, parts, name):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large, many = heavy(manifest, parts, 200_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        refuse_write(copy.parent / name, large, many, "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert open_bundle(copy).read_part("head") == parts["head"]


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("mounting a small file system needs the rights of root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_nothing_and_the_former_bundle_whole(small_disk, manifest, parts):
    target = small_disk / "b"
    write_bundle(target, manifest, parts)
    large, many = heavy(manifest, parts, 400_000)
    refuse_write(target, large, many, "No space left on device")
    refuse_write(small_disk / "new", large, many, "No space left on device")
    assert open_bundle(target).read_part("head") == parts["head"]


def test_two_writers_leave_one_whole_bundle_and_nothing_else(tmp_path, manifest, parts):
    def write(name):
        for _ in range(40):
            assert write_bundle(tmp_path / "b", renamed(manifest, name), parts)

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(write, name) for name in ("one", "two")]
    assert [future.exception() for future in done] == [None, None]
    bundle = open_bundle(tmp_path / "b")
    assert bundle.manifest.name in ("one", "two")
    assert {name: bundle.read_part(name) for name in parts} == parts
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
