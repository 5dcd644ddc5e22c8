"""Networks to serve, each in a file and in a bundle, with the inputs of one request."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from edgewise.bounds import Bound
from edgewise.bundle import (
    SCHEMA,
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
from edgewise.tensors import Array, TensorSpec
from edgewise.zoo import get


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network, in a file and in a bundle, with the inputs of one request.

    Args:
        title: for tables.
        model: what its server calls it.
        path: of the network.
        bundle: folder of the bundle.
        feeds: of one request.
    """

    title: str
    model: str
    path: Path
    bundle: Path
    feeds: dict[str, Array]


def passing(folder: Path, name: str, width: int) -> Subject:
    """Hardly any computation: the first values of what came, doubled."""
    nodes = [
        helper.make_node("Slice", ["x", "start", "end", "axis"], ["first"]),
        helper.make_node("Add", ["first", "first"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 16])],
        [
            helper.make_tensor(each, TensorProto.INT64, [1], [value])
            for each, value in (("start", 0), ("end", 16), ("axis", 1))
        ],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    path = folder / f"{name}.onnx"
    path.write_bytes(model.SerializeToString())
    feeds = {"x": np.random.default_rng(0).normal(size=(1, width)).astype(np.float32)}
    return _subject(folder, name, name, path, feeds)


def fashion(folder: Path, name: str) -> Subject:
    """One image of 28 × 28."""
    image = np.random.default_rng(0).normal(size=(1, 1, 28, 28)).astype(np.float32)
    return _subject(folder, name, name, get(name), {"image": image})


def minilm(folder: Path, what: str, tokens: int) -> Subject:
    """One text."""
    ids = np.random.default_rng(0).integers(1000, 20_000, (1, tokens))
    feeds = {"input_ids": ids, "attention_mask": np.ones((1, tokens), np.int64)}
    title = f"minilm-l6, {what} of {tokens} tokens"
    return _subject(folder / what, title, "minilm-l6", get("minilm-l6"), feeds)


def engine_s(it: Subject, *, items: int = 1, threads: int = 1, seconds: float = 0.5) -> float:
    """Median of the engine alone, in this process, on arrays that are there."""
    feeds = {name: np.repeat(array, items, axis=0) for name, array in it.feeds.items()}
    times: list[float] = []
    with open_engine(it.path, threads=threads) as engine:
        engine.run(feeds)
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            engine.run(feeds)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def _subject(folder: Path, title: str, name: str, path: Path, feeds: dict[str, Array]) -> Subject:
    raw = path.read_bytes()
    with open_engine(raw) as engine:
        inputs, outputs = engine.inputs, engine.outputs
    sent = tuple(
        Bound.exactly(TensorSpec(name=each, dtype=array.dtype.name, shape=array.shape))
        for each, array in feeds.items()
    )
    manifest = Manifest(
        schema=SCHEMA,
        name=name,
        model_digest="0" * 64,
        inputs=inputs,
        outputs=outputs,
        parts=(describe_part("full", raw, side=Side.SERVER, inputs=inputs, outputs=outputs),),
        routes=(
            Route(
                name="cloud",
                kind=RouteKind.CLOUD,
                cut=tuple(feeds),
                codec=PayloadCodec.FP32,
                server_part="full",
                boundary=sent,
                coefficients=Coefficients(),
            ),
        ),
        fallback=Fallback(kind=FallbackKind.NONE),
    )
    folder.mkdir(exist_ok=True)
    bundle = write_bundle(folder / f"{name}-bundle", manifest, {"full": raw})
    return Subject(title=title, model=name, path=path, bundle=bundle.path, feeds=feeds)
