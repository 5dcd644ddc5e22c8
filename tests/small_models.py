"""A small network in a file, with preparation and class names, that is planned in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from unit.serving import tiny_bundle as tiny

LABELS = ("cat", "dog", "<script>alert(1)</script>", "cow", "hen")


def write_small_model(path: Path, *, opset: int = 17, side: int = tiny.SIDE) -> Path:
    """A convolution, an activation, a mean over each channel, and a matrix."""
    weights = tiny.weights()
    nodes = [
        helper.make_node("Conv", ["image", "conv", "bias"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["feature"]),
        helper.make_node("GlobalAveragePool", ["feature"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("MatMul", ["means", "gemm"], ["logits"]),
    ]
    constants = {"conv": weights.conv, "bias": weights.bias, "gemm": weights.gemm}
    model = onnx.load_from_string(tiny.network(nodes, [tiny.IMAGE], [tiny.LOGITS], constants))
    model.opset_import[0].version = opset
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = side
    helper.set_model_props(
        model,
        {
            "edgewise.preparation": json.dumps(dict(tiny.PREPARATION)),
            "edgewise.labels": json.dumps(LABELS),
        },
    )
    onnx.save(model, path)
    return path


def write_examples(path: Path, *, count: int = 12) -> Path:
    """Rows of prepared inputs in an .npz file."""
    shape = (count, 3, tiny.SIDE, tiny.SIDE)
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.savez(path, image=images)
    return path
