"""A small network in two halves, with a route for every payload, and a reference for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgewise.bounds import Bound
from edgewise.bundle import (
    SCHEMA,
    Bundle,
    Coefficients,
    Fallback,
    FallbackKind,
    Manifest,
    PayloadCodec,
    Route,
    RouteKind,
    Side,
    describe_part,
    write_bundle,
)
from edgewise.tensors import TensorSpec

SIDE = 16
CLASSES = 5
CHANNELS = 4
SCALE, ZERO = 0.05, 3
IMAGE = TensorSpec(name="image", dtype="float32", shape=(1, 3, SIDE, SIDE))
FEATURE = TensorSpec(name="feature", dtype="float32", shape=(1, CHANNELS, SIDE, SIDE))
LOGITS = TensorSpec(name="logits", dtype="float32", shape=(1, CLASSES))
MEANS = TensorSpec(name="means", dtype="float32", shape=(1, CHANNELS))
OUTPUTS = (LOGITS, MEANS)
PREPARATION: Mapping[str, object] = {
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
_KINDS = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int8": TensorProto.INT8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    conv: np.ndarray
    bias: np.ndarray
    gemm: np.ndarray

    def feature(self, image: np.ndarray) -> np.ndarray:
        """A 1x1 convolution and ReLU."""
        mixed = np.einsum("oc,nchw->nohw", self.conv[:, :, 0, 0], image)
        return np.maximum(mixed + self.bias[None, :, None, None], 0).astype(np.float32)

    def logits(self, feature: np.ndarray) -> np.ndarray:
        """The mean over each channel, and a matrix."""
        return feature.mean(axis=(2, 3)) @ self.gemm


def weights(seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)
    return Weights(
        conv=rng.normal(0, 0.5, (CHANNELS, 3, 1, 1)).astype(np.float32),
        bias=rng.normal(0, 0.1, CHANNELS).astype(np.float32),
        gemm=rng.normal(0, 1, (CHANNELS, CLASSES)).astype(np.float32),
    )


def network(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    constants: Mapping[str, np.ndarray],
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(s.name, _KINDS[s.dtype], s.shape) for s in inputs],
        [helper.make_tensor_value_info(s.name, _KINDS[s.dtype], s.shape) for s in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, ir_version=8, opset_imports=opset)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_tiny_bundle(
    folder: Path, *, seed: int = 0, name: str = "tiny", version: int = 1
) -> Bundle:
    w = weights(seed)
    head = [
        helper.make_node("Conv", ["image", "conv", "bias"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["feature"]),
    ]
    tail = [
        helper.make_node("GlobalAveragePool", ["feature"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("MatMul", ["means", "gemm"], ["logits"]),
    ]
    cast = helper.make_node("Cast", ["half"], ["feature"], to=TensorProto.FLOAT)
    dequantize = helper.make_node("DequantizeLinear", ["byte", "scale", "zero"], ["feature"])
    half = TensorSpec(name="half", dtype="float16", shape=FEATURE.shape)
    byte = TensorSpec(name="byte", dtype="int8", shape=FEATURE.shape)
    conv = {"conv": w.conv, "bias": w.bias}
    gemm = {"gemm": w.gemm}
    scales = {"scale": np.float32(SCALE).reshape(()), "zero": np.int8(ZERO).reshape(())}
    raw = {
        "full": network([*head, *tail], [IMAGE], OUTPUTS, conv | gemm),
        "head": network(head, [IMAGE], [FEATURE], conv),
        "tail": network(tail, [FEATURE], OUTPUTS, gemm),
        "tail-half": network([cast, *tail], [half], OUTPUTS, gemm),
        "tail-byte": network([dequantize, *tail], [byte], OUTPUTS, gemm | scales),
    }
    tails = {"tail": FEATURE, "tail-half": half, "tail-byte": byte}
    parts = (
        describe_part("full", raw["full"], side=Side.BOTH, inputs=(IMAGE,), outputs=OUTPUTS),
        describe_part("head", raw["head"], side=Side.DEVICE, inputs=(IMAGE,), outputs=(FEATURE,)),
        *(
            describe_part(tail, raw[tail], side=Side.SERVER, inputs=(spec,), outputs=OUTPUTS)
            for tail, spec in tails.items()
        ),
    )
    manifest = Manifest(
        schema=SCHEMA,
        name=name,
        version=version,
        model_digest="0" * 64,
        inputs=(IMAGE,),
        outputs=OUTPUTS,
        parts=parts,
        routes=(
            Route(
                name="local",
                kind=RouteKind.LOCAL,
                device_part="full",
                coefficients=Coefficients(device_s=0.1),
            ),
            _split("split-fp32", PayloadCodec.FP32, "tail", FEATURE),
            _split("split-fp16", PayloadCodec.FP16, "tail-half", half),
            _split("split-int8", PayloadCodec.INT8, "tail-byte", byte),
            _cloud("cloud-raw", PayloadCodec.FP32, Bound.exactly(IMAGE)),
            _cloud("cloud-png", PayloadCodec.PNG, _encoded(4096)),
            _cloud("cloud-jpeg", PayloadCodec.JPEG, _encoded(4096)),
            _cloud("cloud-webp", PayloadCodec.WEBP, _encoded(4096)),
        ),
        fallback=Fallback(kind=FallbackKind.FULL, part="full"),
        preparation=PREPARATION,
    )
    return write_bundle(folder, manifest, raw)


def _split(name: str, codec: PayloadCodec, tail: str, sent: TensorSpec) -> Route:
    return Route(
        name=name,
        kind=RouteKind.SPLIT,
        cut=("feature",),
        codec=codec,
        device_part="head",
        server_part=tail,
        boundary=(Bound.exactly(sent),),
        coefficients=Coefficients(),
    )


def _cloud(name: str, codec: PayloadCodec, bound: Bound) -> Route:
    return Route(
        name=name,
        kind=RouteKind.CLOUD,
        cut=("image",),
        codec=codec,
        server_part="full",
        boundary=(bound,),
        coefficients=Coefficients(),
    )


def _encoded(max_bytes: int) -> Bound:
    return Bound(name="image", dtype="uint8", shape=("n",), min_bytes=1, max_bytes=max_bytes)


def write_heavy_bundle(folder: Path, *, size: int = 1000, products: int = 30) -> Bundle:
    """A network that takes one number and computes for about a second."""
    take = TensorSpec(name="x", dtype="float32", shape=(1,))
    give = TensorSpec(name="y", dtype="float32", shape=(size, size))
    nodes = [helper.make_node("Expand", ["x", "shape"], ["m0"])]
    for i in range(products):
        name = "y" if i + 1 == products else f"m{i + 1}"
        nodes.append(helper.make_node("MatMul", [f"m{i}", f"m{i}"], [name]))
    raw = network(nodes, [take], [give], {"shape": np.array([size, size], np.int64)})
    manifest = Manifest(
        schema=SCHEMA,
        name="heavy",
        model_digest="0" * 64,
        inputs=(take,),
        outputs=(give,),
        parts=(describe_part("full", raw, side=Side.SERVER, inputs=(take,), outputs=(give,)),),
        routes=(_cloud("cloud-raw", PayloadCodec.FP32, Bound.exactly(take)),),
        fallback=Fallback(kind=FallbackKind.NONE),
    )
    return write_bundle(folder, manifest, {"full": raw})
