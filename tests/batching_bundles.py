"""Bundles whose networks leave the batch open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import helper

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
from edgewise.engines import open_engine
from edgewise.tensors import TensorSpec
from unit.serving import tiny_bundle as tiny

WIDTH = 4
SLOW = TensorSpec(name="x", dtype="float32", shape=("N", WIDTH))
OUT = TensorSpec(name="y", dtype="float32", shape=("N", WIDTH))


def slow_network(*, size: int = 700, products: int = 12) -> bytes:
    """Gives back its rows, after a computation that takes the same time for any number of them."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Mul", ["top", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "small"], ["each"]),
        helper.make_node("Expand", ["each", "shape"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(products)),
        helper.make_node("ReduceMax", [f"m{products}"], ["last"], keepdims=0),
        helper.make_node("Mul", ["last", "zero"], ["rest"]),
        helper.make_node("Add", ["x", "rest"], ["y"]),
    ]
    constants = {
        "zero": np.float32(0).reshape(()),
        "small": np.float32(1 / size).reshape(()),
        "shape": np.array([size, size], np.int64),
    }
    return tiny.network(nodes, [SLOW], [OUT], constants)


def centring_network() -> bytes:
    """Its first axis is open, and what it gives for a row depends on all of them."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return tiny.network(nodes, [SLOW], [OUT], {})


def summing_network() -> bytes:
    """Its first axis is open, and its output has another one."""
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)]
    total = TensorSpec(name="y", dtype="float32", shape=(1, WIDTH))
    return tiny.network(nodes, [SLOW], [total], {"axes": np.array([0], np.int64)})


def dynamic_int8_network() -> bytes:
    """One scale for all rows, found anew in each run."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["byte", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["byte", "scale", "zero"], ["y"]),
    ]
    return tiny.network(nodes, [SLOW], [OUT], {})


def open_bundle_of(folder: Path, raw: bytes, *, most: int = 1, name: str = "open") -> Bundle:
    """A bundle with one route that sends the inputs; each request asks for 1 to ``most`` rows."""
    with open_engine(raw) as engine:
        inputs, outputs = engine.inputs, engine.outputs
    manifest = Manifest(
        schema=SCHEMA,
        name=name,
        model_digest="0" * 64,
        inputs=inputs,
        outputs=outputs,
        parts=(describe_part("full", raw, side=Side.SERVER, inputs=inputs, outputs=outputs),),
        routes=(
            Route(
                name="cloud-raw",
                kind=RouteKind.CLOUD,
                cut=tuple(spec.name for spec in inputs),
                codec=PayloadCodec.FP32,
                server_part="full",
                boundary=_bounds(inputs, most),
                coefficients=Coefficients(),
            ),
        ),
        fallback=Fallback(kind=FallbackKind.NONE),
    )
    return write_bundle(folder, manifest, {"full": raw})


def _bounds(inputs: Sequence[TensorSpec], most: int) -> tuple[Bound, ...]:
    if most == 1:
        return tuple(map(Bound.exactly, inputs))
    return tuple(
        Bound(
            name=spec.name,
            dtype=spec.dtype,
            shape=spec.shape,
            min_bytes=spec.nbytes(),
            max_bytes=spec.nbytes(most),
        )
        for spec in inputs
    )
