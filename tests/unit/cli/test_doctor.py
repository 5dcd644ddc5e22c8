"""What ``edgewise doctor`` finds."""

from __future__ import annotations

import importlib.util
import json

import onnxruntime
import pytest

from edgewise.cli import main
from edgewise.cli.doctor import examine


def test_json_names_engine_cpu_and_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == ""
    assert report["engines"][0]["version"] == onnxruntime.__version__
    assert report["providers"] == onnxruntime.get_available_providers()
    assert report["cpu"]["cores"] >= 1
    assert [part["name"] for part in report["parts"]] == ["image", "serve", "studio"]
    assert report["threads_default"] == 1


def test_a_missing_part_comes_with_the_command_that_adds_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name in ("PIL", "starlette") else real(name, *more),
    )
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert "missing; add it with: pip install 'edgewise[image]'" in out
    assert "missing; add it with: pip install 'edgewise[serve]'" in out
    # Pillow is a part of the studio too.
    assert err == "next: pip install 'edgewise[image,serve,studio]'\n"


def test_with_everything_there_the_demo_is_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(part["installed"] for part in examine()["parts"])
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert "missing" not in out
    assert err == "next: edgewise demo\n"
