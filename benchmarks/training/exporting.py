"""Write a network as ONNX, with the metadata edgewise reads, and check the file.

BatchNormalization stays a node of its own: the network is exported in evaluation mode, but with
the training setting preserved and without constant folding, so that the exporter does not merge it
into the convolution.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from fashion import LABELS, MEAN, SCALE, Part, normalised
from numpy.typing import NDArray
from torch import nn

OPSET = 17
MAX_IR_VERSION = 10
MAX_BYTES = 1_500_000
MAX_DIFFERENCE = 1e-4
LICENCE = "Apache-2.0 (weights trained by this project; data Fashion-MNIST, MIT, Zalando SE)"
PREPARATION = {
    "schema": 1,
    "kind": "image",
    "input": "image",
    "height": 28,
    "width": 28,
    "mode": "L",
    "crop_fraction": 1.0,
    "resample": "bicubic",
    "mean": [MEAN],
    "scale": [SCALE],
    "layout": "CHW",
}


def metadata() -> dict[str, str]:
    """What the ONNX file says of itself."""
    return {
        "edgewise.preparation": json.dumps(PREPARATION, separators=(",", ":")),
        "edgewise.labels": json.dumps(LABELS, separators=(",", ":")),
        "edgewise.licence": LICENCE,
    }


def export(network: nn.Module, path: Path) -> None:
    """Write the network, then its metadata, then check what was written."""
    network.eval().to(memory_format=torch.contiguous_format)
    torch.onnx.export(
        network,
        (torch.zeros(2, 1, 28, 28),),
        str(path),
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
        opset_version=OPSET,
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        dynamo=False,
    )
    describe(path)
    check(network, path)


def share_equal_weights(graph: onnx.GraphProto) -> None:
    """Let nodes read a weight itself where the exporter put an Identity for an equal one.

    Two normalisations that meet in an addition get the same gradient, so their biases are equal.
    """
    weights = {weight.name for weight in graph.initializer}
    copies = [
        node for node in graph.node if node.op_type == "Identity" and node.input[0] in weights
    ]
    source = {copy.output[0]: copy.input[0] for copy in copies}
    for copy in copies:
        graph.node.remove(copy)
    for node in graph.node:
        node.input[:] = [source.get(name, name) for name in node.input]


def describe(path: Path) -> None:
    """Name and tidy the graph, drop the exporter's notes on source files, set the metadata."""
    model = onnx.load(path)
    model.graph.name = path.stem
    share_equal_weights(model.graph)
    for node in model.graph.node:
        node.ClearField("doc_string")
    onnx.helper.set_model_props(model, metadata())
    onnx.save(model, path)


def check(network: nn.Module, path: Path) -> None:
    """Raise unless the file is valid, small, and answers as torch does, for batches of 1 and 7."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    if model.ir_version > MAX_IR_VERSION or path.stat().st_size > MAX_BYTES:
        raise ValueError(
            f"{path.name}: IR version {model.ir_version}, {path.stat().st_size} bytes"
        )
    for batch in (1, 7):
        images = torch.randn(batch, 1, 28, 28, generator=torch.Generator().manual_seed(batch))
        difference = float(
            np.abs(logits(path, images.numpy()) - torch_logits(network, images)).max()
        )
        print(f"{path.name}: batch {batch}, largest difference from torch {difference:.2e}")
        if difference > MAX_DIFFERENCE:
            raise ValueError(f"{path.name}: logits differ from torch by {difference}")


@torch.inference_mode()
def torch_logits(network: nn.Module, images: torch.Tensor) -> NDArray[np.float32]:
    """The network's own answer."""
    return network(images).numpy()


def logits(path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The answer of the ONNX file in onnxruntime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"image": images})[0]


def onnx_accuracy(path: Path, part: Part) -> float:
    """The share of images that the ONNX file puts in the right class."""
    found = logits(path, normalised(part.images)).argmax(1)
    return float((found == part.labels).mean())
