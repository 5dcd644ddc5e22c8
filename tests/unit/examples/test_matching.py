"""Examples beside what the model takes, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.examples import load_examples
from edgewise.graphs import load
from edgewise.preparation import ImagePreparation
from edgewise.tensors import TensorSpec

IDS = TensorSpec(name="ids", dtype="int64", shape=("N", "L"))
MASK = TensorSpec(name="mask", dtype="int64", shape=("N", "L"))
STATE = TensorSpec(name="state", dtype="float32", shape=(2, "N", 4))
RATE = TensorSpec(name="rate", dtype="int64", shape=())
ROWS = np.ones((3, 5), np.int64)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


def test_arrays_that_fit_are_taken(tmp_path: Path) -> None:
    path = saved(tmp_path, ids=ROWS, mask=ROWS, y=np.arange(3))
    examples = load_examples(path, inputs=[IDS, MASK])
    assert {name: array.shape for name, array in examples.feeds(2).items()} == {
        "ids": (1, 5),
        "mask": (1, 5),
    }


def test_scalars_and_states_are_given_whole(tmp_path: Path) -> None:
    states = np.random.default_rng(0).normal(size=(3, 2, 1, 4)).astype(np.float32)
    path = saved(tmp_path, ids=ROWS, state=states, rate=np.array([8, 16, 16]))
    feeds = load_examples(path, inputs=[IDS, STATE, RATE]).feeds(1)
    np.testing.assert_array_equal(feeds["state"], states[1])
    assert feeds["rate"].shape == ()
    assert feeds["rate"] == 16


def test_rows_may_have_their_batch_of_one(tmp_path: Path) -> None:
    feeds = load_examples(saved(tmp_path, ids=ROWS[:, np.newaxis]), inputs=[IDS]).feeds(1)
    assert feeds["ids"].shape == (1, 5)


def test_a_models_only_input_takes_the_only_array(tmp_path: Path) -> None:
    assert list(load_examples(saved(tmp_path, rows=ROWS), inputs=[IDS]).feeds(0)) == ["ids"]


def test_an_input_called_y_is_no_label(tmp_path: Path) -> None:
    y = TensorSpec(name="y", dtype="int64", shape=("N", "L"))
    examples = load_examples(saved(tmp_path, ids=ROWS, y=ROWS), inputs=[IDS, y])
    assert sorted(examples.feeds(0)) == ["ids", "y"]
    assert examples.labels == (None,) * 3


@pytest.mark.parametrize(
    ("arrays", "inputs", "words"),
    [
        ({"ids": ROWS}, [IDS, MASK], r"inputs \(ids, mask\) in the arrays .* found none for mask"),
        ({"ids": ROWS, "mask": ROWS, "more": ROWS}, [IDS, MASK], "found also more; name each"),
        ({"a": ROWS, "b": ROWS}, [IDS, MASK], "found none for ids, mask, also a, b"),
        ({"ids": ROWS.astype(np.int32)}, [IDS], r"int64 .* found int32; .* astype\('int64'\)"),
        ({"ids": ROWS.astype(float)}, [IDS], "int64 for the input 'ids' .* found float64"),
        ({"ids": np.ones((3, 5, 2), int)}, [IDS], r"shape \[N, L\] .* found \[1, 5, 2\]"),
        ({"ids": np.ones((3, 1, 5, 1), int)}, [IDS], r"found \[1, 1, 5, 1\]"),
        ({"ids": np.ones((3, 0), int)}, [IDS], r"shape \[N, L\] .* found \[1, 0\]"),
        (
            {"ids": ROWS, "mask": ROWS[:, :4]},
            [IDS, MASK],
            "one size of the model's axis 'L' .* found 5 in 'ids' and 4 in 'mask'",
        ),
        (
            {"x": np.ones((3, 4), np.float32)},
            [TensorSpec(name="x", dtype="float32", shape=(8, 4))],
            "takes one example at a time .* found a fixed batch of 8 in its input 'x'",
        ),
        (
            {"x": np.ones((3, 4), np.float32)},
            [TensorSpec(name="x", dtype="float32", shape=("N", 6))],
            r"shape \[N, 6\] for the input 'x' .* found \[1, 4\] for each example",
        ),
        (
            {"state": np.ones((3, 2, 2, 4), np.float32), "ids": ROWS},
            [IDS, STATE],
            "axis 'N' .* found 1 in 'ids' and 2 in 'state'",
        ),
    ],
)
def test_arrays_that_the_model_cannot_take_are_refused(
    tmp_path: Path, arrays: dict[str, Any], inputs: list[TensorSpec], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        load_examples(saved(tmp_path, **arrays), inputs=inputs)


def test_photos_fill_one_input_of_the_right_size(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    made = ImagePreparation(input="image", height=4, width=6, mean=(0, 0, 0), scale=(1, 1, 1))
    fitting = TensorSpec(name="image", dtype="float32", shape=("N", 3, 4, 6))
    assert len(load_examples(tmp_path, made, inputs=[fitting])) == 1
    larger = TensorSpec(name="image", dtype="float32", shape=("N", 3, 8, 8))
    with pytest.raises(BadInput, match=r"\[N, 3, 8, 8\] .* found \[1, 3, 4, 6\]"):
        load_examples(tmp_path, made, inputs=[larger])
    with pytest.raises(BadInput, match=r"the photos of .* found none for ids"):
        load_examples(tmp_path, made, inputs=[fitting, IDS])
    with pytest.raises(BadInput, match="found none for image, also other"):
        load_examples(tmp_path, made, input_name="other", inputs=[fitting])


def test_pixels_are_checked_as_they_will_be_prepared(tmp_path: Path) -> None:
    grey = ImagePreparation(input="x", height=4, width=4, mode="L", mean=(0,), scale=(255,))
    path = saved(tmp_path, x=np.zeros((3, 9, 9), np.uint8))
    wanted = TensorSpec(name="x", dtype="float32", shape=("N", 1, 4, 4))
    assert load_examples(path, grey, inputs=[wanted]).feeds(0)["x"].shape == (1, 1, 4, 4)
    with pytest.raises(BadInput, match=r"float32 for the input 'x' .* found uint8"):
        load_examples(path, inputs=[wanted])


@pytest.mark.engine
def test_what_is_accepted_runs_in_an_engine(tmp_path: Path) -> None:
    """A network with three inputs: ids, a state whose batch is second, and a scalar."""
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.FLOAT, ["N", 4]),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, [2, "N", 4]),
        helper.make_tensor_value_info("rate", TensorProto.FLOAT, []),
    ]
    nodes = [
        helper.make_node("Add", ["ids", "state"], ["sum"]),
        helper.make_node("Mul", ["sum", "rate"], ["out"]),
    ]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2, "N", 4])]
    graph = helper.make_graph(nodes, "net", inputs, outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "net.onnx")
    model = load(tmp_path / "net.onnx")
    random = np.random.default_rng(0)
    arrays = {
        "ids": random.normal(size=(3, 4)).astype(np.float32),
        "state": random.normal(size=(3, 2, 1, 4)).astype(np.float32),
        "rate": np.array([1, 2, 3], np.float32),
    }
    examples = load_examples(saved(tmp_path, **arrays), inputs=model.inputs)
    with open_engine(tmp_path / "net.onnx") as engine:
        for row, feeds in enumerate(examples):
            expected = (arrays["ids"][row] + arrays["state"][row]) * arrays["rate"][row]
            np.testing.assert_allclose(engine.run(feeds)["out"], expected, rtol=1e-6)
