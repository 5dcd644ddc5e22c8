"""Whole plans of small real networks, measured on this machine."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from edgewise.bundle import PayloadCodec, RouteKind
from edgewise.engines import OnnxRuntimeEngine, open_engine
from edgewise.errors import BadInput, LimitNotMet
from edgewise.graphs import Model, find_cuts, fix_axes, to_bytes
from edgewise.planning import (
    FULL,
    Limits,
    Plan,
    Sample,
    Samples,
    Settings,
    Study,
    Target,
    begin_study,
    plan,
)
from edgewise.planning.candidates import Sketch
from edgewise.planning.judging import Judge
from edgewise.planning.measuring import Cutter, find_ranges
from edgewise.preparation import PixelCodec, decode_pixels, encode_pixels, normalise
from edgewise.profiling import NotFinite
from edgewise.shrinking import quantize
from unit.planning import small_networks as small

pytestmark = pytest.mark.engine

# The network is so small that only bytes and round trips decide.
SLOW_LINK = Target(device=small.device(), link=small.link(up=1e4, rtt=0.5), cloud=small.cloud())
FAST_LINK = Target(
    device=small.device(5000.0), link=small.link(up=1e9, down=1e9, rtt=0), cloud=small.cloud(0.01)
)


@pytest.fixture(scope="module")
def study() -> Study:
    return begin_study({FULL: small.conv_net()}, small.pictures(), preparation=small.preparation())


def _check_candidates(found: Plan) -> None:
    names = [one.sketch.name for one in found.candidates]
    assert len(set(names)) == len(names)
    assert [one.total_s for one in found.candidates] == sorted(
        one.total_s for one in found.candidates
    )
    unrejected = [one for one in found.candidates if one.rejected is None]
    assert unrejected == [found.chosen]
    same = [one for one in found.candidates if one.sketch.name == found.chosen.sketch.name]
    assert same == [found.chosen]
    assert all(one.rejected for one in found.candidates if one is not same[0])


def test_over_a_slow_link_the_device_answers_alone(study: Study) -> None:
    found = study.plan(SLOW_LINK)
    assert found.chosen.sketch.name == "local"
    assert found.fallback == found.chosen
    _check_candidates(found)


def test_a_slow_device_on_a_fast_link_sends_something(study: Study) -> None:
    found = study.plan(FAST_LINK)
    assert found.chosen.sketch.kind is RouteKind.CLOUD
    assert found.fallback.sketch.name == "local"
    _check_candidates(found)


def test_with_raw_input_at_home_a_split_is_chosen(study: Study) -> None:
    found = study.plan(FAST_LINK, Limits(raw_input_stays=True))
    assert found.chosen.sketch.kind is RouteKind.SPLIT
    assert not found.chosen.sketch.sends_input
    rejected = {one.rejected for one in found.candidates if one.sketch.sends_input}
    assert rejected == {"sends the raw input, which must stay on the device"}
    _check_candidates(found)


@pytest.mark.parametrize("target", [SLOW_LINK, FAST_LINK], ids=["slow", "fast"])
@pytest.mark.parametrize("least", [0.5, 1.0])
def test_the_chosen_one_keeps_the_limits(study: Study, target: Target, least: float) -> None:
    found = study.plan(target, Limits(min_agreement=least, max_latency_s=100.0))
    for one in (found.chosen, found.fallback):
        assert one.route.quality is not None
        assert one.route.quality.value >= least
        assert one.route.quality.n == 6
    assert found.chosen.total_s <= 100.0


def test_a_limit_that_nothing_keeps(study: Study) -> None:
    with pytest.raises(LimitNotMet, match=r"limits: .* takes .*, over the limit of 1\.0 µs"):
        study.plan(SLOW_LINK, Limits(max_latency_s=1e-6))


def test_no_worse_than_all_local_and_all_cloud(study: Study) -> None:
    for target in (SLOW_LINK, FAST_LINK):
        found = study.plan(target)
        by_name = {one.sketch.name: one for one in found.candidates}
        assert found.chosen.total_s <= by_name["local"].total_s
        assert found.chosen.total_s <= by_name["cloud-fp32"].total_s


def test_a_study_says_the_same_twice(study: Study) -> None:
    first, second = study.plan(FAST_LINK), study.plan(FAST_LINK)
    assert first == second


def test_one_plan_for_each_target() -> None:
    plans = plan(
        {FULL: small.conv_net()},
        small.pictures(),
        [SLOW_LINK, FAST_LINK],
        preparation=small.preparation(),
        settings=Settings(refined=0, anchors=2),
    )
    assert [one.target for one in plans] == [SLOW_LINK, FAST_LINK]
    model = small.conv_net()
    assert {(one.model_digest, tuple(one.variants.items())) for one in plans} == {
        (model.digest, ((FULL, model.digest),))
    }


def test_progress_is_told() -> None:
    seen: list[tuple[str, int, int]] = []
    begin_study(
        {FULL: small.conv_net()},
        small.pictures(),
        settings=Settings(anchors=2),
        progress=lambda *args: seen.append(args),
    )
    assert seen == [("timing segments of small", 1, 2), ("timing segments of small", 2, 2)]


@pytest.mark.parametrize(
    "model",
    [
        small.dense_net(1.0),
        small.dense_net(1.0, 1.0),
        small.masked_net(),
        small.masked_net(batch=1),
        small.conv_net(metadata=False, batch=1),
    ],
    ids=["no-cut", "one-cut", "masked", "masked-batch-1", "pixels-as-arrays"],
)
def test_networks_that_do_not_take_pictures(model: Model) -> None:
    study = begin_study({FULL: model}, small.arrays(model), settings=Settings(anchors=3))
    found = study.plan(FAST_LINK)
    assert len(found.candidates) == 2 + 3 * len(find_cuts(model))
    assert {one.sketch.codec.value for one in found.candidates} <= {"none", "fp32", "fp16", "int8"}
    _check_candidates(found)


def test_an_open_axis_is_fixed_before_planning() -> None:
    model = small.masked_net(words="words")
    fixed = fix_axes(model, {"words": 6})
    samples = small.arrays(fixed)
    with pytest.raises(BadInput) as refusal:
        begin_study({FULL: model}, samples)
    assert str(refusal.value) == (
        f"expected a network {model.name!r} whose only open axis is the batch, found the axis "
        "'words' of the input 'x'; export it with fixed sizes, or fix them: "
        "edgewise.graphs.fix_axes(model, {'words': SIZE})"
    )
    found = begin_study({FULL: fixed}, samples, settings=Settings(anchors=3)).plan(FAST_LINK)
    assert len(found.candidates) == 2 + 3 * len(find_cuts(fixed))
    assert len(find_cuts(fixed)) == len(find_cuts(small.masked_net()))
    _check_candidates(found)


def test_a_size_that_only_a_run_tells_is_refused() -> None:
    model = small.sieve_net()
    with pytest.raises(BadInput, match="known size of every tensor, found 'places', an axis that"):
        begin_study({FULL: model}, small.arrays(model), settings=Settings(anchors=3))


def test_inputs_that_ride_along_stay_at_home_too() -> None:
    model = small.masked_net()
    study = begin_study({FULL: model}, small.arrays(model), settings=Settings(anchors=3))
    found = study.plan(FAST_LINK, Limits(raw_input_stays=True))
    inputs = {spec.name for spec in model.inputs}
    assert inputs.isdisjoint(found.chosen.route.cut)


def test_a_payload_that_overflows_fp16_is_rejected_with_the_reason() -> None:
    model = small.dense_net(1e6, 1e-6, 1.0)
    study = begin_study({FULL: model}, small.arrays(model), settings=Settings(refined=100))
    found = study.plan(FAST_LINK, Limits(raw_input_stays=True))
    reasons = {one.sketch.name: one.rejected for one in found.candidates}
    assert reasons["split0-fp16"] == "cannot be sent: h1:float16 holds values that float16 cannot"
    assert "cannot be sent" not in (reasons["split1-fp16"] or "")
    assert found.chosen.sketch.name != "split0-fp16"


def test_an_overflow_on_any_judged_example_counts() -> None:
    model = small.dense_net(1.0, 1.0)
    samples = small.arrays(model)
    wild = Sample(feeds={"x": np.full((1, 4), 1e6, np.float32)})
    cutter = Cutter({FULL: model}, samples.calibrate)
    at = find_cuts(model)[0]
    sketch = Sketch(name="s", kind=RouteKind.SPLIT, cut=at, position=0, codec=PayloadCodec.FP16)
    for select, fits in ((samples.select, True), ((*samples.select, wild), False)):
        judge = Judge({FULL: model}, cutter=cutter, select=select, preparation=None)
        if fits:
            assert judge.judge(sketch).value == 1.0
        else:
            with pytest.raises(NotFinite):
                judge.judge(sketch)


@pytest.mark.parametrize("quality_level", [1, 95])
def test_lossy_pictures_are_judged_as_the_server_sees_them(quality_level: int) -> None:
    model, samples = small.conv_net(), small.pictures(1, 20)
    judge = Judge(
        {FULL: model},
        cutter=Cutter({FULL: model}, samples.calibrate),
        select=samples.select,
        preparation=small.preparation(),
    )
    jpeg = Sketch(
        name="j", kind=RouteKind.CLOUD, codec=PayloadCodec.JPEG, quality_level=quality_level
    )
    png = Sketch(name="p", kind=RouteKind.CLOUD, codec=PayloadCodec.PNG)
    same = 0
    with open_engine(to_bytes(model)) as engine:
        for sample in samples.select:
            assert sample.pixels is not None
            raw = encode_pixels(sample.pixels, PixelCodec.JPEG, quality_level)
            seen = decode_pixels(raw, small.preparation(), PixelCodec.JPEG)
            found = engine.run({"image": normalise(seen, small.preparation())})["logits"]
            same += found.argmax() == engine.run(sample.feeds)["logits"].argmax()
    assert judge.judge(jpeg).value == same / 20
    assert judge.judge(png).value == 1.0


def _constant_net() -> Model:
    """Its first layer gives the same whatever comes in, nothing at that."""
    return small.dense_net(0.0, 1.0, 1.0)


def test_int8_of_a_constant_tensor() -> None:
    model = _constant_net()
    samples = small.arrays(model)
    at = find_cuts(model)[0]
    ranges = find_ranges(model, at, samples.calibrate)
    assert (ranges["h1"].low, ranges["h1"].high) == (0.0, 0.0)
    found = begin_study({FULL: model}, samples).plan(FAST_LINK, Limits(raw_input_stays=True))
    assert found.chosen.route.quality is not None
    assert found.chosen.route.quality.value == 1.0


def test_ranges_are_those_of_the_calibration_examples() -> None:
    model = small.conv_net()
    samples = small.pictures()
    at = find_cuts(model)[1]
    with open_engine(
        to_bytes(Cutter({FULL: model}, ()).cut(FULL, at, PayloadCodec.FP32).head)
    ) as e:
        values = np.stack([e.run(sample.feeds)["r1"] for sample in samples.calibrate])
    ranges = find_ranges(model, at, samples.calibrate)
    assert (ranges["r1"].low, ranges["r1"].high) == (values.min(), values.max())


def test_a_tensor_without_a_range_cannot_be_int8() -> None:
    model = small.dense_net(1e38, 1.0)
    wild = Sample(feeds={"x": np.full((1, 4), 1e30, np.float32)})
    with pytest.raises(NotFinite, match="h1 holds values that are not finite"):
        Cutter({FULL: model}, (wild,)).cut(FULL, find_cuts(model)[0], PayloadCodec.INT8)


def _int8() -> tuple[Model, Model, Samples]:
    model, samples = small.conv_net(), small.pictures()
    int8, _ = quantize(model, [sample.feeds for sample in samples.calibrate])
    return model, int8, samples


def test_a_smaller_variant_takes_part() -> None:
    model, int8, samples = _int8()
    study = begin_study({FULL: model, "int8": int8}, samples, preparation=small.preparation())
    found = study.plan(SLOW_LINK, Limits(min_agreement=0.5))
    names = {one.sketch.name for one in found.candidates}
    assert {"local-int8", "split0-int8-int8"} <= names
    assert found.variants == {FULL: model.digest, "int8": int8.digest}
    fastest = next(c for c in found.candidates if c.sketch.kind is RouteKind.LOCAL)
    assert found.fallback.sketch.name == fastest.sketch.name
    _check_candidates(found)


def _contrary(model: Model) -> Model:
    """The same network with its last weights turned over: it never decides alike."""
    import onnx
    from onnx import numpy_helper

    from edgewise.graphs import load

    proto = onnx.load_from_string(to_bytes(model))
    for weight in proto.graph.initializer:
        if weight.name == "w3":
            weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), "w3"))
    return load(proto.SerializeToString())


def test_a_variant_that_decides_otherwise_is_neither_chosen_nor_fallback() -> None:
    model = small.conv_net()
    study = begin_study(
        {FULL: model, "bad": _contrary(model)}, small.pictures(), preparation=small.preparation()
    )
    for target in (SLOW_LINK, FAST_LINK):
        for limits in (Limits(), Limits(raw_input_stays=True)):
            found = study.plan(target, limits)
            assert found.chosen.sketch.variant == FULL
            assert found.fallback.sketch.name == "local"
            _check_candidates(found)
    split = [c for c in found.candidates if c.sketch.name == "split3-fp32-bad"]
    assert split[0].rejected is not None
    assert split[0].rejected.startswith("its network decides as the full network on 0 % of 6")


def test_what_is_run_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions cost most of a plan's time; a careless change shows here, on any machine."""
    opened: Counter[str] = Counter()
    begin = OnnxRuntimeEngine.__init__

    def counted(self, *args, **options) -> None:
        opened["engines"] += 1
        begin(self, *args, **options)

    monkeypatch.setattr(OnnxRuntimeEngine, "__init__", counted)
    settings = Settings(anchors=4, refined=3)
    study = begin_study(
        {FULL: small.conv_net()},
        small.pictures(),
        preparation=small.preparation(),
        settings=settings,
    )
    # 1 whole, 2 for each anchor, 6 for each of 4 probes of payload nodes, 1 reference.
    assert opened["engines"] <= 1 + 2 * 4 + 6 * 4 + 1
    opened.clear()
    study.plan(FAST_LINK, Limits(raw_input_stays=True))
    once = opened["engines"]
    study.plan(FAST_LINK, Limits(raw_input_stays=True))
    assert opened["engines"] == once, "the second plan measures nothing anew"


def test_without_the_full_network() -> None:
    with pytest.raises(BadInput) as caught:
        begin_study({"int8": small.conv_net()}, small.pictures())
    assert str(caught.value) == (
        "expected a variant named 'full', found int8; pass the original network under that name"
    )


def test_variants_with_names_that_no_file_has() -> None:
    model = small.conv_net()
    with pytest.raises(BadInput) as caught:
        begin_study({FULL: model, "../int8": model}, small.pictures())
    assert str(caught.value) == (
        "expected variants named by 1 to 40 letters, digits and _ -, found '../int8'; give the "
        "variant another name"
    )


@pytest.mark.parametrize("missing", ["calibrate", "select"])
def test_without_examples(missing: str) -> None:
    with pytest.raises(BadInput) as caught:
        begin_study({FULL: small.conv_net()}, replace(small.pictures(), **{missing: ()}))
    assert str(caught.value) == (
        "expected examples to calibrate and to select with, found none; pass --data DIR with at "
        "least two examples"
    )


def test_without_a_link() -> None:
    with pytest.raises(BadInput, match="expected at least one link, found none; pass --link"):
        plan({FULL: small.conv_net()}, small.pictures(), [])
