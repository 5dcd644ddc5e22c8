"""Count multiply-accumulates three ways: edgewise, onnx-tool, and from what onnxruntime ran.

All give sums by operator type, of the multiplications inside convolutions, matrix products and
recurrent cells; no bias, no activation.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from support.foreign_networks import make_feeds

CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv")
PRODUCTS = ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul")
CELLS = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")
OPS = (*CONVOLUTIONS, "ConvTranspose", *PRODUCTS, *CELLS, "Einsum")

Macs = dict[str, int]
Shape = list[int]


def count_ours(job: dict[str, Any]) -> Macs:
    from edgewise.graphs import load
    from edgewise.profiling import count

    model = load(job["source"])
    shapes = feed_shapes(job)
    axes = {
        name: size
        for spec in model.inputs
        for name, size in zip(spec.shape, shapes[spec.name], strict=True)
        if isinstance(name, str)
    }
    profile = count(model, axes=axes)
    sums: Counter[str] = Counter()
    for node in profile.nodes:
        sums[node.op] += node.macs
    return {op: macs for op, macs in sums.items() if macs}


def count_onnx_tool(job: dict[str, Any]) -> Macs:
    import onnx_tool

    model = onnx_tool.Model(job["source"], {"constant_folding": True})
    model.graph.shape_infer(read_feeds(job))
    model.graph.profile()
    sums: Counter[str] = Counter()
    for node in model.graph.nodemap.values():
        if node.op_type in OPS:
            sums[node.op_type] += _without_extras(node, model.graph.tensormap)
    return {op: macs for op, macs in sums.items() if macs}


def _without_extras(node: Any, tensors: Any) -> int:
    """Its figure without the additions of a bias, and without a cell's activations."""
    shapes = [list(tensors[name].get_shape()) if name else [] for name in node.input]
    if node.op_type in CELLS:
        steps, batch = shapes[0][:2]
        return int((math.prod(shapes[1]) + math.prod(shapes[2])) * steps * batch)
    macs = int(node.macs[0] if isinstance(node.macs, (list, tuple)) else node.macs)
    bias_at = {"QLinearConv": 9, "ConvInteger": 0, "QLinearMatMul": 0}.get(node.op_type, 3)
    if len(node.input) == bias_at:
        macs -= math.prod(tensors[node.output[0]].get_shape())
    return macs


def count_seen(job: dict[str, Any]) -> Macs:
    """From the shapes that onnxruntime's profiler wrote down, bodies of control flow included.

    Where an input decides which branch runs, the dearest of a few runs counts, as with ours.
    """
    return max(
        (_seen_once(job, seed) for seed in job["seeds"]), key=lambda sums: sum(sums.values())
    )


def _seen_once(job: dict[str, Any], seed: int) -> Macs:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Weights that are packed while loading would be missing in what the profiler writes down.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(job["folder"]) / "seen")
    session = ort.InferenceSession(job["source"], options, providers=["CPUExecutionProvider"])
    session.run(None, read_feeds(job, seed))
    log = Path(session.end_profiling())
    events = json.loads(log.read_text(encoding="utf-8"))
    log.unlink()
    constant = constant_nodes(onnx.load(job["source"]).graph)
    sums: Counter[str] = Counter()
    for event in events:
        args = event.get("args", {})
        op = args.get("op_name")
        name = event["name"].removesuffix("_kernel_time")
        if event["cat"] == "Node" and op in OPS and name not in constant:
            given, made = (
                [next(iter(one.values())) for one in args[f"{side}_type_shape"]]
                for side in ("input", "output")
            )
            sums[op] += _macs_of(op, given, made[0] if made else [])
    return {op: macs for op, macs in sums.items() if macs}


def _macs_of(op: str, given: list[Shape], made: Shape) -> int:
    if op in CONVOLUTIONS:  # one output element sums over [in / groups, kernel…]
        return math.prod(made) * math.prod(given[3 if op == "QLinearConv" else 1][1:])
    if op == "ConvTranspose":  # one input element is spread over [out / groups, kernel…]
        return math.prod(given[0]) * math.prod(given[1][1:])
    if op == "Gemm":  # A is [M, K] or [K, M]
        return math.prod(made) * math.prod(given[0]) // made[0]
    if op in PRODUCTS:
        return math.prod(made) * given[0][-1]
    if op in CELLS:  # input [steps, batch, in]; every weight is used once a step
        return math.prod(given[0][:2]) * (math.prod(given[1]) + math.prod(given[2]))
    raise RuntimeError(f"no formula for {op}")


def constant_nodes(graph: Any) -> set[str]:
    """Names of the nodes that depend on no input: an engine computes them while loading."""
    depends = {value.name for value in graph.input} - {one.name for one in graph.initializer}
    constant = set()
    for node in graph.node:
        bodies = any(a.HasField("g") or a.graphs for a in node.attribute)
        if bodies or depends.intersection(node.input):
            depends.update(node.output)
        else:
            constant.add(node.name)
    return constant


def read_feeds(job: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    import onnxruntime as ort

    session = ort.InferenceSession(job["source"], providers=["CPUExecutionProvider"])
    limits = {name: tuple(pair) for name, pair in job["limits"].items()}
    rng = np.random.default_rng(seed)
    return make_feeds(session.get_inputs(), rng, axes=job["axes"], limits=limits)


def feed_shapes(job: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: np.shape(array) for name, array in read_feeds(job).items()}
