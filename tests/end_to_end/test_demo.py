"""The demo, whole: real processes, a real slow link, and the link cut half-way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from command_line import Typed, refused, type_command
from edgewise.bundle import open_bundle
from edgewise.errors import EdgewiseError

LINKS = ["3g", "lte", "wifi"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Typed, float]:
    from edgewise import zoo

    try:
        zoo.get("efficientnet-lite0")
    except EdgewiseError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the demo's network cannot be fetched: {error}")
    folder = tmp_path_factory.mktemp("demo")
    start_s = time.monotonic()
    typed = type_command("demo", "--photos", "1", "-o", folder / "out", "--json", timeout_s=400.0)
    assert typed.code == 0, typed.err
    return folder, typed, time.monotonic() - start_s


@pytest.fixture(scope="module")
def report(demo: tuple[Path, Typed, float]) -> dict[str, Any]:
    _, typed, _ = demo
    parsed: dict[str, Any] = json.loads(typed.out)
    return parsed


pytestmark = [pytest.mark.slow, pytest.mark.net, pytest.mark.engine]


def test_it_leaves_a_bundle_and_one_page(demo: tuple[Path, Typed, float]) -> None:
    folder, _, _ = demo
    assert sorted(entry.name for entry in folder.iterdir()) == ["out"]
    assert sorted(entry.name for entry in (folder / "out").iterdir()) == ["bundle", "index.html"]
    page = (folder / "out" / "index.html").read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "What ran" in page or "what ran" in page


def test_it_plans_for_every_link_with_and_without_the_limit(report: dict[str, Any]) -> None:
    plans = [(one["link"], one["limits"]["raw_input_stays"]) for one in report["plans"]]
    assert plans == [(link, stays) for stays in (False, True) for link in LINKS]


def test_every_photo_is_answered(report: dict[str, Any]) -> None:
    answers = [(a["link"], a["raw_input_stays"]) for a in report["answers"] if not a["link_cut"]]
    assert answers == [(link, stays) for stays in (False, True) for link in LINKS]
    assert all(a["label"] for a in report["answers"])
    assert all(a["measured_s"] > 0 for a in report["answers"])


def test_the_planned_route_answers_unless_the_link_was_too_slow(report: dict[str, Any]) -> None:
    for answer in report["answers"]:
        if not answer["link_cut"]:
            source = answer["inference_source"]
            assert source["route"] == answer["planned"] or "the cloud" in source["reason"]


def test_what_was_sent_is_what_was_planned(report: dict[str, Any]) -> None:
    plans = {(one["link"], one["limits"]["raw_input_stays"]): one for one in report["plans"]}
    for answer in report["answers"]:
        chosen = plans[answer["link"], answer["raw_input_stays"]]["chosen"]
        route = answer["inference_source"]["route"]
        if route == chosen["name"]:
            # The plan counts HTTP heads too, less than a kilobyte; photos compress differently.
            spread = 0.5 * chosen["payload_bytes"] if chosen["route"] == "cloud" else 1000
            assert answer["up_bytes"] == pytest.approx(chosen["up_bytes"], abs=spread)
        kinds = {span["kind"] for span in answer["spans"]}
        if chosen["route"] == "local":
            assert answer["up_bytes"] == 0
            assert "upload" not in kinds
        elif route == chosen["name"]:
            assert kinds >= {"upload", "cloud"}


def test_a_raw_photo_never_leaves_when_it_must_stay(report: dict[str, Any]) -> None:
    for one in report["plans"]:
        if one["limits"]["raw_input_stays"]:
            assert one["chosen"]["route"] != "cloud"
            assert "image" not in one["chosen"]["cut"]


def test_with_the_link_cut_the_device_answers_alone(report: dict[str, Any]) -> None:
    cut_off = [answer for answer in report["answers"] if answer["link_cut"]]
    assert len(cut_off) == 4
    for answer in cut_off:
        assert answer["inference_source"]["kind"] == "local"
        assert answer["predicted_s"] is None
        assert answer["label"]


def test_it_ends_by_itself_within_three_minutes(demo: tuple[Path, Typed, float]) -> None:
    _, _, seconds = demo
    assert seconds < 180


def test_the_notes_name_what_comes_next(demo: tuple[Path, Typed, float]) -> None:
    folder, typed, _ = demo
    lines = typed.err.splitlines()
    assert lines[-1] == f"next: edgewise serve {folder / 'out' / 'bundle'}"
    assert any(line.startswith("the cloud half runs in process ") for line in lines)
    assert sum("cutting the link" in line for line in lines) == 2


def test_its_bundle_runs(demo: tuple[Path, Typed, float]) -> None:
    from edgewise.examples import demo_photos

    folder, _, _ = demo
    bundle = open_bundle(folder / "out" / "bundle")
    typed = type_command("run", bundle.path, demo_photos()[0], "--json")
    assert typed.code == 0, typed.err
    (result,) = json.loads(typed.out)["results"]
    assert result["inference_source"]["kind"] == "local"


def test_a_folder_in_use_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.tex").write_text("irreplaceable")
    refused(type_command("demo", "-o", tmp_path), said="expected a bundle or nothing at")
    assert (tmp_path / "bundle" / "thesis.tex").read_text() == "irreplaceable"


def test_the_python_of_the_readme_runs(demo: tuple[Path, Typed, float]) -> None:
    from edgewise.examples import demo_photos
    from edgewise.serving import server_process

    folder, _, _ = demo
    bundle = folder / "out" / "bundle"
    readme = Path(__file__).resolve().parents[2] / "README.md"
    code = readme.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    with server_process(bundle) as server:
        for written, real in (
            ("demo/bundle", str(bundle)),
            ("http://127.0.0.1:8000", server.url),
            ("photo.jpg", str(demo_photos()[0])),
        ):
            assert written in code
            code = code.replace(written, real)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    number, reason = done.stdout.split(" ", 1)
    assert 0 <= int(number) < 1000
    assert reason.strip()
