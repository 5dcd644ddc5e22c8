"""Laws of choosing and of the cost model, whatever was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.bundle import RouteKind
from edgewise.errors import LimitNotMet
from edgewise.graphs import QuantRange, cut, find_cuts, load
from edgewise.planning import FULL, Limits, Target
from edgewise.planning.candidates import narrows, sketch_all
from edgewise.planning.choosing import choose
from edgewise.planning.measuring import PAYLOADS, NodeCost
from edgewise.planning.prediction import predict
from edgewise.planning.traffic import sent_tensors
from edgewise.profiling import Segments, Timing
from strategies import dag_files
from unit.planning import small_networks as small
from unit.planning.choosing_by_hand import StatedTrial, candidate
from unit.planning.measured_by_hand import by_hand

MODEL = small.conv_net()
SECONDS = st.floats(1e-6, 10.0)
RATES = st.floats(1e2, 1e9)


@st.composite
def trials(draw: st.DrawFn):
    names = [f"c{i}" for i in range(draw(st.integers(1, 12)))]
    kinds = st.sampled_from([RouteKind.SPLIT, RouteKind.CLOUD, RouteKind.LOCAL])
    seconds = st.integers(1, 9).map(float)
    many = [candidate(name, draw(seconds), kind=draw(kinds)) for name in names]
    some = st.dictionaries(st.sampled_from(names), seconds)
    trial = StatedTrial(
        limits=Limits(
            min_agreement=draw(st.sampled_from([0.0, 0.5, 0.95])),
            max_latency_s=draw(st.none() | seconds),
            raw_input_stays=draw(st.booleans()),
        ),
        exact_s=draw(some),
        agreement=draw(st.dictionaries(st.sampled_from(names), st.floats(0, 1))),
        broken=frozenset(draw(st.lists(st.sampled_from(names), max_size=3))),
    )
    return many, trial, draw(st.integers(0, 5))


@given(trials())
def test_the_chosen_one_is_refined_keeps_the_limits_and_none_is_known_to_be_faster(case) -> None:
    many, trial, refined = case
    try:
        chosen, every = choose(many, trial, refined=refined)
    except LimitNotMet:
        for one in many:
            exact = one if one.sketch.name in trial.broken else trial.refine(one)
            kept = (
                trial.refused(one) is None
                and one.sketch.name not in trial.broken
                and trial.refused(exact) is None
                and trial.judge(exact).rejected is None
            )
            assert not kept
        return
    assert chosen.sketch.name in trial.refined
    assert trial.refused(chosen) is None
    assert trial.judge(chosen).rejected is None
    assert len(trial.refined) == len(set(trial.refined))
    assert len(every) == len(many)
    assert [one for one in every if one.rejected is None] == [chosen]
    assert [one.total_s for one in every] == sorted(one.total_s for one in every)
    for one in every:
        if one.total_s < chosen.total_s:
            # Faster and not chosen: then its own reason is known, not the comparison with it.
            assert "slower than" not in (one.rejected or "")


@st.composite
def measured(draw: st.DrawFn):
    found = by_hand(MODEL, whole_s=draw(SECONDS), pixels=True, encoded_bytes=2000.0)

    def timing() -> Timing:
        low, mid, high = sorted(draw(st.tuples(SECONDS, SECONDS, SECONDS)))
        return Timing(median_s=mid, low_s=low, high_s=high, runs=5)

    segments = tuple(Segments(head=timing(), tail=timing()) for _ in found.cuts[FULL])
    nodes = {
        codec: NodeCost(fixed_s=draw(SECONDS), per_element_s=draw(st.floats(0, 1e-3)))
        for codec in PAYLOADS
    }
    return replace(found, segments={FULL: segments}, encode_nodes=nodes, decode_nodes=dict(nodes))


@st.composite
def targets(draw: st.DrawFn) -> Target:
    return Target(
        device=small.device(draw(st.floats(1, 50))),
        link=small.link(draw(RATES), draw(RATES), draw(st.floats(0, 2)), draw(st.floats(0, 1))),
        cloud=small.cloud(draw(st.floats(0.05, 5))),
    )


def _predict_all(found, target: Target):
    sketches = sketch_all({FULL: MODEL}, found.cuts, pixels=True, quality_levels=(90,))
    return [predict(sketch, found, target, model=MODEL) for sketch in sketches]


@given(measured(), targets())
def test_parts_add_up_and_ranges_are_ranges(found, target: Target) -> None:
    for one in _predict_all(found, target):
        parts = (one.device, one.link, one.cloud)
        assert one.total_s == pytest.approx(sum(part.mid.latency_s for part in parts))
        assert one.total.low.latency_s <= one.total_s <= one.total.high.latency_s
        if one.sketch.kind is RouteKind.LOCAL:
            assert one.total == one.device


@given(measured(), targets(), st.floats(1, 10), st.floats(1, 10))
def test_a_faster_link_or_device_never_worsens_the_chosen_latency(
    found, target: Target, link_factor: float, device_factor: float
) -> None:
    slower = min(one.total_s for one in _predict_all(found, target))
    link = target.link
    faster = replace(
        target,
        device=small.device(target.device.slowdown / device_factor),
        link=small.link(
            link.up_bytes_per_s * link_factor,
            link.down_bytes_per_s * link_factor,
            link.rtt_s / link_factor,
        ),
    )
    assert min(one.total_s for one in _predict_all(found, faster)) <= slower * (1 + 1e-12)


@given(dag_files())
def test_what_is_predicted_to_be_sent_is_what_the_halves_exchange(raw: bytes) -> None:
    model = load(raw)
    cuts = find_cuts(model)
    sketches = sketch_all({FULL: model}, {FULL: cuts}, pixels=False, quality_levels=(90,))
    for sketch in sketches:
        if sketch.cut is None:
            continue
        ranges = {s.name: QuantRange(low=-1.0, high=1.0) for s in sketch.cut.content}
        halves = cut(model, sketch.cut, payload=PAYLOADS[sketch.codec], ranges=ranges)
        assert sent_tensors(sketch, model) == halves.boundary
        assert narrows(sketch.cut) or sketch.codec == "fp32"
