"""Whatever the bytes of an ONNX file are, loading gives a network or says why not."""

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgewise.errors import BadInput
from edgewise.graphs import find_cuts, load
from edgewise.profiling.counting import count
from strategies import dag_files, onnx_file

FLOAT = TensorProto.FLOAT


def _seed(opset: int) -> bytes:
    """A file with a bit of everything: weights, a branch, metadata, computed shapes."""
    then = helper.make_graph(
        [helper.make_node("Relu", ["r"], ["t"])],
        "then",
        [],
        [helper.make_tensor_value_info("t", FLOAT, ("N", 2, 8))],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["r"], ["e"])],
        "else",
        [],
        [helper.make_tensor_value_info("e", FLOAT, ("N", 2, 8))],
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Shape", ["c"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["c", "target"], ["r"]),
        helper.make_node("If", ["flag"], ["y"], then_branch=then, else_branch=other),
    ]
    raw = onnx_file(
        nodes,
        inputs=[("x", FLOAT, ("N", 1, 4, 2)), ("flag", TensorProto.BOOL, ())],
        outputs=[("y", FLOAT, ("N", 2, 8))],
        weights={
            "w": np.ones((2, 1, 3, 3), np.float32),
            "first": np.array([0]),
            "rest": np.array([2, 8]),
        },
        opset=opset,
    )
    file = onnx.load_model_from_string(raw)
    helper.set_model_props(file, {"edgewise.labels": '["a", "b"]'})
    return bytes(file.SerializeToString())


SEEDS = tuple(map(_seed, (9, 17)))


def _survives(raw: bytes) -> None:
    with contextlib.suppress(BadInput):
        model = load(raw)
        find_cuts(model)
        count(model)


@pytest.mark.parametrize("raw", SEEDS, ids=["opset 9", "opset 17"])
def test_the_seeds_themselves_load(raw: bytes) -> None:
    model = load(raw)
    assert find_cuts(model)
    assert count(model).macs == 2 * 8 * 9


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutated_files(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    _survives(bytes(raw))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(dag_files(), st.data())
def test_spliced_files(raw: bytes, data: st.DataObject) -> None:
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(raw))] * 2)))
    other = data.draw(st.sampled_from(SEEDS))
    from_, to = sorted(data.draw(st.tuples(*[st.integers(0, len(other))] * 2)))
    _survives(raw[:start] + other[from_:to] + raw[end:])


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    _survives(raw)
