from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from edgewise.errors import BadInput
from edgewise.zoo.cache import cache_folder, is_kept, keep


def write_abc(path: Path) -> None:
    path.write_bytes(b"abc")


def test_a_relative_xdg_cache_home_is_ignored() -> None:
    assert cache_folder({"XDG_CACHE_HOME": "here"}) == Path.home() / ".cache" / "edgewise"


def test_without_settings_the_cache_is_in_the_home_folder() -> None:
    assert cache_folder({"EDGEWISE_CACHE": ""}) == Path.home() / ".cache" / "edgewise"


def test_a_tilde_in_the_setting_is_the_home_folder() -> None:
    assert cache_folder({"EDGEWISE_CACHE": "~/x"}) == Path.home() / "x"


def test_a_kept_file_stands_beside_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "net.onnx"
    assert not is_kept(path)
    keep(path, write_abc, cache=tmp_path)
    assert is_kept(path)
    assert list(tmp_path.iterdir()) == [path.parent]
    assert sorted(item.name for item in path.parent.iterdir()) == ["net.onnx", "net.onnx.sha256"]
    # The digest of "abc": FIPS 180-2, appendix B.1.
    assert path.with_name("net.onnx.sha256").read_text().startswith("ba7816bf8f01cfea4141")


@pytest.mark.parametrize("name", ["net.onnx", "net.onnx.sha256"])
@pytest.mark.parametrize("damage", [b"", b"abd", b"\xff\xfe"])
def test_a_damaged_file_or_digest_is_not_kept(tmp_path: Path, name: str, damage: bytes) -> None:
    keep(tmp_path / "net.onnx", write_abc, cache=tmp_path)
    (tmp_path / name).write_bytes(damage)
    assert not is_kept(tmp_path / "net.onnx")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    # The nearest thing to a full disk that needs no rights: a limit on the size of files.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, hard))
    try:
        with pytest.raises(BadInput) as caught:
            keep(tmp_path / "models" / "net.onnx", write_abc, cache=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.found == "File too large"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_after_a_day(tmp_path: Path) -> None:
    for name, age_s in (("old", 90_000), ("young", 80_000)):
        left = tmp_path / f".part-{name}"
        left.mkdir()
        (left / "file").write_bytes(b"half")
        then_s = left.stat().st_mtime - age_s
        os.utime(left, (then_s, then_s))
    keep(tmp_path / "net.onnx", write_abc, cache=tmp_path)
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        ".part-young",
        "net.onnx",
        "net.onnx.sha256",
    ]
