from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgewise.cli import main
from edgewise.cli.console import progress_bar
from edgewise.zoo import entries, get


def test_the_list_has_kind_size_licence_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "list"]) == 0
    shown = capsys.readouterr()
    for entry in entries():
        (line,) = [each for each in shown.out.splitlines() if f" {entry.name} " in each]
        assert entry.kind in line
        assert entry.licence in line
        assert entry.figures[:40] in line
    assert " 574.7 MB " in shown.out
    assert shown.err == "next: edgewise zoo get efficientnet-lite0\n"


def test_the_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["entries"]
    assert [each["name"] for each in found] == [entry.name for entry in entries()]
    kinds = {each["name"]: each["preparation"] and each["preparation"]["kind"] for each in found}
    assert kinds["minilm-l6"] == "text"
    assert kinds["light-vgg19"] == "image"
    assert kinds["decoder-small"] is None
    assert [each["trained"] for each in found] == [entry.trained for entry in entries()]
    assert all(each["licence_evidence"] and each["size_bytes"] for each in found)


def test_get_prints_the_path_and_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))
    assert main(["zoo", "get", "light-squeezenet"]) == 0
    shown = capsys.readouterr()
    path = Path(shown.out.strip())
    assert path.is_relative_to(tmp_path)
    assert path.is_file()
    assert shown.err == f"building light-squeezenet\nnext: edgewise inspect {path}\n"


def test_get_copies_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "out"
    folder.mkdir()
    assert main(["zoo", "get", "fashion-resnet20", "-o", str(folder)]) == 0
    assert main(["zoo", "get", "fashion-resnet20", "-o", str(folder / "mine")]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["fashion-resnet20.onnx", "mine.onnx"]
    whole = get("fashion-resnet20").read_bytes()
    assert all(path.read_bytes() == whole for path in folder.iterdir())
    capsys.readouterr()
    assert main(["zoo", "get", "fashion-resnet20", "-o", str(folder / "none" / "x.onnx")]) == 2
    assert capsys.readouterr().err.endswith(
        f"expected a place to write {folder / 'none' / 'x.onnx'}, found No such file or directory;"
        " check that the folder exists, is writable and has room\n"
    )


def test_without_a_terminal_progress_is_one_line_a_thing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_bar(lines=True) as progress:
        for done in range(3):
            progress("fetching it", done, 2)
        progress("building it", 0, 1)
    assert capsys.readouterr().err == "fetching it\nbuilding it\n"
    with progress_bar() as progress:
        progress("fetching it", 0, 2)
    assert capsys.readouterr().err == ""
