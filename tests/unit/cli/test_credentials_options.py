"""Where ``edgewise run`` takes its key from."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.cli.credentials import KEY_VARIABLE, read_api_key
from edgewise.errors import BadInput


def test_the_file_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert read_api_key(None, server=None) is None
    monkeypatch.setenv(KEY_VARIABLE, "from-environment")
    assert read_api_key(None, server=None) == "from-environment"
    (tmp_path / "key").write_text("  from-file\n")
    assert read_api_key(tmp_path / "key", server=None) == "from-file"


@pytest.mark.parametrize(("text", "found"), [("", "nothing"), ("a b", "more than a key")])
def test_files_that_hold_no_key(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(BadInput, match=f"expected one API key in .*, found {found}; write"):
        read_api_key(tmp_path / "key", server=None)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="key"):
        read_api_key(tmp_path / "key", server=None)


@pytest.mark.parametrize(
    ("server", "warned"),
    [
        ("http://192.0.2.1:8000", True),
        ("http://127.0.0.1:8000", False),
        ("http://localhost:8000", False),
        ("http://[::1]:8000", False),
        ("https://192.0.2.1:8000", False),
        ("HTTP://192.0.2.1:8000", True),
        ("http://localhost.example:8000", True),
        ("http://127.example:8000", True),
    ],
)
def test_a_key_that_others_could_read_on_the_way(
    tmp_path: Path, server: str, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("secret")
    read_api_key(tmp_path / "key", server=server)
    said = capsys.readouterr().err
    assert said.startswith("warning: the API key travels unencrypted") is warned
    assert "secret" not in said
