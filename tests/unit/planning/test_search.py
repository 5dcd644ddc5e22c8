"""The exact search on networks small enough to check by hand."""

from __future__ import annotations

import math
import sys

import pytest

from edgewise.errors import BadInput, MissingExtra
from edgewise.planning.search import (
    all_cloud,
    all_local,
    best_split,
    candidate_splits,
    evaluate,
)
from edgewise.profiling.profile import EdgeProfile, NodeProfile, Profile


def node(name: str, device_s: float | None = 0.0, cloud_s: float | None = 0.0) -> NodeProfile:
    return NodeProfile(name=name, device_s=device_s, cloud_s=cloud_s)


def edge(name: str, producer: str | None, consumers: str, size: int) -> EdgeProfile:
    return EdgeProfile(
        name=name, producer=producer, consumers=tuple(consumers.split()), bytes=size
    )


FORK = Profile(
    nodes=(node("stem", 1, 0), node("left", 100, 1), node("right", 100, 2), node("join", 100, 3)),
    edges=(
        edge("photo", None, "stem", 5000),
        edge("map", "stem", "left right", 1000),
        edge("l", "left", "join", 700),
        edge("r", "right", "join", 700),
        edge("scores", "join", "", 40),
    ),
)


def test_a_tensor_with_two_readers_in_the_cloud_is_sent_once():
    split = best_split(FORK, up_bytes_per_s=1000.0, rtt_s=0.25)
    assert (split.device_nodes, split.cut, split.payload_bytes) == (("stem",), ("map",), 1000)
    assert (split.device_s, split.link_s, split.cloud_s) == (1.0, 1.25, 6.0)
    assert split.total_s == 8.25


def test_a_tensor_read_on_both_sides_is_sent():
    split = evaluate(FORK, ("stem", "left"), up_bytes_per_s=1000.0, rtt_s=0.0)
    assert split.cut == ("map", "l")
    assert split.payload_bytes == 1700


def test_local_sends_nothing_and_pays_no_round_trip():
    split = all_local(FORK, up_bytes_per_s=1000.0, rtt_s=9.0)
    assert (split.cut, split.link_s, split.cloud_s, split.total_s) == ((), 0.0, 0.0, 301.0)


def test_cloud_sends_the_inputs_and_never_the_outputs():
    split = all_cloud(FORK, up_bytes_per_s=1000.0, rtt_s=9.0)
    assert (split.cut, split.link_s, split.device_s, split.total_s) == (
        ("photo",),
        14.0,
        0.0,
        20.0,
    )


def test_an_input_that_is_read_late_is_sent_with_the_cut():
    profile = Profile(
        nodes=(node("image", 1, 50), node("fuse", 50, 1)),
        edges=(
            edge("photo", None, "image", 10_000),
            edge("map", "image", "fuse", 100),
            edge("mask", None, "fuse", 30),
            edge("unread", None, "", 10_000),
        ),
    )
    split = best_split(profile, up_bytes_per_s=100.0, rtt_s=0.0)
    assert split.cut == ("map", "mask")


def test_the_round_trip_decides_for_local_and_the_cut_stays_a_candidate():
    profile = Profile(
        nodes=(node("a", 1, 5), node("b", 1, 0.5)),
        edges=(edge("x", None, "a", 10), edge("y", "a", "b", 1)),
    )
    assert best_split(profile, up_bytes_per_s=10.0, rtt_s=0.25).cut == ("y",)
    splits = candidate_splits(profile, up_bytes_per_s=10.0, rtt_s=0.75)
    assert [split.cut for split in splits] == [(), ("y",), ("x",)]
    assert [split.total_s for split in splits] == [2.0, 2.35, 7.25]


def test_an_unlimited_link_costs_its_round_trip_only():
    assert best_split(FORK, up_bytes_per_s=math.inf, rtt_s=0.5).total_s == 6.5


