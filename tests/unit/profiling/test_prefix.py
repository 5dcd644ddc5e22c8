from __future__ import annotations

import pytest

from edgewise.graphs import find_cuts
from edgewise.profiling import (
    EdgeProfile,
    NodeProfile,
    Profile,
    count,
    prefix_of,
    prefixes_of,
)
from edgewise.profiling.prefix import MACS_PER_BYTE
from unit.planning import small_networks as small

# x -> a -> (b, c) -> d; c also reads the input again.
NODES = tuple(
    NodeProfile(name=name, macs=macs, weight_bytes=weights, read_bytes=10, written_bytes=20)
    for name, macs, weights in [("a", 1, 100), ("b", 10, 200), ("c", 100, 0), ("d", 1000, 0)]
)
EDGES = tuple(
    EdgeProfile(name=name, producer=producer, consumers=consumers, bytes=8)
    for name, producer, consumers in [
        ("x", None, ("a", "c")),
        ("ta", "a", ("b", "c")),
        ("tb", "b", ("d",)),
        ("tc", "c", ("d",)),
        ("y", "d", ()),
    ]
)
DIAMOND = Profile(nodes=NODES, edges=EDGES)


@pytest.mark.parametrize(
    ("tensors", "macs", "weight_bytes"),
    [
        (["x"], 0, 0),
        (["ta"], 1, 100),
        (["tb"], 11, 300),
        (["tc"], 101, 100),
        (["tb", "tc"], 111, 300),
        (["y"], 1111, 300),
        ([], 0, 0),
        (["unknown"], 0, 0),
    ],
)
def test_a_prefix_holds_every_ancestor_once(
    tensors: list[str], macs: int, weight_bytes: int
) -> None:
    prefix = prefix_of(DIAMOND, tensors)
    assert (prefix.macs, prefix.weight_bytes) == (macs, weight_bytes)


def test_effort_counts_macs_and_moved_bytes() -> None:
    assert prefix_of(DIAMOND, ["ta"]).effort == 1 + MACS_PER_BYTE * (10 + 20 + 100)


def test_effort_grows_along_a_real_chain() -> None:
    model = small.conv_net()
    profile = count(model)
    efforts = [prefix_of(profile, [at.name]).effort for at in find_cuts(model)]
    assert efforts == sorted(set(efforts))
    assert prefix_of(profile, ["logits"]).macs == profile.macs


def test_many_prefixes_are_found_as_one_is() -> None:
    cuts = [["x"], ["ta"], ["tb", "tc"], ["unknown"], ["y"]]
    prefixes = prefixes_of(DIAMOND, cuts)
    assert list(prefixes) == [prefix_of(DIAMOND, cut) for cut in cuts]
    assert [prefix.macs + prefix.macs_after for prefix in prefixes] == [DIAMOND.macs] * len(cuts)
