"""Small real networks that planning is tried on, with examples."""

from __future__ import annotations

import itertools
import json

import numpy as np
from onnx import TensorProto, helper

from edgewise.graphs import LABELS_KEY, PREPARATION_KEY, Model, load
from edgewise.planning import Sample, Samples
from edgewise.preparation import ImagePreparation, normalise, read_preparation
from edgewise.specs import CloudSpec, DeviceSpec, LinkSpec, Provenance
from strategies import onnx_file

SIDE = 24
CLASSES = 5
PREPARATION = {
    "schema": 1,
    "kind": "image",
    "input": "image",
    "height": SIDE,
    "width": SIDE,
    "mode": "RGB",
    "crop_fraction": 1.0,
    "resample": "bicubic",
    "mean": [127, 127, 127],
    "scale": [128, 128, 128],
    "layout": "CHW",
}
USER = Provenance(source="user-supplied", date="2026-11-21")


def preparation() -> ImagePreparation:
    return read_preparation(json.dumps(PREPARATION))


def link(up: float = 1e6, down: float = 1e6, rtt: float = 0.02, jitter: float = 0.0) -> LinkSpec:
    return LinkSpec(
        name="test-link",
        up_bytes_per_s=up,
        down_bytes_per_s=down,
        rtt_s=rtt,
        jitter_s=jitter,
        provenance=USER,
    )


def device(slowdown: float = 1.0) -> DeviceSpec:
    return DeviceSpec(name="test-device", slowdown=slowdown, provenance=USER)


def cloud(slowdown: float = 1.0) -> CloudSpec:
    return CloudSpec(name="test-cloud", slowdown=slowdown, provenance=USER)


def _draw(*shape: int, seed: int = 0, scale: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def conv_net(*, name: str = "small", metadata: bool = True, batch: int | str = "N") -> Model:
    """Pictures to five classes: two convolutions, a pooling, a matrix product."""
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "w3"], ["logits"]),
    ]
    raw = onnx_file(
        nodes,
        inputs=[("image", TensorProto.FLOAT, (batch, 3, SIDE, SIDE))],
        outputs=[("logits", TensorProto.FLOAT, (batch, CLASSES))],
        weights={
            "w1": _draw(8, 3, 3, 3),
            "w2": _draw(12, 8, 3, 3, seed=1),
            "w3": _draw(12, CLASSES, seed=2, scale=3.0),
        },
    )
    return _with_metadata(raw, name, metadata=metadata)


def _with_metadata(raw: bytes, name: str, *, metadata: bool) -> Model:
    import onnx

    proto = onnx.load_from_string(raw)
    proto.graph.name = name
    if metadata:
        labels = [f"class {index}" for index in range(CLASSES)]
        onnx.helper.set_model_props(
            proto, {PREPARATION_KEY: json.dumps(PREPARATION), LABELS_KEY: json.dumps(labels)}
        )
    return load(proto.SerializeToString())


def masked_net(batch: int | str = "N", *, words: int | str = 6) -> Model:
    """Two inputs; a Boolean mask is read at both ends, so it rides along with every cut."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Where", ["mask", "a", "zero"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["c"]),
        helper.make_node("Where", ["mask", "c", "zero"], ["d"]),
        helper.make_node("ReduceMean", ["d"], ["m"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["m", "w3"], ["y"]),
    ]
    raw = onnx_file(
        nodes,
        inputs=[
            ("x", TensorProto.FLOAT, (batch, words, 4)),
            ("mask", TensorProto.BOOL, (batch, words, 1)),
        ],
        outputs=[("y", TensorProto.FLOAT, (batch, CLASSES))],
        weights={
            "w1": _draw(4, 16),
            "w2": _draw(16, 8, seed=1),
            "w3": _draw(8, CLASSES, seed=2, scale=2.0),
            "zero": np.zeros((), np.float32),
        },
    )
    return load(raw)


def sieve_net() -> Model:
    """Two matrix products, then as many numbers as the data has above 0."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("MatMul", ["a", "w2"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("NonZero", ["c"], ["places"]),
        helper.make_node("Cast", ["places"], ["found"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["found"], ["y"], keepdims=1),
    ]
    raw = onnx_file(
        nodes,
        inputs=[("x", TensorProto.FLOAT, ("N", 4))],
        outputs=[("y", TensorProto.FLOAT, (1, 1))],
        weights={"w1": _draw(4, 8), "w2": _draw(8, 4, seed=1)},
    )
    return load(raw)


def dense_net(*scales: float) -> Model:
    """A chain of 4x4 matrix products, each with weights of about the given scale."""
    names = ["x", *(f"h{i}" for i in range(1, len(scales))), "y"]
    nodes = [
        helper.make_node("MatMul", [a, f"w{i}"], [b])
        for i, (a, b) in enumerate(itertools.pairwise(names))
    ]
    rng = np.random.default_rng(3)
    raw = onnx_file(
        nodes,
        inputs=[("x", TensorProto.FLOAT, ("N", 4))],
        outputs=[("y", TensorProto.FLOAT, ("N", 4))],
        weights={
            f"w{i}": (scale * (np.eye(4) + rng.normal(0, 0.1, (4, 4)))).astype(np.float32)
            for i, scale in enumerate(scales)
        },
    )
    return load(raw)


def pictures(calibrate: int = 3, select: int = 6) -> Samples:
    """Smooth random pictures, which codecs can compress, with what the network makes of them."""
    made = [_picture(seed) for seed in range(calibrate + select)]
    return Samples(calibrate=tuple(made[:calibrate]), select=tuple(made[calibrate:]))


def _picture(seed: int) -> Sample:
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3)).astype(np.float32)
    pixels = np.kron(coarse, np.ones((SIDE // 3, SIDE // 3, 1), np.float32)).astype(np.uint8)
    return Sample(feeds={"image": normalise(pixels, preparation())}, pixels=pixels)


def arrays(model: Model, calibrate: int = 3, select: int = 6) -> Samples:
    """Random inputs of a network; Boolean ones are mostly true."""
    made = [_arrays(model, seed) for seed in range(calibrate + select)]
    return Samples(calibrate=tuple(made[:calibrate]), select=tuple(made[calibrate:]))


def _arrays(model: Model, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    return Sample(
        feeds={
            spec.name: rng.random(spec.concrete()) < 0.8
            if spec.dtype == "bool"
            else rng.normal(size=spec.concrete()).astype(spec.dtype)
            for spec in model.inputs
        }
    )
