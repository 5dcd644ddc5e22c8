"""A small network that reads texts: their tokens' mean, a matrix, and names of classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgewise.preparation import TOKENIZER_KEY, TextPreparation, write_preparation

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
TOKENIZER = (VECTORS / "preparation" / "text" / "tokenizer-wordpiece.json").read_text("utf-8")
WORDS = ("red", "running", "shoes", "size", "and", "text", "a", "b", "c", "12")
LABELS = ("sport", "size", "other")
_TOKENS, _WIDTH, _HIDDEN = 92, 64, 64


def write_text_model(path: Path) -> Path:
    """Takes any number of tokens, hidden ones left out of the mean."""
    rng = np.random.default_rng(0)
    constants = {
        "words": rng.normal(0, 1, (_TOKENS, _WIDTH)),
        "inner": rng.normal(0, 0.2, (_WIDTH, _HIDDEN)),
        "outer": rng.normal(0, 0.5, (_HIDDEN, len(LABELS))),
    }
    axes = {"last": np.array([-1], np.int64), "tokens": np.array([1], np.int64)}
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["found"]),
        helper.make_node("Unsqueeze", ["attention_mask", "last"], ["wide"]),
        helper.make_node("Cast", ["wide"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["found", "seen"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "tokens"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["seen", "tokens"], ["count"], keepdims=0),
        helper.make_node("Div", ["total", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "inner"], ["mixed"]),
        helper.make_node("Tanh", ["mixed"], ["feature"]),
        helper.make_node("MatMul", ["feature", "outer"], ["logits"]),
    ]
    names = ("input_ids", "attention_mask")
    graph = helper.make_graph(
        nodes,
        "texts",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
            for name in names
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [
            *(numpy_helper.from_array(a.astype(np.float32), n) for n, a in constants.items()),
            *(numpy_helper.from_array(a, n) for n, a in axes.items()),
        ],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(
        model,
        {
            "edgewise.preparation": write_preparation(TextPreparation()),
            "edgewise.labels": json.dumps(LABELS),
            TOKENIZER_KEY: TOKENIZER,
        },
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def texts(count: int, *, seed: int = 0) -> list[str]:
    """Texts of one to twelve words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 13))) for _ in range(count)]


def write_texts(path: Path, count: int = 24) -> Path:
    """A table of texts."""
    path.write_text("\n".join(["text", *texts(count)]) + "\n")
    return path
