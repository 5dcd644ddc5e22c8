"""Networks to be inspected: hostile names, unknown shapes, bodies, text, thousands of nodes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

EVIL = "</script><img src=x onerror=alert(1)>\x1b[31m\u2028'\"&{{7*7}}"


def _bytes(graph: onnx.GraphProto) -> bytes:
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()


def _floats(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def chain(length: int, *, prefix: str = "t", width: int = 8) -> bytes:
    """``length`` nodes one after the other; every third one is a matrix product."""
    weight = numpy_helper.from_array(np.eye(width, dtype=np.float32), "w")
    nodes, last = [], "x"
    for i in range(length):
        out = f"{prefix}{i}"
        if i % 3:
            nodes.append(helper.make_node("Relu", [last], [out], name=f"{prefix}node{i}"))
        else:
            nodes.append(helper.make_node("MatMul", [last, "w"], [out], name=f"{prefix}node{i}"))
        last = out
    ends = [_floats("x", "n", width)], [_floats(last, "n", width)]
    return _bytes(helper.make_graph(nodes, "g", *ends, [weight]))


def web(length: int) -> bytes:
    """A network without a chain: every node adds two earlier tensors."""
    rng = np.random.default_rng(0)
    names, nodes = ["x"], []
    for i in range(length):
        near = names[-20:]
        pair = [near[-1], near[int(rng.integers(len(near)))]]
        nodes.append(helper.make_node("Add", pair, [f"t{i}"], name=f"n{i}"))
        names.append(f"t{i}")
    ends = [_floats("x", 1, 4)], [_floats(names[-1], 1, 4)]
    return _bytes(helper.make_graph(nodes, "g", *ends))


def words() -> bytes:
    """A network of words: an embedding, its sum over the sentence, a matrix."""
    table = numpy_helper.from_array(np.ones((50, 16), np.float32), "table")
    weight = numpy_helper.from_array(np.ones((16, 4), np.float32), "w")
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], name="embed"),
        helper.make_node("ReduceMean", ["rows"], ["mean"], name="mean", axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["y"], name="project"),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "words"])
    graph = helper.make_graph(nodes, "g", [ids], [_floats("y", "batch", 4)], [table, weight])
    return _bytes(graph)


def data_sized() -> bytes:
    """A matrix product, then a tensor whose size only the data tells."""
    weight = numpy_helper.from_array(np.ones((4, 6), np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="project"),
        helper.make_node("NonZero", ["h"], ["places"], name="where"),
        helper.make_node("Cast", ["places"], ["y"], name="cast", to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes, "g", [_floats("x", 2, 4)], [_floats("y", 2, "found")], [weight]
    )
    return _bytes(graph)


def misfit() -> bytes:
    """A matrix product that fits at one size of an axis that is said to be open."""
    weight = numpy_helper.from_array(np.ones((4, 6), np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="project"),
        helper.make_node("Relu", ["h"], ["y"], name="relu"),
    ]
    return _bytes(
        helper.make_graph(nodes, "g", [_floats("x", 2, "n")], [_floats("y", 2, 6)], [weight])
    )


def looping() -> bytes:
    """A Loop of unknown length with two nodes in its body."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "state"], ["next"]),
            helper.make_node("Identity", ["on"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            _floats("state", 1, 4),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), _floats("next", 1, 4)],
    )
    times = helper.make_tensor_value_info("times", TensorProto.INT64, [])
    node = helper.make_node("Loop", ["times", "", "x"], ["y"], name="again", body=body)
    graph = helper.make_graph([node], "g", [times, _floats("x", 1, 4)], [_floats("y", 1, 4)])
    return _bytes(graph)
