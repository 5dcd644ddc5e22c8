"""``--traces FILE``: what is somebody's own file stays where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.cli.entry import main
from edgewise.cli.traces import open_traces
from edgewise.errors import BadInput


def test_a_photo_is_not_mistaken_for_a_damaged_log(tmp_path: Path) -> None:
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(b"\xff\xd8 a photo")
    refusal = r"a trace log or nothing at .*cat.jpg, found another file; name another place"
    with pytest.raises(BadInput, match=refusal), open_traces(photo, quiet=True):
        pass
    assert photo.read_bytes() == b"\xff\xd8 a photo"
    assert list(tmp_path.iterdir()) == [photo]


def test_a_folder_is_no_place_for_a_log(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="found a folder; name"), open_traces(tmp_path, quiet=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_another_file_is_not_called_a_damaged_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no traces\n")
    assert main(["traces", str(text)]) == 2
    assert capsys.readouterr().err == (
        f"edgewise: expected a trace log at {text}, found another file; name the file that"
        " edgewise run --traces wrote\n"
    )


@pytest.mark.parametrize("before", [None, b""])
def test_where_nothing_is_a_log_begins_and_the_next_command_is_said(
    tmp_path: Path, before: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.db"
    if before is not None:
        path.write_bytes(before)
    for _ in range(2):
        with open_traces(path, quiet=False) as log:
            assert log is not None
    assert capsys.readouterr().err == f"next: edgewise traces {path}\n" * 2
