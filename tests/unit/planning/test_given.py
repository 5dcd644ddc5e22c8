"""Profiles with given times: what is read, what is refused, what is planned."""

from __future__ import annotations

import copy
import json

import pytest

from edgewise.catalog import load_link
from edgewise.errors import BadInput
from edgewise.planning.given import plan_given, read_profile
from edgewise.records import write_record

GOOD = {
    "schema": 1,
    "nodes": [
        {"name": "stem", "device_s": 0.02, "cloud_s": 0.001},
        {"name": "head", "device_s": 0.5, "cloud_s": 0.01},
    ],
    "edges": [
        {"name": "photo", "producer": None, "consumers": ["stem"], "bytes": 150528},
        {"name": "map", "producer": "stem", "consumers": ["head"], "bytes": 3136},
        {"name": "scores", "producer": "head", "consumers": [], "bytes": 40},
    ],
}


@pytest.fixture
def written(tmp_path):
    def write(data: object):
        path = tmp_path / "profile.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return path

    return write


def changed(*path: str | int, to: object) -> dict:
    data = copy.deepcopy(GOOD)
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return data


def test_a_profile_is_read_as_it_stands(written):
    profile = read_profile(written(GOOD))
    assert [(n.name, n.device_s, n.cloud_s) for n in profile.nodes] == [
        ("stem", 0.02, 0.001),
        ("head", 0.5, 0.01),
    ]
    assert [(e.name, e.producer, e.consumers, e.bytes) for e in profile.edges] == [
        ("photo", None, ("stem",), 150528),
        ("map", "stem", ("head",), 3136),
        ("scores", "head", (), 40),
    ]


def test_nodes_are_put_into_an_order_that_can_run_and_keep_theirs_where_it_can(written):
    data = changed("nodes", to=[GOOD["nodes"][1], GOOD["nodes"][0], *lone_nodes("a", "b")])
    names = [node.name for node in read_profile(written(data)).nodes]
    assert names == ["stem", "head", "a", "b"]


def lone_nodes(*names: str) -> list[dict]:
    return [{"name": name, "device_s": 0, "cloud_s": 0} for name in names]


def edge_of(producer: str | None, *consumers: str) -> dict:
    return {"name": "more", "producer": producer, "consumers": list(consumers), "bytes": 1}


