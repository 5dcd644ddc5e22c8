"""What was found out about a network: facts, tables, JSON, node data."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import inspected
from edgewise import zoo
from edgewise.errors import BadInput
from edgewise.graphs import load
from edgewise.profiling import Inspection, inspect
from edgewise.reporting import (
    cuts_table,
    inspection_facts,
    inspection_json,
    node_data_json,
    operators_table,
    terminal_table,
    trim_table,
    write_node_data,
)

GOLDEN = Path(__file__).parent / "golden" / "inspect-fashion-mobilenetv3.json"
# The keys of the design, "JSON keys that others rely on".
KEYS = {
    *("name", "digest", "inputs", "outputs", "nodes", "macs", "weight_bytes"),
    *("peak_activation_bytes", "trim", "cuts", "frontiers"),
}


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    return inspect(load(zoo.get("fashion-mobilenetv3", cache=tmp_path_factory.mktemp("cache"))))


def found(raw: bytes, **settings: Any) -> Inspection:
    return inspect(load(raw), **settings)


def test_the_golden_json(fashion: Inspection, regen: bool) -> None:
    report = inspection_json(fashion)
    assert report.keys() >= KEYS
    # What hangs on the metadata of the day and on the last bits of this machine's arithmetic.
    del report["digest"], report["trim"]["max_rel"]
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    if regen:
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_json_of_a_cut() -> None:
    report = inspection_json(found(inspected.words(), axes={"words": 10}))
    json.dumps(report, allow_nan=False)
    assert report["axes"] == {"words": 10}
    assert report["assumed_axes"] == []
    assert report["cuts"][0] == {
        "tensors": [
            {
                "name": "rows",
                "dtype": "float32",
                "shape": ["batch", "words", 16],
                "role": "content",
                "bytes": 640,
            }
        ],
        "bytes": 640,
        "macs_before": 0,
        "macs_after": 64,
        "head_weight_bytes": 3200,
        "tail_weight_bytes": 256,
        "best": False,
    }
    assert report["frontiers"]["complete"] is True
    assert report["frontiers"].keys() >= {"visited", "bound", "cuts"}


def test_json_where_macs_are_unknown() -> None:
    report = inspection_json(found(inspected.misfit()))
    json.dumps(report, allow_nan=False)
    assert report["macs"] is None
    assert report["peak_activation_bytes"] is None
    assert "Incompatible dimensions" in report["uncounted"]
    assert report["cuts"][0]["macs_before"] is None
    assert report["cuts"][0]["macs_after"] is None
    assert report["weight_bytes"] == 96


def test_json_where_some_sizes_are_unknown() -> None:
    report = inspection_json(found(inspected.data_sized()))
    json.dumps(report, allow_nan=False)
    assert report["macs"] == 48
    assert report["uncounted"].startswith("2 nodes ('where', 'cast'): 'places', an axis that ")
    assert report["cuts"][0]["macs_before"] == 48
    assert report["outputs"][0]["bytes"] is None


def test_json_of_what_can_go(fashion: Inspection) -> None:
    trim = inspection_json(fashion)["trim"]
    assert all(removed.keys() == {"what", "nodes", "bytes"} for removed in trim["removed"])
    assert trim["nodes_after"] < trim["nodes_before"]
    assert inspection_json(found(inspected.words(), trimming=False))["trim"] == {
        "removed": [],
        "undone": [],
        "unknown": "it was not asked for",
    }


def test_facts(fashion: Inspection) -> None:
    facts = inspection_facts(fashion)
    assert facts["network"].startswith("fashion-mobilenetv3, opset 17, digest ")
    assert facts["inputs"] == "image float32[N, 1, 28, 28] 3.1 kB"
    assert facts["MACs"] == "5.9 M"
    assert facts["peak"] == "150.5 kB of activations, at node '/6/body/body.1/BatchNormalization'"
    assert "nodes and " in facts["trim"]
    assert facts["trim"].endswith("runs)")


def test_facts_say_what_was_assumed() -> None:
    assert inspection_facts(found(inspected.words()))["sizes"] == (
        "batch 1, words = 128 (words assumed; state it with --axis words=SIZE)"
    )
    stated = inspection_facts(found(inspected.words(), axes={"words": 9}))
    assert stated["sizes"] == "batch 1, words = 9"
    assert "sizes" not in inspection_facts(found(inspected.web(4)))


def test_facts_where_nothing_is_known() -> None:
    facts = inspection_facts(found(inspected.misfit()))
    assert facts["MACs"].startswith("unknown: expected operators whose shapes and types fit")
    assert facts["peak"] == "unknown, as the MACs are"


def test_facts_where_something_is_not_known() -> None:
    facts = inspection_facts(found(inspected.data_sized()))
    assert facts["MACs"].startswith("48, without all of 2 nodes ('where', 'cast'): 'places', an ")
    assert facts["peak"] == "at least 80 B of activations, at node 'project'"


def test_facts_of_bodies() -> None:
    facts = inspection_facts(found(inspected.looping(), trimming=False))
    assert facts["nodes"] == "1; 2 more in the bodies of Loop 'again'"


def test_operators_come_by_cost_and_the_rest_together(fashion: Inspection) -> None:
    sheet = operators_table(fashion)
    assert [row[0] for row in sheet.rows][:2] == ["Conv", "Gemm"]
    assert sheet.rows[0][1:5] == ("37", "5.9 M", "99.6 %", "████████████")
    assert sheet.rows[-1][0] == "2 others"
    assert sum(int(row[1]) for row in sheet.rows) == len(fashion.outline.nodes)


def test_operators_without_macs() -> None:
    rows = operators_table(found(inspected.misfit())).rows
    assert rows[0] == ("MatMul", "1", "?", "?", "", "96 B", "?")


def test_the_best_cuts_come_alone_unless_all_are_asked_for(fashion: Inspection) -> None:
    best, every = cuts_table(fashion), cuts_table(fashion, every=True)
    several = len(fashion.search.cuts) if fashion.search else 0
    assert several > 0
    assert best.title == f"Best of 46 legal cuts and {several} of several tensors"
    assert len(best.rows) == len(fashion.best) == 2
    assert "--all lists them" in best.remark
    assert best.title.endswith(every.title)
    assert len(every.rows) == 46 + len(fashion.frontiers)
    assert sum(row[0].startswith("★ ") for row in every.rows) == 2
    assert "--all" not in every.remark


def test_a_network_that_is_not_good_to_cut_says_so(fashion: Inspection) -> None:
    assert cuts_table(fashion).remark.startswith("Hardly a network to cut: only after 99.")
    sheet = cuts_table(found(inspected.chain(9)))
    assert sheet.remark == (
        "Not a network to cut: no cut sends less than the inputs themselves (32 B); the smallest "
        "sends 32 B."
    )
    assert len(sheet.rows) == 1
    nowhere = cuts_table(found(inspected.looping()))
    assert nowhere.rows == ()
    assert nowhere.remark.startswith("No place to cut this network was found")


def test_what_is_larger_than_the_inputs_is_so_many_times_them(fashion: Inspection) -> None:
    shares = [row[3] for row in cuts_table(fashion, every=True).rows]
    assert {"12.0 ×", "6.0 ×", "24.5 %"} <= set(shares)
    assert not [share for share in shares if share.endswith(" %") and float(share[:-2]) > 100]


def test_one_is_not_many() -> None:
    sheet = cuts_table(found(inspected.chain(2)))
    assert sheet.title == "The smallest of 1 legal cut"
    two = cuts_table(found(inspected.words()))
    assert "1 other is beaten by these" in two.remark


def test_columns_without_content_are_left_out() -> None:
    names = [column.name for column in cuts_table(found(inspected.words())).columns]
    assert names[0] == "cut after"
    assert "rides along" not in names


def test_cuts_where_macs_are_unknown() -> None:
    (row,) = cuts_table(found(inspected.misfit())).rows
    assert row[0] == "h"
    assert row[3:] == ("4.7 %", "?", "96 B")


def test_what_training_left(fashion: Inspection) -> None:
    sheet = trim_table(fashion)
    assert sheet is not None
    assert any("BatchNormalization" in row[0] for row in sheet.rows)
    assert trim_table(found(inspected.words(), trimming=False)) is None


@pytest.mark.parametrize("width", [40, 80])
def test_tables_fit_a_narrow_terminal(fashion: Inspection, width: int) -> None:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=False)
    for sheet in (operators_table(fashion), cuts_table(fashion, every=True)):
        console.print(terminal_table(sheet))
    assert max(map(len, file.getvalue().splitlines())) <= width


def test_node_data_has_the_form_that_model_explorer_reads(fashion: Inspection) -> None:
    # GraphNodeData of model_explorer/node_data_builder.py, 0.1.34: results by node, name,
    # gradient from 0 to 1; nothing else is required.
    data = node_data_json(fashion)
    assert data.keys() == {"results", "name", "gradient"}
    assert data["name"] == "MACs"
    assert data["results"].keys() == {node.name for node in fashion.outline.nodes}
    assert all(result.keys() == {"value"} for result in data["results"].values())
    assert fashion.profile is not None
    assert sum(result["value"] for result in data["results"].values()) == fashion.profile.macs
    stops = [item["stop"] for item in data["gradient"]]
    assert stops == sorted(stops)
    assert (stops[0], stops[-1]) == (0.0, 1.0)
    assert all(item.keys() == {"stop", "bgColor", "textColor"} for item in data["gradient"])


def test_node_data_of_other_costs(fashion: Inspection) -> None:
    weights = node_data_json(fashion, by="weights")["results"]["/0/Conv"]["value"]
    assert weights == 16 * 9 * 4
    assert node_data_json(fashion, by="bytes")["name"] == "activation bytes moved"
    unknown = node_data_json(found(inspected.misfit()))
    assert unknown["name"] == "weight bytes"
    assert unknown["results"]["project"] == {"value": 96}


def test_node_data_in_a_file(fashion: Inspection, tmp_path: Path) -> None:
    write_node_data(tmp_path / "deep" / "data.json", fashion)
    assert json.loads((tmp_path / "deep" / "data.json").read_text()) == node_data_json(fashion)
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput, match="room and permission to write"):
        write_node_data(tmp_path / "folder", fashion)
