from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.bundle import PayloadCodec, RouteKind
from edgewise.examples import load_examples
from edgewise.graphs import find_cuts, load
from edgewise.planning import FULL, take_samples
from edgewise.planning.candidates import narrows, sketch_all
from strategies import onnx_file
from unit.planning import small_networks as small


def _sketches(model, *, pixels: bool = False, **more):
    variants = {FULL: model, **more}
    cuts = {name: find_cuts(one) for name, one in variants.items()}
    return sketch_all(variants, cuts, pixels=pixels, quality_levels=(85,))


def test_every_way_to_answer_has_its_own_name() -> None:
    model = small.conv_net()
    sketches = _sketches(model, pixels=True, int8=small.conv_net(name="other"))
    names = [sketch.name for sketch in sketches]
    assert len(set(names)) == len(names) == 2 + 4 + 2 * 3 * len(find_cuts(model))
    assert names[:6] == [
        "local",
        "local-int8",
        "cloud-fp32",
        "cloud-png",
        "cloud-jpeg85",
        "cloud-webp85",
    ]
    assert {"split0-fp32", "split0-fp16-int8", "split5-int8-int8"} <= set(names)


def test_quality_is_stated_for_lossy_codecs_alone() -> None:
    found = {s.codec: s.quality_level for s in _sketches(small.conv_net(), pixels=True)}
    assert (found[PayloadCodec.JPEG], found[PayloadCodec.WEBP]) == (85, 85)
    assert found[PayloadCodec.PNG] is found[PayloadCodec.FP32] is found[PayloadCodec.INT8] is None


def test_arrays_have_no_pixel_routes() -> None:
    kinds = [s.codec for s in _sketches(small.masked_net()) if s.kind is RouteKind.CLOUD]
    assert kinds == [PayloadCodec.FP32]


def test_a_network_without_cuts_is_local_or_cloud() -> None:
    model = small.dense_net(1.0)
    assert [s.name for s in _sketches(model)] == ["local", "cloud-fp32"]


def test_integers_cross_in_one_way_only() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    model = load(
        onnx_file(
            nodes,
            inputs=[("x", TensorProto.FLOAT, (1, 4))],
            outputs=[("y", TensorProto.FLOAT, (1, 4))],
            weights={
                "w": np.eye(4, dtype=np.float32),
                "s": np.float32(0.1),
                "z": np.uint8(128),
            },
        )
    )
    at_integers = next(at for at in find_cuts(model) if at.name == "q")
    assert not narrows(at_integers)
    assert [s.codec for s in _sketches(model) if s.cut == at_integers] == [PayloadCodec.FP32]
    assert [s.codec.value for s in _sketches(model) if s.cut and s.cut.name == "a"] == [
        "fp32",
        "fp16",
        "int8",
    ]


def test_what_sends_the_input_is_known() -> None:
    by_name = {s.name: s for s in _sketches(small.conv_net(), pixels=True)}
    assert not by_name["local"].sends_input
    assert by_name["cloud-fp32"].sends_input
    assert by_name["cloud-jpeg85"].sends_input
    assert not by_name["split0-int8"].sends_input


def test_an_input_that_rides_along_is_sent() -> None:
    split = [s for s in _sketches(small.masked_net()) if s.kind is RouteKind.SPLIT]
    sent = {s.cut.name: s.sends_input for s in split if s.cut}
    assert sent == {"a": True, "b": True, "c": True, "d": False, "m": False}


def test_an_input_that_is_merely_rewritten_is_sent() -> None:
    # What a quantised network does first: round the picture to 8 bits and back.
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Transpose", ["d"], ["t"]),
        helper.make_node("MatMul", ["t", "w"], ["m"]),
        helper.make_node("Relu", ["m"], ["y"]),
    ]
    model = load(
        onnx_file(
            nodes,
            inputs=[("x", TensorProto.FLOAT, (4, 4))],
            outputs=[("y", TensorProto.FLOAT, (4, 4))],
            weights={
                "w": np.eye(4, dtype=np.float32),
                "s": np.float32(0.1),
                "z": np.uint8(128),
            },
        )
    )
    sent = {s.cut.name: s.sends_input for s in _sketches(model) if s.cut}
    assert sent == {"q": True, "d": True, "t": True, "m": False}


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.npz"
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    x[30:] = x[:30]  # every example twice
    np.savez(path, x=x)
    return path


def test_nothing_is_judged_on_what_calibrated_it(numbers: Path) -> None:
    split = load_examples(numbers, None, input_name="x").split(calibrate=0.4, select=0.4)
    samples = take_samples(split)
    calibrate, select = (
        {sample.feeds["x"].tobytes() for sample in part}
        for part in (samples.calibrate, samples.select)
    )
    assert calibrate
    assert select
    assert calibrate.isdisjoint(select)


def test_samples_are_counted_out(numbers: Path) -> None:
    split = load_examples(numbers, None, input_name="x").split()
    samples = take_samples(split, calibrate=3, select=5)
    assert (len(samples.calibrate), len(samples.select)) == (3, 5)
    many = take_samples(split, calibrate=500, select=500)
    assert (len(many.calibrate), len(many.select)) == (len(split.calibrate), len(split.select))
    assert all(sample.pixels is None for sample in many.select)


def test_samples_come_from_the_whole_part(tmp_path: Path) -> None:
    x = np.arange(60, dtype=np.float32).reshape(60, 1)
    np.savez(tmp_path / "sorted.npz", x=x)
    split = load_examples(tmp_path / "sorted.npz", None, input_name="x").split()
    taken = [sample.feeds["x"].item() for sample in take_samples(split, report=5).report]
    assert len(set(taken)) == 5
    assert max(taken) - min(taken) > 30


def test_candidates_are_values() -> None:
    sketch = _sketches(small.conv_net())[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        sketch.name = "other"  # type: ignore[misc]
