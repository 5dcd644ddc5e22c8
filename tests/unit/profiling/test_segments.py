from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.engines import open_engine
from edgewise.graphs import Cut, Payload, cut, find_cuts, load, to_bytes
from edgewise.profiling import (
    NotFinite,
    measure_cuts,
    measure_halves,
    measure_together,
    measure_whole,
    run_halves,
)
from edgewise.tensors import TensorSpec
from strategies import chain_file, onnx_file
from unit.planning import small_networks as small

pytestmark = pytest.mark.engine
LITE0 = (
    Path(__file__).resolve().parents[3].parent / "shared" / "models" / "efficientnet-lite0.onnx"
)


def _feeds(model, seed: int = 0):
    return small.arrays(model, calibrate=1, select=1).select[seed].feeds


def _deep_net(layers: int = 8, width: int = 384):
    names = ["x", *(f"h{i}" for i in range(1, layers)), "y"]
    nodes = [
        helper.make_node("MatMul", [a, f"w{i}"], [b])
        for i, (a, b) in enumerate(itertools.pairwise(names))
    ]
    weight = np.random.default_rng(0).normal(0, 0.05, (width, width)).astype(np.float32)
    return load(
        onnx_file(
            nodes,
            inputs=[("x", TensorProto.FLOAT, (1, 64, width))],
            outputs=[("y", TensorProto.FLOAT, (1, 64, width))],
            weights={f"w{i}": weight for i in range(layers)},
        )
    )


def test_heads_grow_and_tails_shrink_along_the_chain() -> None:
    model = _deep_net()
    timed = measure_cuts(model, find_cuts(model), _feeds(model))
    assert len(timed) == 7
    assert timed[-1].head.median_s > 2 * timed[0].head.median_s
    assert timed[0].tail.median_s > 2 * timed[-1].tail.median_s


def test_both_halves_together_take_about_as_long_as_the_whole() -> None:
    model = _deep_net()
    whole = measure_whole({"full": model}, _feeds(model))["full"].median_s
    half = measure_halves(cut(model, find_cuts(model)[3]), _feeds(model))
    assert 0.3 < (half.head.median_s + half.tail.median_s) / whole < 3


def test_cuts_between_anchors_lie_between_their_times() -> None:
    model = _deep_net()
    timed = measure_cuts(model, find_cuts(model), _feeds(model), anchors=2)
    assert [bool(segments.head.runs) for segments in timed] == [True] + [False] * 5 + [True]
    heads = [segments.head.median_s for segments in timed]
    tails = [segments.tail.median_s for segments in timed]
    # Equal layers, so the times in between are evenly spaced.
    assert heads == pytest.approx(np.linspace(heads[0], heads[-1], 7))
    assert tails == pytest.approx(np.linspace(tails[0], tails[-1], 7))
    assert all(s.head.low_s <= s.head.median_s <= s.head.high_s for s in timed)


@pytest.mark.parametrize("anchors", [0, 1, 2, 3, 100])
def test_any_number_of_anchors_gives_every_cut_its_times(anchors: int) -> None:
    model = small.conv_net()
    cuts = find_cuts(model)
    timed = measure_cuts(model, cuts, _feeds(model), anchors=anchors, repeats=1)
    assert len(timed) == len(cuts)
    assert all(s.head.median_s > 0 and s.tail.median_s > 0 for s in timed)
    measured = sum(bool(segments.head.runs) for segments in timed)
    assert measured == min(max(2, anchors), len(cuts))


def test_progress_counts_the_anchors() -> None:
    model, seen = small.conv_net(), []
    cuts = find_cuts(model)

    def note(doing: str, done: int, of: int) -> None:
        seen.append((done, of))

    measure_cuts(model, cuts, _feeds(model), anchors=3, repeats=1, progress=note)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_no_cut_and_one_cut() -> None:
    none, one = load(chain_file("Relu")), load(chain_file("Relu", "Neg"))
    assert find_cuts(none) == measure_cuts(none, (), _feeds(none)) == ()
    assert len(measure_cuts(one, find_cuts(one), _feeds(one), repeats=1)) == 1


