"""Bundles that plans become: sound, minimal, and answering as planned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.bundle import (
    INPUT,
    Coefficients,
    Fallback,
    FallbackKind,
    Manifest,
    Quality,
    Route,
    RouteKind,
    Side,
    describe_part,
    open_bundle,
    probed_parts,
    read_probe,
    why_distrusted,
)
from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.graphs import Model, load, to_bytes
from edgewise.planning import (
    FULL,
    Candidate,
    Limits,
    Objective,
    Plan,
    Target,
    build_bundle,
    left_out,
    routes_of,
)
from edgewise.planning.candidates import sketch_all
from edgewise.planning.prediction import predict
from edgewise.planning.probing import build_probe
from edgewise.running import connect
from edgewise.tensors import TensorSpec
from strategies import onnx_file
from unit.planning import small_networks as small
from unit.planning.choosing_by_hand import candidate
from unit.planning.measured_by_hand import by_hand

TARGET = Target(device=small.device(), link=small.link(), cloud=small.cloud())
MODEL = small.conv_net()


def _plan(chosen: Candidate, fallback: Candidate, least: float = 0.95) -> Plan:
    return Plan(
        model_digest="d",
        variants={},
        objective=Objective.LATENCY,
        target=TARGET,
        limits=Limits(min_agreement=least),
        chosen=chosen,
        fallback=fallback,
        candidates=(chosen, fallback),
    )


LOCAL = candidate("local", 9.0, kind=RouteKind.LOCAL, agreement=1.0)
SMALL = candidate("local-int8", 3.0, kind=RouteKind.LOCAL, variant="int8", agreement=0.9)


def _names(candidates) -> list[str]:
    return [one.sketch.name for one in candidates]


def test_the_fallback_comes_last_when_nothing_chose_it() -> None:
    plans = [_plan(candidate(name, 1.0), LOCAL) for name in ("a", "b", "a")]
    assert _names(routes_of(plans)) == ["a", "b", "local"]


def test_a_fallback_that_was_chosen_keeps_its_place() -> None:
    plans = [_plan(LOCAL, LOCAL), _plan(candidate("a", 1.0), LOCAL)]
    assert _names(routes_of(plans)) == ["local", "a"]


def test_at_most_five_routes_and_the_fallback_is_among_them() -> None:
    plans = [_plan(candidate(f"c{i}", 1.0), LOCAL) for i in range(9)]
    assert _names(routes_of(plans)) == ["c0", "c1", "c2", "c3", "local"]
    assert left_out(plans) == ("c4", "c5", "c6", "c7", "c8")
    assert left_out(plans[:4]) == ()


def test_the_strictest_plan_names_the_fallback() -> None:
    plans = [_plan(candidate("a", 1.0), SMALL, 0.8), _plan(candidate("b", 1.0), LOCAL, 0.95)]
    assert _names(routes_of(plans)) == ["a", "b", "local"]


def test_no_plan_no_routes() -> None:
    with pytest.raises(BadInput, match="expected at least one plan, found none"):
        routes_of([])


def _candidates(model: Model, names: tuple[str, ...], *, pixels: bool = True, **variants: Model):
    measured = by_hand(model, pixels=pixels)
    every = {FULL: model, **variants}
    more = dict.fromkeys(every, measured.whole[FULL])
    measured = replace(
        measured,
        whole=more,
        cuts=dict.fromkeys(every, measured.cuts[FULL]),
        segments=dict.fromkeys(every, measured.segments[FULL]),
    )
    sketches = {
        s.name: s for s in sketch_all(every, measured.cuts, pixels=pixels, quality_levels=(90,))
    }
    return [predict(sketches[name], measured, TARGET, model=model) for name in names]


def _build(folder: Path, *names: str, model: Model = MODEL, **variants: Model):
    candidates = _candidates(model, names, **variants)
    return build_bundle(folder / "bundle", candidates, {FULL: model, **variants}, small.pictures())


@pytest.mark.engine
def test_the_probe_is_the_same_each_time_and_none_of_the_examples(tmp_path: Path) -> None:
    bundle = _build(tmp_path, "split1-int8", "cloud-jpeg90", "local")
    again = _build(tmp_path / "again", "split1-int8", "cloud-jpeg90", "local")
    stored = read_probe(bundle)
    assert bundle.manifest.probe == again.manifest.probe
    assert set(stored.tensors) == {INPUT, "split1-int8-head", "split1-int8-tail", "full"}
    image = stored.tensors[INPUT]["image"]
    pixels = image * 128 + 127
    assert image.shape == (1, 3, small.SIDE, small.SIDE)
    np.testing.assert_array_equal(pixels, np.clip(np.rint(pixels), 0, 255))
    assert pixels.std() > 50  # every brightness, not a grey surface
    samples = small.pictures()
    for sample in (*samples.calibrate, *samples.select):
        assert not np.array_equal(sample.feeds["image"], image)


@pytest.mark.engine
def test_every_part_gives_its_stored_answer_here_and_the_tolerance_is_fp32_like(
    tmp_path: Path,
) -> None:
    bundle = _build(tmp_path, "split1-int8", "split2-fp16", "cloud-jpeg90", "local")
    stored, manifest = read_probe(bundle), bundle.manifest
    assert 1e-3 <= stored.tolerance < 0.01
    for part in probed_parts(manifest):
        with open_engine(bundle.read_part(part.name)) as engine:
            assert why_distrusted(stored, manifest, part, engine.run) == ""


@pytest.mark.engine
def test_a_network_that_gives_nothing_finite_gets_no_probe() -> None:
    spec = TensorSpec(name="x", dtype="float32", shape=(1, 2))
    log = helper.make_node("Log", ["x"], ["y"])
    raw = onnx_file(
        [log],
        inputs=[("x", TensorProto.FLOAT, (1, 2))],
        outputs=[("y", TensorProto.FLOAT, (1, 2))],
    )
    part = describe_part("full", raw, side=Side.DEVICE, inputs=(spec,), outputs=(spec,))
    part = replace(part, outputs=(replace(spec, name="y"),))
    local = Route(
        name="local", kind=RouteKind.LOCAL, device_part="full", coefficients=Coefficients()
    )
    manifest = Manifest(
        schema=1,
        name="log",
        model_digest="0" * 64,
        inputs=(spec,),
        outputs=part.outputs,
        parts=(part,),
        routes=(local,),
        fallback=Fallback(kind=FallbackKind.FULL, part="full"),
    )
    for numbers, is_probed in (([1.0, -1.0], False), ([1.0, 2.0], True)):
        made = {"x": np.array([numbers], np.float32)}
        assert (build_probe(manifest, {"full": raw}, made) is not None) == is_probed
    assert build_probe(manifest, {"full": raw}, {"x": np.zeros((1, 3), np.float32)}) is None


def _sides(bundle) -> dict[str, Side]:
    return {part.name: part.side for part in bundle.manifest.parts}


@pytest.mark.engine
def test_every_part_is_needed_and_on_its_side(tmp_path: Path) -> None:
    bundle = _build(tmp_path, "split1-int8", "cloud-jpeg90", "cloud-fp32", "local")
    assert _sides(bundle) == {
        "split1-int8-head": Side.DEVICE,
        "split1-int8-tail": Side.SERVER,
        "full": Side.BOTH,
    }
    assert _names_of_files(tmp_path / "bundle") == {
        "bundle.json",
        "full.onnx",
        "probe.bin",
        "split1-int8-head.onnx",
        "split1-int8-tail.onnx",
    }


def _names_of_files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.mark.engine
def test_without_a_local_route_the_full_network_stays_on_the_server(tmp_path: Path) -> None:
    bundle = _build(tmp_path, "cloud-png")
    assert _sides(bundle) == {"full": Side.SERVER}
    assert bundle.manifest.fallback.kind is FallbackKind.NONE
    assert bundle.manifest.given_away == ()


@pytest.mark.engine
def test_what_is_given_away_is_said(tmp_path: Path) -> None:
    bundle = _build(tmp_path, "split1-fp32", "cloud-fp32")
    (given,) = bundle.manifest.given_away
    first_weights_bytes = 8 * 3 * 3 * 3 * 4
    assert (given.part, given.tensors, given.bytes) == ("split1-fp32-head", 1, first_weights_bytes)
    assert given.share == pytest.approx(first_weights_bytes / MODEL.weight_bytes)
    whole = _build(tmp_path, "local")
    assert [(g.part, g.share) for g in whole.manifest.given_away] == [("full", 1.0)]


@pytest.mark.engine
@pytest.mark.parametrize("model", [MODEL, small.masked_net(), small.masked_net(batch=1)])
@pytest.mark.parametrize("codec", ["fp32", "fp16", "int8"])
def test_a_boundary_is_what_the_head_gives_and_the_tail_takes(
    model: Model, codec: str, tmp_path: Path
) -> None:
    candidates = _candidates(model, (f"split0-{codec}",), pixels=False)
    samples = small.pictures() if model is MODEL else small.arrays(model)
    bundle = build_bundle(tmp_path / "bundle", candidates, {FULL: model}, samples)
    (route,) = bundle.manifest.routes
    sent = {(b.name, b.dtype, b.shape) for b in route.boundary}
    with (
        open_engine(bundle.read_part(route.device_part or "")) as head,
        open_engine(bundle.read_part(route.server_part or "")) as tail,
    ):
        assert {_one(spec) for spec in head.outputs} == sent
        assert {_one(spec) for spec in tail.inputs} == sent
        assert {spec.name for spec in head.inputs} == {spec.name for spec in model.inputs}
    assert all(b.min_bytes == b.max_bytes for b in route.boundary)
    assert sum(b.max_bytes for b in route.boundary) == candidates[0].payload_bytes


def _one(spec: TensorSpec) -> tuple[str, str, tuple[int, ...]]:
    return spec.name, spec.dtype, spec.concrete()


@pytest.mark.engine
def test_raw_and_encoded_inputs_have_their_bounds(tmp_path: Path) -> None:
    bundle = _build(tmp_path, "cloud-fp32", "cloud-webp90")
    raw, webp = (route.boundary for route in bundle.manifest.routes)
    assert [(b.name, b.dtype, b.max_bytes) for b in raw] == [("image", "float32", 3 * 24 * 24 * 4)]
    assert [(b.name, b.dtype, b.shape, b.min_bytes) for b in webp] == [
        ("image", "uint8", ("bytes",), 1)
    ]


@pytest.mark.engine
def test_the_manifest_carries_what_the_model_says(tmp_path: Path) -> None:
    manifest = _build(tmp_path, "local").manifest
    assert manifest.preparation == small.PREPARATION
    assert manifest.labels == tuple(f"class {i}" for i in range(small.CLASSES))
    assert manifest.needs == ("image",)
    assert (manifest.name, manifest.model_digest) == ("small", MODEL.digest)
    assert [spec.shape for spec in manifest.outputs] == [(1, small.CLASSES)]


@pytest.mark.engine
@pytest.mark.parametrize("name", ["größe / ../x", "x" * 300, "...", "a b"])
def test_any_model_name_gives_a_bundle_that_can_be_served(name: str, tmp_path: Path) -> None:
    from edgewise.serving import create_app

    bundle = _build(tmp_path, "cloud-fp32", "local", model=small.conv_net(name=name))
    create_app(open_bundle(bundle.path))


@pytest.mark.engine
def test_the_fallback_is_the_most_faithful_and_then_the_fastest(tmp_path: Path) -> None:
    def with_quality(one: Candidate, value: float) -> Candidate:
        found = Quality(metric="agreement", value=value, low=0.0, high=1.0, n=9)
        return replace(one, route=replace(one.route, quality=found))

    other = small.conv_net(name="other")
    both = _candidates(MODEL, ("local-int8", "local"), int8=other)
    for values, kind in [
        ((0.9, 1.0), FallbackKind.FULL),
        ((1.0, 1.0), FallbackKind.SMALL),
    ]:
        quick = replace(both[0], total=both[0].device + both[0].link)
        slow = replace(both[1], total=both[1].total + both[1].total)
        judged = [with_quality(quick, values[0]), with_quality(slow, values[1])]
        bundle = build_bundle(
            tmp_path / "bundle", judged, {FULL: MODEL, "int8": other}, small.pictures()
        )
        assert bundle.manifest.fallback.kind is kind
        assert bundle.manifest.fallback.part == ("full" if kind is FallbackKind.FULL else "int8")


@pytest.mark.engine
def test_a_bundle_answers_as_the_network_does(tmp_path: Path) -> None:
    bundle = _build(tmp_path, "local")
    sample = small.pictures().select[0]
    with open_engine(to_bytes(MODEL)) as engine, connect(bundle, None) as session:
        wanted = engine.run(sample.feeds)["logits"]
        found = session.run(sample.pixels).outputs["logits"]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.engine
def test_the_same_plan_gives_the_same_bundle(tmp_path: Path) -> None:
    first = _build(tmp_path / "a", "split0-int8", "local")
    second = _build(tmp_path / "b", "split0-int8", "local")
    assert first.digest == second.digest


def test_broken_metadata_is_refused_before_there_is_anything_to_plan() -> None:
    import onnx

    proto = onnx.load_from_string(to_bytes(MODEL))
    onnx.helper.set_model_props(proto, {"edgewise.preparation": "{"})
    with pytest.raises(BadInput, match="preparation"):
        load(proto.SerializeToString())
