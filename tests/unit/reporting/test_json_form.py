"""The JSON that other programs rely on: names, units, strictness."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgewise.reporting import PageAnswer, demo_json, plans_json, trial_json
from plans import answer, plan
from unit.trials.made_trials import trial

# The keys of the design, "JSON keys that others rely on".
CHOSEN = {
    *("route", "cut", "payload_bytes", "total_s", "device_s", "link_s", "cloud_s"),
    "device_energy_j",
}


def strict(value: object) -> None:
    json.dumps(value, allow_nan=False)


def test_plans() -> None:
    first, second = plan(), plan(link="wifi", stays=True)
    report = plans_json([first, second])
    strict(report)
    assert report["chosen"].keys() >= CHOSEN
    assert report["chosen"]["route"] == "split"
    assert report["chosen"]["cut"] == ["block4/add"]
    assert report["chosen"]["total_s"] == pytest.approx(0.1)
    assert report["chosen"]["device_energy_j"] is None
    assert report["chosen"]["rejected"] is None
    assert report["routes"] == [report["chosen"]]
    assert report["fallback"]["route"] == "local"
    assert report["bill"] is None
    assert len(report["candidates"]) == 23
    assert all(c.keys() >= {*CHOSEN, "rejected"} for c in report["candidates"])
    assert [one["link"] for one in report["plans"]] == ["lte", "wifi"]
    assert report["plans"][1]["limits"]["raw_input_stays"] is True


def test_trials() -> None:
    report = trial_json(trial(predicted_s=0.1, measured_s=0.2))
    strict(report)
    assert report["predicted_s"] == 0.1
    assert report["measured_s"] == 0.2
    assert report["error"] == -0.5


def test_the_demo() -> None:
    whole = plan()
    shown = PageAnswer(
        plan=whole,
        link_cut=True,
        name="a.jpg",
        thumbnail=b"",
        label="cat",
        expected="dog",
        predicted_s=None,
        answer=answer("local", kind="local"),
    )
    report = demo_json([whole], [shown], Path("demo/index.html"))
    strict(report)
    assert report["page"] == "demo/index.html"
    (row,) = report["answers"]
    assert row["link_cut"] is True
    assert row["as_full_network"] is False
    assert row["planned"] == "split3-int8"
    assert row["inference_source"]["route"] == "local"
    assert row["measured_s"] == pytest.approx(0.1)  # without the second of preparing
