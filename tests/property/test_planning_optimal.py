"""The exact search against brute force over all closed sets, on random graphs."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.planning.search import all_cloud, all_local, best_split, evaluate
from edgewise.profiling.profile import EdgeProfile, NodeProfile, Profile

_TIMES = st.floats(0, 1e-1) | st.floats(1e-9, 1e6) | st.sampled_from([0.0, 1e-12, 0.1, 0.3])
_RATES = st.floats(1.0, 1e9) | st.sampled_from([137500.0, 731250.0, 2360000.0, math.inf])
_RTTS = st.floats(0, 1.0) | st.just(0.0)
_SIZES = st.integers(0, 200_000)


@st.composite
def profiles(draw, times=_TIMES, sizes=_SIZES, largest=12) -> Profile:
    """Any acyclic network: fan-out, several inputs and outputs, parallel tensors, lone nodes."""
    count = draw(st.integers(1, largest))
    nodes = tuple(
        NodeProfile(name=f"n{i}", device_s=draw(times), cloud_s=draw(times)) for i in range(count)
    )
    edges = []
    for e in range(draw(st.integers(0, 2 * count))):
        producer = draw(st.none() | st.integers(0, count - 1))
        later = list(range(0 if producer is None else producer + 1, count))
        readers = draw(st.sets(st.sampled_from(later), max_size=4)) if later else ()
        edges.append(
            EdgeProfile(
                name=f"e{e}",
                producer=None if producer is None else f"n{producer}",
                consumers=tuple(f"n{i}" for i in sorted(readers)),
                bytes=draw(sizes),
            )
        )
    return Profile(nodes=nodes, edges=tuple(edges))


# Whole seconds, and rates that are powers of two: float sums are exact and ties abound.
_COARSE = {"times": st.integers(0, 2).map(float), "sizes": st.integers(0, 3)}
_COARSE_RATES = st.sampled_from([1.0, 4.0, math.inf, math.inf])
_COARSE_RTTS = st.sampled_from([0.0, 0.0, 1.0])


def closed_sets(profile: Profile) -> Iterator[frozenset[str]]:
    names = [node.name for node in profile.nodes]
    bit = {name: 1 << i for i, name in enumerate(names)}
    needs = dict.fromkeys(names, 0)
    for edge in profile.edges:
        for name in edge.consumers:
            needs[name] |= bit[edge.producer] if edge.producer is not None else 0
    for mask in range(1 << len(names)):
        if all(needs[name] & ~mask == 0 for name in names if bit[name] & mask):
            yield frozenset(name for name in names if bit[name] & mask)


def brute_force(
    profile: Profile, rate: float, rtt: float
) -> list[tuple[float, int, int, frozenset[str]]]:
    """Every closed set with (total, payload, -device nodes), best first."""
    ranked = []
    for chosen in closed_sets(profile):
        payload = 0
        for edge in profile.edges:
            made_here = edge.producer is None or edge.producer in chosen
            payload += edge.bytes if made_here and not set(edge.consumers) <= chosen else 0
        compute = math.fsum(
            node.device_s if node.name in chosen else node.cloud_s for node in profile.nodes
        )
        charge = rtt if len(chosen) < len(profile.nodes) else 0.0
        ranked.append((compute + payload / rate + charge, payload, -len(chosen), chosen))
    return sorted(ranked, key=lambda row: row[:3])


@settings(max_examples=300, deadline=None)
@given(profile=profiles(), rate=_RATES, rtt=_RTTS)
def test_the_search_finds_what_brute_force_finds(profile, rate, rtt):
    best = best_split(profile, up_bytes_per_s=rate, rtt_s=rtt)
    assert best.total_s == pytest.approx(brute_force(profile, rate, rtt)[0][0], rel=1e-9, abs=0)
    assert best == evaluate(profile, best.device_nodes, up_bytes_per_s=rate, rtt_s=rtt)


@settings(max_examples=200, deadline=None)
@given(profile=profiles(**_COARSE, largest=9), rate=_COARSE_RATES, rtt=_COARSE_RTTS)
def test_ties_fall_to_the_fewest_bytes_then_to_the_device(profile, rate, rtt):
    best = best_split(profile, up_bytes_per_s=rate, rtt_s=rtt)
    first, *others = brute_force(profile, rate, rtt)
    assert frozenset(best.device_nodes) == first[3]
    assert not others or others[0][:3] != first[:3]  # the rule leaves one set


@settings(max_examples=100, deadline=None)
@given(
    profile=profiles(**_COARSE),
    rate=_COARSE_RATES,
    rtt=_COARSE_RTTS,
    seed=st.integers(0, 2**32),
)
def test_the_order_of_the_file_does_not_matter(profile, rate, rtt, seed):
    rng = random.Random(seed)
    shuffled = Profile(
        nodes=tuple(rng.sample(profile.nodes, len(profile.nodes))),
        edges=tuple(rng.sample(profile.edges, len(profile.edges))),
    )
    a = best_split(profile, up_bytes_per_s=rate, rtt_s=rtt)
    b = best_split(shuffled, up_bytes_per_s=rate, rtt_s=rtt)
    assert set(a.device_nodes) == set(b.device_nodes)
    assert set(a.cut) == set(b.cut)


@settings(max_examples=100, deadline=None)
@given(profile=profiles(largest=30), rate=_RATES, rtt=_RTTS)
def test_the_best_is_never_worse_than_local_or_cloud(profile, rate, rtt):
    best = best_split(profile, up_bytes_per_s=rate, rtt_s=rtt)
    for plain in (all_local, all_cloud):
        other = plain(profile, up_bytes_per_s=rate, rtt_s=rtt)
        assert best.total_s <= other.total_s * (1 + 1e-12)


@settings(max_examples=100, deadline=None)
@given(
    profile=profiles(largest=30),
    rate=_RATES,
    rtt=_RTTS,
    faster=st.floats(1, 1e3),
    nearer=st.floats(0, 1),
)
def test_a_faster_link_never_worsens_the_best(profile, rate, rtt, faster, nearer):
    slow = best_split(profile, up_bytes_per_s=rate, rtt_s=rtt)
    fast = best_split(profile, up_bytes_per_s=rate * faster, rtt_s=rtt * nearer)
    assert fast.total_s <= slow.total_s * (1 + 1e-12)
