"""The page with the drawn graph: nothing from strangers' files is obeyed, nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import inspected
from edgewise.errors import BadInput
from edgewise.graphs import load, outline
from edgewise.profiling import inspect
from edgewise.reporting import write_inspection
from edgewise.reporting.boxes import Boxes, box_nodes
from edgewise.reporting.layout import lay_out

_MOST_BYTES = 3_000_000


class Reader(HTMLParser):
    """Tags, the texts outside styles and scripts, and the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._within = ""
        self.feed(text)
        self.close()
        self.text = " ".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within = tag

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts.append(data)
        elif self._within != "style":
            self.words.append(data)

    def boxes(self) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if "data-b" in attrs]


def written(path: Path, raw: bytes, **settings: Any) -> tuple[Reader, dict[str, Any]]:
    """The page of a network, checked for what every page must be."""
    write_inspection(path, inspect(load(raw), trimming=False), **settings)
    assert path.stat().st_size <= _MOST_BYTES
    text = path.read_text(encoding="utf-8")
    page = Reader(text)
    assert not {tag for tag, _ in page.tags} & {"img", "link", "iframe", "object", "a", "use"}
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        assert not {"href", "src", "srcset", "action", "xlink:href"} & attrs.keys()
    assert not re.search(r"@import|url\(|https?://", text)
    data, script = page.scripts
    (policy,) = [
        attrs["content"] or ""
        for _, attrs in page.tags
        if (attrs.get("http-equiv") or "").lower() == "content-security-policy"
    ]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-inline'; script" in policy or "script-src 'unsafe-inline'" not in policy
    assert "innerHTML" not in script
    return page, json.loads(data)


def test_every_node_is_a_box_with_its_share(tmp_path: Path) -> None:
    page, data = written(tmp_path / "n.html", inspected.words())
    titles = [box["aria-label"] for box in page.boxes()]
    assert titles == [  # from top to bottom, as keys and screen readers go through them
        "input ids: batch×words",
        "Gather embed: batch×words×16, 0 % of MACs",
        "ReduceMean mean: batch×16, 0 % of MACs",
        "MatMul project: batch×4, 100.0 % of MACs",
        "output y: batch×4",
    ]
    assert [box["tabindex"] for box in page.boxes()] == ["0", "-1", "-1", "-1", "-1"]
    assert [box["data-b"] for box in page.boxes()] == ["3", "0", "1", "2", "4"]
    classes = [(box["class"] or "").split() for box in page.boxes()]
    assert [names[-1] for names in classes] == ["c0", "c0", "c0", "c5", "c0"]
    assert "100.0 %" in page.words  # in the box: the colour is not alone
    assert data["wires"] == [[1], [2], [4], [0], []]
    assert data["costs"][0] == {"name": "macs", "words": "MACs", "total": 64}


def test_the_best_cut_is_marked_and_can_be_chosen(tmp_path: Path) -> None:
    page, data = written(tmp_path / "n.html", inspected.words())
    rows = [attrs for _, attrs in page.tags if attrs.get("class") == "pick"]
    assert len(rows) == len(data["cuts"]) == 2
    assert data["cuts"][0] == {"sends": [1], "inside": []}
    assert "★ 1" in page.words
    assert len([1 for _, attrs in page.tags if attrs.get("class") == "badge"]) == 1


def test_the_graph_can_be_coloured_by_weights(tmp_path: Path) -> None:
    page, data = written(tmp_path / "n.html", inspected.words(), by="weights")
    assert data["by"] == "weights"
    embed = page.boxes()[1]
    assert (embed["class"] or "").endswith("c5")
    assert (embed["aria-label"] or "").endswith("92.6 % of weight bytes")


def test_without_macs_weights_colour_the_graph(tmp_path: Path) -> None:
    page, data = written(tmp_path / "n.html", inspected.misfit())
    assert data["by"] == "weights"
    assert "MACs unknown" in page.text
    assert [cost["name"] for cost in data["costs"]] == ["weights"]


def test_hostile_names_are_texts(tmp_path: Path) -> None:
    page, data = written(tmp_path / "n.html", inspected.chain(6, prefix=inspected.EVIL))
    evil = inspected.EVIL
    assert page.text.count(evil) >= 6  # titles and cuts
    assert data["boxes"][0]["names"] == [f"{evil}node0"]
    assert len(page.scripts) == 2


def test_names_of_any_length_leave_the_page_small(tmp_path: Path) -> None:
    _, data = written(tmp_path / "n.html", inspected.chain(40, prefix="é" * 20_000))
    assert all(len(name) <= 90 for box in data["boxes"] for name in box["names"])


@pytest.mark.parametrize(
    ("raw", "most"), [(inspected.chain(3000), 400), (inspected.web(3000), 1200)]
)
def test_large_networks_share_boxes(tmp_path: Path, raw: bytes, most: int) -> None:
    page, data = written(tmp_path / "n.html", raw)
    nodes = [box for box in data["boxes"] if box["kind"] == "node"]
    assert 10 < len(nodes) <= most
    assert "3000 nodes in " in page.text
    assert sum(len(box["names"]) + box["more"] for box in nodes) == 3000


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    found = inspect(load(inspected.words()), trimming=False)
    with pytest.raises(BadInput, match="room and permission to write"):
        write_inspection(tmp_path / "folder.html", found)


@pytest.mark.parametrize("most", [7, 1000])
@pytest.mark.parametrize("raw", [inspected.chain(60), inspected.web(60)])
def test_boxes_hold_every_node_once_and_wires_point_down(raw: bytes, most: int) -> None:
    found = outline(load(raw))
    boxes = box_nodes(found, single_up_to=10, most=most)
    assert sorted(i for members in boxes.members for i in members) == list(range(60))
    assert len([members for members in boxes.members if members]) <= most
    layout = lay_out(boxes.wires, 100.0)
    for box, targets in enumerate(boxes.wires):
        assert box not in targets
        assert all(layout.layer[target] > layout.layer[box] for target in targets)


def test_a_best_cut_is_not_hidden_in_a_box() -> None:
    found = outline(load(inspected.chain(30)))
    together: Boxes = box_nodes(found, single_up_to=10)
    assert "t9" in together.inside
    apart: Boxes = box_nodes(found, single_up_to=10, apart=["t9"])
    assert "t9" not in apart.inside


def test_boxes_of_a_layer_do_not_overlap() -> None:
    boxes = box_nodes(outline(load(inspected.web(120))))
    layout = lay_out(boxes.wires, 100.0, 10.0)
    rows: dict[int, list[float]] = {}
    for box, layer in enumerate(layout.layer):
        rows.setdefault(layer, []).append(layout.x[box])
    for row in rows.values():
        row.sort()
        assert all(b - a >= 109.99 for a, b in itertools.pairwise(row))
    assert min(layout.x) >= 50.0
    assert max(layout.x) <= layout.width - 49.99


def test_a_diamond_is_drawn_even() -> None:
    layout = lay_out([(1, 2), (3,), (3,), ()], 10.0, 2.0)
    assert layout.x[0] == layout.x[3]
    assert layout.x[0] - layout.x[1] == layout.x[2] - layout.x[0]


def test_a_long_wire_bends_around_the_boxes_it_passes() -> None:
    layout = lay_out([(1, 3), (2,), (3,), ()], 10.0, 2.0)
    assert layout.bends[0].keys() == {1, 2}
    assert all(abs(bend - layout.x[1]) >= 14 for bend in layout.bends[0].values())