def test_cuts_may_come_in_any_order() -> None:
    model = _deep_net()
    cuts = find_cuts(model)
    backwards = measure_cuts(model, cuts[::-1], _feeds(model), anchors=3)
    heads = [segments.head.median_s for segments in backwards]
    assert [bool(segments.head.runs) for segments in backwards] == [1, 0, 0, 1, 0, 0, 1]
    assert heads[0] > heads[3] > heads[6]
    assert heads[0] > heads[1] > heads[2] > heads[3]


def test_structure_rides_along() -> None:
    model = small.masked_net()
    cuts = find_cuts(model)
    assert any(at.structure for at in cuts)
    timed = measure_cuts(model, cuts, _feeds(model), repeats=1)
    assert all(segments.tail.runs == 1 for segments in timed)


def test_halves_of_one_cut_are_timed_in_turn() -> None:
    model = small.conv_net()
    at = find_cuts(model)[1]
    pair = {payload.value: cut(model, at, payload=payload) for payload in list(Payload)[:2]}
    times = measure_together(pair, _feeds(model), repeats=2)
    assert list(times) == ["fp32", "fp16"]
    assert all(s.head.runs == s.tail.runs == 2 for s in times.values())


def test_halves_equal_the_whole() -> None:
    model = small.masked_net()
    feeds = _feeds(model)
    with open_engine(to_bytes(model)) as whole:
        wanted = whole.run(feeds)["y"]
    for at in find_cuts(model):
        halves = cut(model, at)
        with (
            open_engine(to_bytes(halves.head)) as head,
            open_engine(to_bytes(halves.tail)) as tail,
        ):
            np.testing.assert_allclose(run_halves(head, tail, feeds)["y"], wanted, rtol=1e-5)


def test_an_fp16_payload_that_overflows_is_named() -> None:
    model = small.dense_net(1e6, 1e-6)
    halves = cut(model, find_cuts(model)[0], payload=Payload.FP16)
    with pytest.raises(NotFinite, match=r"^h1:float16 holds values that float16 cannot$"):
        measure_halves(halves, _feeds(model))


def test_cuts_where_the_network_itself_overflows_are_left_out() -> None:
    model = small.dense_net(1.0, 1e30, 1e30, 1e-30)
    feeds = {"x": np.full((1, 4), 5.0, np.float32)}
    timed = measure_cuts(model, find_cuts(model), feeds, repeats=1)
    assert [bool(segments.head.runs) for segments in timed] == [True, True, False]
    assert timed[2].head == timed[1].head or timed[2].head.median_s > 0


def test_a_network_that_overflows_everywhere_has_no_times() -> None:
    model = small.dense_net(1e38, 1.0)
    feeds = {"x": np.full((1, 4), 1e30, np.float32)}
    (only,) = measure_cuts(model, find_cuts(model), feeds, repeats=1)
    assert only.head.runs == 0


def test_a_cut_of_no_network_is_refused() -> None:
    model = small.conv_net()
    at = Cut(tensors=(TensorSpec(name="nowhere", dtype="float32", shape=(1, 2)),))
    with pytest.raises(Exception, match="the name 'nowhere'"):
        measure_cuts(model, [at], _feeds(model))


def test_a_real_network_between_three_anchors() -> None:
    if not LITE0.exists():
        pytest.skip(f"{LITE0.name} is not in ../shared/models")
    model = load(LITE0)
    cuts = find_cuts(model)
    feeds = _feeds(model)
    placed = measure_cuts(model, cuts, feeds, anchors=3, repeats=5)
    heads = [segments.head.median_s for segments in placed]
    assert heads[0] < heads[len(heads) // 2] < heads[-1]
    middle = len(cuts) // 4
    exact = measure_halves(cut(model, cuts[middle]), feeds, repeats=5)
    assert not placed[middle].head.runs
    # Generous: other work may run on this machine.
    assert 1 / 4 < placed[middle].head.median_s / exact.head.median_s < 4
    assert 1 / 4 < placed[middle].tail.median_s / exact.tail.median_s < 4
