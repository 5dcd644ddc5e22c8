"""Does `edgewise inspect` answer within 10 s for graphs of 10 000 nodes?

Run: python benchmarks/large_graphs.py [--nodes 10000] [--json FILE] [--md FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support.report import Findings, Goal, Table, main

GOAL_S = 10.0
TIME_OUT_S = 120
WIDTH = 8
COLUMNS = ("graph", "nodes", "s", "found")

Nodes = list[onnx.NodeProto]


def chain(count: int) -> tuple[Nodes, str]:
    """One after the other: every tensor is a cut."""
    ops = ("Relu", "Sigmoid", "Tanh", "Softsign")
    nodes = [
        helper.make_node(ops[at % len(ops)], [f"t{at}"], [f"t{at + 1}"]) for at in range(count)
    ]
    return nodes, f"t{count}"


def layers(count: int) -> tuple[Nodes, str]:
    """A weight and an activation in turn, as a very deep network has."""
    nodes: Nodes = []
    for at in range(0, count, 2):
        nodes.append(helper.make_node("MatMul", [f"t{at}", f"w{at % 64}"], [f"t{at + 1}"]))
        nodes.append(helper.make_node("Tanh", [f"t{at + 1}"], [f"t{at + 2}"]))
    return nodes, f"t{2 * ((count + 1) // 2)}"


def residual(count: int) -> tuple[Nodes, str]:
    """Blocks with a way around them: many frontiers of two tensors."""
    nodes: Nodes = []
    for at in range(0, count, 3):
        nodes.append(helper.make_node("Sigmoid", [f"t{at}"], [f"a{at}"]))
        nodes.append(helper.make_node("Tanh", [f"a{at}"], [f"b{at}"]))
        nodes.append(helper.make_node("Add", [f"t{at}", f"b{at}"], [f"t{at + 3}"]))
    return nodes, f"t{3 * ((count + 2) // 3)}"


def branches(count: int) -> tuple[Nodes, str]:
    """A hundred long ways side by side: frontiers of three tensors are nowhere."""
    ways = 100
    nodes: Nodes = []
    for way in range(ways):
        for at in range(count // ways):
            source = f"w{way}_{at}" if at else "t0"
            nodes.append(helper.make_node("Sin", [source], [f"w{way}_{at + 1}"]))
    ends = [f"w{way}_{count // ways}" for way in range(ways)]
    nodes.append(helper.make_node("Concat", ends, ["end"], axis=1))
    return nodes, "end"


def three_ways(count: int) -> tuple[Nodes, str]:
    """Three long ways side by side: the number of frontiers of three grows with the cube."""
    nodes: Nodes = []
    for way in range(3):
        for at in range(count // 3):
            source = f"w{way}_{at}" if at else "t0"
            nodes.append(helper.make_node("Cos", [source], [f"w{way}_{at + 1}"]))
    nodes.append(helper.make_node("Sum", [f"w{way}_{count // 3}" for way in range(3)], ["end"]))
    return nodes, "end"


SHAPES: dict[str, Callable[[int], tuple[Nodes, str]]] = {
    "chain": chain,
    "weights and activations": layers,
    "residual blocks": residual,
    "a hundred branches": branches,
    "three long branches": three_ways,
}


def build(make: Callable[[int], tuple[Nodes, str]], count: int) -> onnx.ModelProto:
    nodes, last = make(count)
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(
            rng.standard_normal((WIDTH, WIDTH)).astype(np.float32) / WIDTH, f"w{at}"
        )
        for at in range(0, 64, 2)
    ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", None])],
        [weight for weight in weights if weight.name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def inspect(path: Path) -> tuple[float, str]:
    """Seconds, and what it says."""
    start_s = time.perf_counter()
    command = [sys.executable, "-m", "edgewise.cli", "inspect", str(path), "--json"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIME_OUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return float(TIME_OUT_S), f"nothing in {TIME_OUT_S} s"
    seconds = time.perf_counter() - start_s
    if done.returncode != 0:
        return seconds, (done.stderr.strip().splitlines() or ["nothing"])[-1][:160]
    found = json.loads(done.stdout)
    frontiers = found.get("frontiers", {})
    bound = "" if frontiers.get("complete", True) else ", frontiers up to the stated bound"
    return seconds, f"{len(found['cuts'])} cuts, {len(frontiers.get('cuts', ()))} frontiers{bound}"


def measure(args: argparse.Namespace) -> Findings:
    rows, goals = [], []
    with tempfile.TemporaryDirectory(prefix="large-") as folder:
        for name, make in SHAPES.items():
            path = Path(folder) / f"{name.replace(' ', '-')}.onnx"
            model = build(make, args.nodes)
            onnx.save(model, path)
            seconds, found = inspect(path)
            rows.append((name, str(len(model.graph.node)), f"{seconds:.1f}", found))
            goals.append(
                Goal(
                    what=f"inspect, {name}, {len(model.graph.node):,} nodes",
                    goal=f"at most {GOAL_S:g} s",
                    measured=f"{seconds:.1f} s",
                    met=seconds <= GOAL_S and " cuts, " in found,
                )
            )
    return Findings(
        title="Inspecting graphs of 10 000 nodes",
        goals=goals,
        tables=[Table(title="By form", columns=COLUMNS, rows=rows)],
        notes=(f"`edgewise inspect FILE --json`, start of Python included; {WIDTH} channels",),
        data={"graphs": [dict(zip(COLUMNS, row, strict=True)) for row in rows]},
    )


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, default=10_000)


if __name__ == "__main__":
    sys.exit(main(measure, packages=("onnx", "onnx-ir", "numpy"), configure=configure))