def test_a_tie_in_time_falls_to_the_fewest_bytes_even_on_an_unlimited_link():
    profile = Profile(
        nodes=(node("a", 1, 1), node("b", 9, 1)),
        edges=(edge("x", None, "a", 10), edge("y", "a", "b", 3)),
    )
    assert best_split(profile, up_bytes_per_s=math.inf, rtt_s=0.0).cut == ("y",)


def test_the_fewest_bytes_come_before_the_most_on_the_device():
    profile = Profile(
        nodes=(node("a", 1, 9), node("b", 1, 1), node("c", 9, 1)),
        edges=(edge("x", None, "a", 9), edge("y", "a", "b", 3), edge("z", "b", "c", 10)),
    )
    assert best_split(profile, up_bytes_per_s=math.inf, rtt_s=0.0).device_nodes == ("a",)


def test_a_tie_in_bytes_too_falls_to_the_device():
    profile = Profile(
        nodes=(node("a", 1, 1), node("b", 9, 1)),
        edges=(edge("x", None, "a", 10), edge("y", "a", "b", 10)),
    )
    assert best_split(profile, up_bytes_per_s=5.0, rtt_s=0.0).device_nodes == ("a",)


@pytest.mark.parametrize("swap", [False, True])
def test_a_difference_below_the_resolution_of_a_float_sum_still_decides(swap):
    # 1e6 + 1e-12 is 1e6 as a float; capacities in floats would see a tie here.
    a, b = (2e-12, 1e-12) if swap else (1e-12, 2e-12)
    profile = Profile(
        nodes=(node("big", 1e6, 1e6), node("tiny", a, b)),
        edges=(edge("x", None, "big tiny", 0),),
    )
    split = best_split(profile, up_bytes_per_s=1.0, rtt_s=0.0)
    assert ("tiny" in split.device_nodes) is not swap


def test_nodes_and_tensors_may_share_names_even_with_the_terminals():
    profile = Profile(
        nodes=(node("device", 1, 9), node("cloud", 9, 1)),
        edges=(edge("cloud", None, "device", 10), edge("device", "device", "cloud", 1)),
    )
    assert best_split(profile, up_bytes_per_s=10.0, rtt_s=0.0).device_nodes == ("device",)


def test_a_node_that_reads_a_tensor_twice_needs_it_once():
    profile = Profile(
        nodes=(node("a", 0, 9), node("square", 9, 0)),
        edges=(edge("x", None, "a", 9), edge("y", "a", "square square", 4)),
    )
    assert best_split(profile, up_bytes_per_s=4.0, rtt_s=0.0).total_s == 1.0


def test_a_set_that_is_not_closed_is_refused():
    with pytest.raises(BadInput, match="'left' on the device, and 'stem', which it reads from"):
        evaluate(FORK, ["left"], up_bytes_per_s=1.0, rtt_s=0.0)


def test_an_unknown_device_node_is_refused():
    with pytest.raises(BadInput, match="device nodes from the profile, found 'stern'"):
        evaluate(FORK, ["stern"], up_bytes_per_s=1.0, rtt_s=0.0)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(BadInput, match="an uplink of at least"):
        best_split(FORK, up_bytes_per_s=rate, rtt_s=0.0)


@pytest.mark.parametrize("rtt", [-1.0, math.inf, math.nan])
def test_a_round_trip_out_of_range_is_refused(rtt):
    with pytest.raises(BadInput, match="a round trip from 0"):
        best_split(FORK, up_bytes_per_s=1.0, rtt_s=rtt)


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (node("n", None, 1), "device_s .* found nothing"),
        (node("n", 1, -1), "cloud_s .* found -1"),
        (node("n", math.nan, 1), "device_s .* found nan"),
    ],
)
def test_a_node_without_a_usable_time_is_refused(bad, found):
    with pytest.raises(BadInput, match=found):
        best_split(Profile(nodes=(bad,), edges=()), up_bytes_per_s=1.0, rtt_s=0.0)


def test_without_networkx_the_command_that_adds_it_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(MissingExtra, match=r"pip install 'edgewise\[studio\]'"):
        best_split(FORK, up_bytes_per_s=1.0, rtt_s=0.0)
