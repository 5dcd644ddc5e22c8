from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.bundle import PayloadCodec, RouteKind
from edgewise.cost import Evidence
from edgewise.graphs import find_cuts
from edgewise.planning import FULL, Target
from edgewise.planning.candidates import Candidate, sketch_all
from edgewise.planning.measuring import NodeCost, fit_line
from edgewise.planning.prediction import add_times, predict, refine
from edgewise.profiling import NOTHING, Segments
from edgewise.running import predict_s
from unit.planning import small_networks as small
from unit.planning.measured_by_hand import by_hand, took

MODEL = small.conv_net()
SLOW = Target(device=small.device(8.0), link=small.link(up=1e5, down=2e5), cloud=small.cloud(0.5))


def _predict(name: str, target: Target = SLOW, **measured) -> Candidate:
    found = by_hand(MODEL, pixels=True, **measured)
    sketches = sketch_all({FULL: MODEL}, found.cuts, pixels=True, quality_levels=(90,))
    (sketch,) = [s for s in sketches if s.name == name]
    return predict(sketch, found, target, model=MODEL)


def _seconds(candidate: Candidate) -> tuple[float, float, float]:
    parts = (candidate.device, candidate.link, candidate.cloud)
    return tuple(part.mid.latency_s for part in parts)  # type: ignore[return-value]


def test_local_costs_preparation_and_the_whole_on_the_device() -> None:
    candidate = _predict("local")
    assert _seconds(candidate) == pytest.approx((8 * (0.001 + 0.1), 0, 0))
    assert candidate.route.coefficients.rtts == 0
    assert (candidate.payload_bytes, candidate.route.coefficients.up_bytes) == (0, 0)


def test_raw_cloud_costs_preparation_the_input_and_the_whole_in_the_cloud() -> None:
    candidate = _predict("cloud-fp32")
    c = candidate.route.coefficients
    assert candidate.payload_bytes == MODEL.inputs[0].nbytes()
    assert _seconds(candidate) == pytest.approx(
        (8 * 0.001, 0.02 + c.up_bytes / 1e5 + c.down_bytes / 2e5, 0.5 * 0.1)
    )


def test_pixels_are_encoded_here_and_decoded_there() -> None:
    candidate = _predict("cloud-jpeg90")
    device_s, _, cloud_s = _seconds(candidate)
    assert (device_s, cloud_s) == pytest.approx((8 * 0.002, 0.5 * (0.003 + 0.1)))
    assert candidate.payload_bytes == 1000


def test_a_split_costs_head_and_tail_and_their_payload_nodes() -> None:
    nodes = NodeCost(fixed_s=0.01, per_element_s=1e-6)
    plain, coded = _predict("split2-fp32", nodes=nodes), _predict("split2-int8", nodes=nodes)
    elements = find_cuts(MODEL)[2].nbytes() // 4
    extra_s = 0.01 + 1e-6 * elements
    assert _seconds(plain)[0] == pytest.approx(8 * (0.001 + 0.1 * 3 / 7))
    assert _seconds(coded)[0] - _seconds(plain)[0] == pytest.approx(8 * extra_s)
    assert _seconds(coded)[2] - _seconds(plain)[2] == pytest.approx(0.5 * extra_s)
    assert (plain.payload_bytes, coded.payload_bytes) == (4 * elements, elements)


@pytest.mark.parametrize(
    "name", ["local", "cloud-fp32", "cloud-png", "split0-fp16", "split5-int8"]
)
def test_total_is_the_sum_and_what_the_route_says_at_run_time(name: str) -> None:
    candidate = _predict(name)
    assert candidate.total_s == pytest.approx(sum(_seconds(candidate)))
    link = None if name == "local" else SLOW.link
    assert predict_s(candidate.route, link) == pytest.approx(candidate.total_s)
    assert candidate.total.evidence is Evidence.PREDICTED


