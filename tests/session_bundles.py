"""Bundles for sessions: the tiny network with the routes and the fallback that a test wants."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgewise.bundle import (
    Bundle,
    Coefficients,
    Fallback,
    FallbackKind,
    Part,
    Quality,
    Side,
    describe_part,
    write_bundle,
)
from edgewise.tensors import TensorSpec
from unit.serving import tiny_bundle as tiny

REMOTE = (
    "split-fp32",
    "split-fp16",
    "split-int8",
    "cloud-raw",
    "cloud-png",
    "cloud-jpeg",
    "cloud-webp",
)
HEADS = {"split-fp16": "head-half", "split-int8": "head-byte"}
AGREEMENT = Quality(metric="agreement", value=0.75, low=0.5, high=1.0, n=4)


def session_bundle(
    folder: Path,
    *routes: str,
    fallback: bool = True,
    seed: int = 0,
    name: str = "tiny",
    version: int = 1,
) -> Bundle:
    """A bundle with these routes of the tiny network in this order; the first is predicted best.

    The local route's quality is ``AGREEMENT``, so that tests see whose quality an answer states.
    """
    with tempfile.TemporaryDirectory() as staging:
        whole = tiny.write_tiny_bundle(
            Path(staging) / "bundle", seed=seed, name=name, version=version
        )
        raw = {part.name: whole.read_part(part.name) for part in whole.manifest.parts}
    heads = _packing_heads(seed)
    chosen = [
        replace(
            whole.manifest.route(route),
            device_part=HEADS.get(route, whole.manifest.route(route).device_part),
            # The tiny network takes no time here: a plan in which the cloud still pays.
            coefficients=Coefficients(
                device_s=10.0 if i and route == "local" else 0.001 * (i + 1)
            ),
            quality=AGREEMENT if route == "local" else None,
        )
        for i, route in enumerate(routes)
    ]
    kind = FallbackKind.FULL if fallback else FallbackKind.NONE
    manifest = replace(
        whole.manifest,
        parts=(*whole.manifest.parts, *(part for part, _ in heads)),
        routes=tuple(chosen),
        fallback=Fallback(kind=kind, part="full" if fallback else None),
    )
    return write_bundle(folder, manifest, raw | {part.name: head for part, head in heads})


def _packing_heads(seed: int) -> list[tuple[Part, bytes]]:
    """Device halves that give FP16 and INT8; the tiny bundle has the server's halves alone."""
    w = tiny.weights(seed)
    head = [
        helper.make_node("Conv", ["image", "conv", "bias"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["feature"]),
    ]
    cast = helper.make_node("Cast", ["feature"], ["half"], to=TensorProto.FLOAT16)
    quantize = helper.make_node("QuantizeLinear", ["feature", "scale", "zero"], ["byte"])
    scales = {
        "scale": np.float32(tiny.SCALE).reshape(()),
        "zero": np.int8(tiny.ZERO).reshape(()),
    }
    conv = {"conv": w.conv, "bias": w.bias}
    return [
        _head(
            "head-half", [*head, cast], replace(tiny.FEATURE, name="half", dtype="float16"), conv
        ),
        _head(
            "head-byte",
            [*head, quantize],
            replace(tiny.FEATURE, name="byte", dtype="int8"),
            conv | scales,
        ),
    ]


def _head(
    name: str,
    nodes: list[onnx.NodeProto],
    gives: TensorSpec,
    constants: dict[str, np.ndarray],
) -> tuple[Part, bytes]:
    raw = tiny.network(nodes, [tiny.IMAGE], [gives], constants)
    part = describe_part(name, raw, side=Side.DEVICE, inputs=(tiny.IMAGE,), outputs=(gives,))
    return part, raw


def image(seed: int = 1) -> np.ndarray:
    """An input of the tiny network."""
    return np.random.default_rng(seed).normal(size=tiny.IMAGE.concrete()).astype(np.float32)


def photo(seed: int = 1) -> np.ndarray:
    """A photo, as pixels, that needs no resizing."""
    shape = (tiny.SIDE, tiny.SIDE, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def logits_of(value: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """What the tiny network gives for an image or a photo, by numpy alone."""
    if value.dtype == np.uint8:
        value = (value.astype(np.float32).transpose(2, 0, 1)[None] - 127) / 128
    weights = tiny.weights(seed)
    return weights.logits(weights.feature(value))


def differing_bundle(folder: Path, *routes: str, seed: int = 9) -> Bundle:
    """Like :func:`session_bundle`, but the device's own network has weights of another seed."""
    with tempfile.TemporaryDirectory() as staging:
        same = session_bundle(Path(staging) / "same", *routes)
        raw = {part.name: same.read_part(part.name) for part in same.manifest.parts}
        other = tiny.write_tiny_bundle(Path(staging) / "other", seed=seed)
        raw["small"] = other.read_part("full")
    small = describe_part(
        "small", raw["small"], side=Side.DEVICE, inputs=(tiny.IMAGE,), outputs=tiny.OUTPUTS
    )
    manifest = replace(
        same.manifest,
        parts=(*same.manifest.parts, small),
        routes=tuple(
            replace(route, device_part="small") if route.name == "local" else route
            for route in same.manifest.routes
        ),
        fallback=Fallback(kind=FallbackKind.SMALL, part="small"),
    )
    return write_bundle(folder, manifest, raw)