REFUSED = {
    "another schema": (changed("schema", to=2), "expected schema 1 in .* found 2"),
    "schema true": (changed("schema", to=True), "int at .*schema"),
    "no schema": ({"nodes": [], "edges": []}, "the field 'schema'"),
    "a list": ([], "a table at"),
    "not JSON": ("{", "valid JSON"),
    "not a number": ('{"schema": 1, "nodes": NaN}', "valid JSON"),
    "an unknown field": (changed("nodes", 0, "energy_j", to=1), "found 'energy_j'"),
    "no nodes": (changed("nodes", to=[]), "at least one node"),
    "too many nodes": (
        {"schema": 1, "nodes": lone_nodes(*map(str, range(50_001))), "edges": []},
        "at most 50000 nodes .* found 50001",
    ),
    "node twice": (
        changed("nodes", 1, "name", to="stem"),
        "every node name once .*'stem' 2 times",
    ),
    "edge twice": (changed("edges", 1, "name", to="photo"), "every edge name once .*'photo' 2"),
    "no name": (changed("nodes", 0, "name", to=""), "printable node names"),
    "a control character": (changed("edges", 0, "name", to="a\x1b[2J"), r"printable edge .*\\x1b"),
    "half a surrogate": (changed("nodes", 0, "name", to="\ud800"), "valid JSON .* "),
    "time below 0": (changed("nodes", 0, "device_s", to=-1e-9), "device_s from 0 .* found -1e-09"),
    "time too large": (changed("nodes", 1, "cloud_s", to=1e300), "cloud_s from 0 .* found 1e"),
    "time as text": (changed("nodes", 1, "cloud_s", to="1"), "a finite number"),
    "time of null": (changed("nodes", 1, "cloud_s", to=None), "a finite number"),
    "time infinite": (json.dumps(GOOD).replace("0.02", "1e999"), "valid JSON .* 1e999"),
    "bytes below 0": (changed("edges", 0, "bytes", to=-1), "bytes from 0 .* found -1"),
    "bytes too large": (changed("edges", 0, "bytes", to=2 * 10**15), "bytes from 0 .* found 2000"),
    "bytes of a float": (changed("edges", 0, "bytes", to=1.5), "type int"),
    "bytes of true": (changed("edges", 0, "bytes", to=True), "type int"),
    "unknown producer": (changed("edges", 1, "producer", to="x"), "the producer of .* found 'x'"),
    "no producer": (json.dumps(GOOD).replace('"producer": null, ', ""), "the field 'producer'"),
    "unknown consumer": (changed("edges", 1, "consumers", to=["x"]), "the consumers of .* 'x'"),
    "a loop of one": (changed("edges", 1, "consumers", to=["stem"]), "'stem' reading what it"),
    "a cycle": (
        changed("edges", to=[*GOOD["edges"], edge_of("head", "stem")]),
        r"without cycles .* found '(stem|head)' -> '(stem|head)' -> '(stem|head)'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_broken_profile_is_refused_in_one_paragraph(case, written):
    data, message = REFUSED[case]
    with pytest.raises(BadInput, match=message) as caught:
        read_profile(written(data))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent.json", "No such file"), (".", "Is a directory"), ("a\0b", "no such path")],
)
def test_a_path_that_cannot_be_read_is_refused(tmp_path, name, reason):
    with pytest.raises(BadInput, match=f"a readable profile at .* found {reason}"):
        read_profile(tmp_path / name)


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # sparse: takes no room
    with pytest.raises(BadInput, match="at most 16000000 bytes"):
        read_profile(path)


def test_one_plan_for_each_link_in_their_order(written):
    links = [load_link(text) for text in ("up=1kbit/s", "up=5.85Mbit/s,rtt=0", "up=1Gbit/s")]
    plans = plan_given(read_profile(written(GOOD)), links)
    assert [plan.link for plan in plans] == [link.name for link in links]
    assert [(p.chosen.route, p.chosen.cut) for p in plans] == [
        ("local", ()),
        ("split", ("map",)),
        ("cloud", ("photo",)),
    ]


def test_every_candidate_but_the_chosen_one_has_a_reason(written):
    (plan,) = plan_given(read_profile(written(GOOD)), [load_link("up=5.85Mbit/s,rtt=0")])
    assert plan.routes == (plan.chosen,)
    assert plan.candidates[0] is plan.chosen
    assert [(c.route, c.rejected) for c in plan.candidates] == [
        ("split", None),
        ("cloud", "182.6 ms slower than split"),
        ("local", "485.7 ms slower than split"),
    ]


@pytest.mark.parametrize(
    ("photo_bytes", "cloud_s", "reasons"),
    [
        (0, 0.5, [("local", None), ("cloud", "as slow as local, and leaves more to the cloud")]),
        (10, 0.25, [("local", None), ("cloud", "as slow as local, and sends more")]),
    ],
)
def test_a_tie_has_its_own_reason(written, photo_bytes, cloud_s, reasons):
    data = {
        "schema": 1,
        "nodes": [{"name": "n", "device_s": 0.5, "cloud_s": cloud_s}],
        "edges": [{"name": "x", "producer": None, "consumers": ["n"], "bytes": photo_bytes}],
    }
    (plan,) = plan_given(read_profile(written(data)), [load_link("up=40B/s")])
    assert [(c.route, c.rejected) for c in plan.candidates] == reasons


def test_a_plan_has_the_keys_that_others_rely_on(written):
    (plan,) = plan_given(read_profile(written(GOOD)), [load_link("up=5.85Mbit/s,rtt=10ms")])
    data = json.loads(json.dumps(write_record(plan), allow_nan=False))
    assert {"chosen", "routes", "candidates", "bill"} <= data.keys()
    chosen = data["chosen"]
    assert chosen["cut"] == ["map"]
    assert chosen["payload_bytes"] == 3136
    assert chosen["device_energy_j"] is None
    assert chosen["total_s"] == pytest.approx(0.02 + 3136 * 8 / 5.85e6 + 0.01 + 0.01, rel=1e-12)
    assert chosen["total_s"] == chosen["device_s"] + chosen["link_s"] + chosen["cloud_s"]


def test_a_plan_without_a_link_is_refused(written):
    with pytest.raises(BadInput, match="at least one link, found none"):
        plan_given(read_profile(written(GOOD)), [])
