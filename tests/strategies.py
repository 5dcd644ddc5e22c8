"""Hypothesis strategies, and the small ONNX files that they and the unit tests are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

WIDTH = 4
Tensor = tuple[str, int, Sequence[int | str]]


def onnx_file(
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    **model_fields: object,
) -> bytes:
    """An ONNX file; a tensor is its name, its element type and its shape."""
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(*tensor) for tensor in inputs],
        [helper.make_tensor_value_info(*tensor) for tensor in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, **{"ir_version": 8, **model_fields})
    return model.SerializeToString()


def chain_file(*ops: str, opset: int = 17) -> bytes:
    """A chain of unary operators from ``x`` to ``y``, named after their operators."""
    names = ["x", *(f"t{i}" for i in range(len(ops) - 1)), "y"]
    nodes = [
        helper.make_node(op, [a], [b], name=f"{op.lower()}{i}")
        for i, (op, a, b) in enumerate(zip(ops, names, names[1:], strict=False))
    ]
    shape = ("N", WIDTH)
    return onnx_file(
        nodes,
        inputs=[("x", TensorProto.FLOAT, shape)],
        outputs=[("y", TensorProto.FLOAT, shape)],
        opset=opset,
    )


@dataclass
class _Build:
    """A graph while it grows; every content tensor is float32[N, WIDTH]."""

    draw: st.DrawFn
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    content: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    count: int = 0

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        output = self.fresh()
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"n_{output}", **attributes))
        return output

    def fresh(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def some(self) -> str:
        # The newest half of the time, so that long chains with true cuts occur.
        return self.draw(st.one_of(st.just(self.content[-1]), st.sampled_from(self.content)))

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = array
        return name


def _unary(build: _Build) -> str:
    return build.add(build.draw(st.sampled_from(["Relu", "Tanh", "Neg", "Sigmoid"])), build.some())


def _binary(build: _Build) -> str:
    op = build.draw(st.sampled_from(["Add", "Sub", "Max"]))
    return build.add(op, build.some(), build.some())


def _weighted(build: _Build) -> str:
    seed = build.draw(st.integers(0, 99))
    weight = np.random.default_rng(seed).normal(0, 0.4, (WIDTH, WIDTH)).astype(np.float32)
    return build.add("MatMul", build.some(), build.constant(weight))


def _split_and_join(build: _Build) -> str:
    left, right = build.fresh(), build.fresh()
    build.nodes.append(
        helper.make_node("Split", [build.some()], [left, right], name=f"n_{left}", axis=1)
    )
    return build.add("Concat", right, left, axis=1)


def _reshape_like(build: _Build) -> str:
    return build.add("Reshape", build.some(), build.add("Shape", build.some()))


def _masked(build: _Build) -> str:
    mask = build.draw(st.sampled_from(build.masks)) if build.masks else ""
    if not mask or build.draw(st.booleans()):
        mask = build.add("Greater", build.some(), build.some())
        build.masks.append(mask)
    if build.draw(st.booleans()):
        return build.add("Where", mask, build.some(), build.some())
    return build.add("Mul", build.some(), build.add("Cast", mask, to=TensorProto.FLOAT))


_PLAIN = (_unary, _unary, _binary, _weighted, _split_and_join)
_WITH_STRUCTURE = (*_PLAIN, _reshape_like, _masked)


@st.composite
def dag_files(draw: st.DrawFn, *, structure: bool = True, most: int = 9) -> bytes:
    """A random network of up to ``most`` steps with one or two inputs and outputs.

    With ``structure``, shapes and masks are computed and a mask may be an input.
    """
    build = _Build(draw=draw)
    build.content = ["x", "z"][: draw(st.integers(1, 2))]
    inputs: list[Tensor] = [(name, TensorProto.FLOAT, ("N", WIDTH)) for name in build.content]
    if structure and draw(st.booleans()):
        build.masks.append("mask")
        inputs.append(("mask", TensorProto.BOOL, ("N", WIDTH)))
    steps = st.sampled_from(_WITH_STRUCTURE if structure else _PLAIN)
    for step in draw(st.lists(steps, min_size=2, max_size=most)):
        build.content.append(step(build))
    made = [name for name in build.content if name not in ("x", "z")]
    names = {made[-1], *draw(st.lists(st.sampled_from(made), max_size=1))}
    return onnx_file(
        build.nodes,
        inputs=inputs,
        outputs=[(name, TensorProto.FLOAT, ("N", WIDTH)) for name in sorted(names)],
        weights=build.weights,
    )


@st.composite
def reordered(draw: st.DrawFn, file: bytes) -> bytes:
    """The same network with its nodes in another order in which they can run."""
    model = onnx.load_model_from_string(file)
    waiting = list(model.graph.node)
    ready = {value.name for value in (*model.graph.input, *model.graph.initializer)}
    order: list[onnx.NodeProto] = []
    while waiting:
        able = [node for node in waiting if set(node.input) <= ready]
        node = able[draw(st.integers(0, len(able) - 1))]
        waiting.remove(node)
        ready.update(node.output)
        order.append(node)
    del model.graph.node[:]
    model.graph.node.extend(order)
    return model.SerializeToString()