def test_bytes_on_the_link_are_more_than_the_payload() -> None:
    candidate = _predict("split0-fp16")
    assert 300 < candidate.route.coefficients.up_bytes - candidate.payload_bytes < 700
    assert candidate.link.mid.up_bytes == candidate.route.coefficients.up_bytes
    assert candidate.link.mid.down_bytes == candidate.route.coefficients.down_bytes


def test_jitter_widens_the_range_by_two_one_way_delays_and_never_below_nothing() -> None:
    target = replace(SLOW, link=small.link(up=1e6, rtt=0.02, jitter=0.005))
    forecast = _predict("split0-int8", target).link
    middle = forecast.mid.latency_s
    assert forecast.low.latency_s == pytest.approx(middle - 0.01)
    assert forecast.high.latency_s == pytest.approx(middle + 0.01)
    wild = replace(SLOW, link=small.link(up=1e9, rtt=0.001, jitter=1.0))
    assert _predict("split0-int8", wild).link.low.latency_s == 0


def test_measured_spread_becomes_the_forecasts_range() -> None:
    device = _predict("local").device
    assert device.low.latency_s == pytest.approx(0.9 * device.mid.latency_s)
    assert device.high.latency_s == pytest.approx(1.1 * device.mid.latency_s)


def test_refining_replaces_times_and_keeps_bytes() -> None:
    before = _predict("split2-int8")
    exact = Segments(head=took(0.5), tail=took(0.25))
    after = refine(before, exact, SLOW, normalise=took(0.001))
    assert _seconds(after)[0] == pytest.approx(8 * 0.501)
    assert _seconds(after)[2] == pytest.approx(0.5 * 0.25)
    assert after.link == before.link
    assert after.payload_bytes == before.payload_bytes
    kept = ("up_bytes", "down_bytes", "rtts")
    for name in kept:
        assert getattr(after.route.coefficients, name) == getattr(before.route.coefficients, name)


def test_structure_is_never_narrowed() -> None:
    model = small.masked_net()
    found = by_hand(model)
    sketches = sketch_all({FULL: model}, found.cuts, pixels=False, quality_levels=(90,))
    bytes_of = {
        s.codec: predict(s, found, SLOW, model=model).payload_bytes
        for s in sketches
        if s.kind is RouteKind.SPLIT and s.position == 0
    }
    content, mask = 6 * 16, 6
    assert bytes_of == {
        PayloadCodec.FP32: 4 * content + mask,
        PayloadCodec.FP16: 2 * content + mask,
        PayloadCodec.INT8: content + mask,
    }


def test_two_inputs_are_both_sent() -> None:
    model = small.masked_net()
    found = by_hand(model)
    sketches = sketch_all({FULL: model}, found.cuts, pixels=False, quality_levels=(90,))
    candidate = predict(sketches[1], found, SLOW, model=model)
    assert (candidate.sketch.name, candidate.payload_bytes) == ("cloud-fp32", 6 * 4 * 4 + 6)


def test_add_times_counts_the_runs_that_there_were() -> None:
    assert add_times(NOTHING, took(1.0)) == took(1.0)
    assert add_times(took(1.0), NOTHING).runs == 9
    both = add_times(took(1.0), took(2.0))
    assert (both.low_s, both.median_s, both.high_s) == pytest.approx((2.7, 3.0, 3.3))


@pytest.mark.parametrize(
    ("elements", "extra_s", "at_50_s"),
    [
        ([], [], 0.0),
        ([10], [0.5], 0.5),
        ([10], [-0.5], 0.0),
        ([10, 10], [0.25, 0.75], 0.5),
        ([0, 100], [1.0, 2.0], 1.5),
        ([0, 100], [-1.0, 1.0], 1.0),  # the slope stays, the constant is at least nothing
        ([0, 100], [2.0, 1.0], 1.5),  # less for more is noise: the mean
        ([0, 100], [-2.0, -3.0], 0.0),
    ],
)
def test_node_costs_are_never_negative(
    elements: list[int], extra_s: list[float], at_50_s: float
) -> None:
    assert fit_line(elements, extra_s).seconds(50) == pytest.approx(at_50_s)
