"""Build EfficientNet-Lite as ONNX from the weights of a torch state dict.

Sources: M. Tan, Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks", arXiv:1905.11946, table 1 for the blocks and section 3.3 for the scaling; the Lite
changes (no squeeze-excite, ReLU6, stem, head and the first and last stage not deepened) from
github.com/tensorflow/tpu, models/official/efficientnet/lite.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewise.zoo.assembling import assemble
from edgewise.zoo.given_weights import GivenWeights, Weights, other_network
from edgewise.zoo.lite_scales import LiteScale

BATCH_AXIS = "n"
CLASSES = 1_000

_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1_280
_CHANNEL_STEP = 8
_NETWORK = "this EfficientNet-Lite"
_BATCH_NORM_EPSILON = 1e-3
"""The Lite checkpoints were trained with it: ``batch_norm_epsilon`` of the repository above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """Blocks of one shape; only the first one takes the stride."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Convolution:
    """One convolution with its batch normalisation; ``weight`` and ``norm`` in the state dict."""

    name: str
    weight: str
    norm: str
    channels: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    relu6: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    """A tensor of the graph: its name, channels, and height (which is its width too)."""

    name: str
    channels: int
    side: int


_STAGES = (
    _Stage(repeats=1, kernel=3, stride=1, expand=1, channels=16),
    _Stage(repeats=2, kernel=3, stride=2, expand=6, channels=24),
    _Stage(repeats=2, kernel=5, stride=2, expand=6, channels=40),
    _Stage(repeats=3, kernel=3, stride=2, expand=6, channels=80),
    _Stage(repeats=3, kernel=5, stride=1, expand=6, channels=112),
    _Stage(repeats=4, kernel=5, stride=2, expand=6, channels=192),
    _Stage(repeats=1, kernel=3, stride=1, expand=6, channels=320),
)


def build_efficientnet_lite(
    weights: Weights, scale: LiteScale, *, name: str, metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """The network with batch normalisation folded into the convolutions.

    Args:
        weights: the state dict, with the names of the package ``efficientnet-lite-pytorch``.
        scale: which of the Lite networks it is.
        name: the name of the graph.
        metadata: what goes into ``metadata_props``.

    Returns:
        FP32, opset 17, ``image`` [n, 3, resolution, resolution] to ``logits`` [n, 1000].

    Raises:
        BadInput: when a weight is missing, left over, of another shape, or not finite.
    """
    graph = _Graph(weights)
    value = _Value(name="image", channels=3, side=scale.resolution)
    value = graph.convolution(
        value,
        _Convolution(
            name="stem",
            weight="_conv_stem",
            norm="_bn0",
            channels=_STEM_CHANNELS,
            kernel=3,
            stride=2,
        ),
    )
    for index, stage in enumerate(_blocks(scale)):
        value = _add_block(graph, value, stage, index)
    value = graph.convolution(
        value,
        _Convolution(name="head", weight="_conv_head", norm="_bn1", channels=_HEAD_CHANNELS),
    )
    graph.classifier(value)
    return graph.finish(name=name, resolution=scale.resolution, metadata=metadata)


def _blocks(scale: LiteScale) -> Iterator[_Stage]:
    """Each block of the network as a stage of one repeat."""
    for position, stage in enumerate(_STAGES):
        fixed = position in (0, len(_STAGES) - 1)
        repeats = stage.repeats if fixed else math.ceil(stage.repeats * scale.depth)
        for repeat in range(repeats):
            yield _Stage(
                repeats=1,
                kernel=stage.kernel,
                stride=stage.stride if repeat == 0 else 1,
                expand=stage.expand,
                channels=_scaled_channels(stage.channels, scale.width),
            )


def _scaled_channels(channels: int, width: float) -> int:
    """To the nearest multiple of 8, but never more than a tenth down (``round_filters``)."""
    wanted = channels * width
    nearest = int(wanted + _CHANNEL_STEP / 2) // _CHANNEL_STEP * _CHANNEL_STEP
    result = max(_CHANNEL_STEP, nearest)
    return result + _CHANNEL_STEP if result < 0.9 * wanted else result


def _add_block(graph: _Graph, source: _Value, block: _Stage, index: int) -> _Value:
    """Expand, filter each channel, project; added to the input where the shapes agree."""
    name, prefix = f"block{index}", f"_blocks.{index}."
    value, expanded = source, source.channels * block.expand
    if block.expand > 1:
        expand = _Convolution(
            name=f"{name}/expand",
            weight=f"{prefix}_expand_conv",
            norm=f"{prefix}_bn0",
            channels=expanded,
        )
        value = graph.convolution(value, expand)
    depthwise = _Convolution(
        name=f"{name}/depthwise",
        weight=f"{prefix}_depthwise_conv",
        norm=f"{prefix}_bn1",
        channels=expanded,
        kernel=block.kernel,
        stride=block.stride,
        depthwise=True,
    )
    project = _Convolution(
        name=f"{name}/project",
        weight=f"{prefix}_project_conv",
        norm=f"{prefix}_bn2",
        channels=block.channels,
        relu6=False,
    )
    value = graph.convolution(graph.convolution(value, depthwise), project)
    same = block.stride == 1 and source.channels == block.channels
    return graph.add(f"{name}/add", value, source) if same else value


class _Graph:
    """Nodes and weights in the making, and the state dict they are taken from."""

    def __init__(self, weights: Weights) -> None:
        self._given = GivenWeights(weights, network=_NETWORK)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers = [
            numpy_helper.from_array(np.array(limit, np.float32), name)
            for name, limit in (("relu6/min", 0.0), ("relu6/max", 6.0))
        ]

    def convolution(self, source: _Value, layer: _Convolution) -> _Value:
        groups = source.channels if layer.depthwise else 1
        shape = (layer.channels, source.channels // groups, layer.kernel, layer.kernel)
        weight, bias = self._folded(layer, shape)
        side = math.ceil(source.side / layer.stride)
        self._initialize(f"{layer.name}/weight", weight)
        self._initialize(f"{layer.name}/bias", bias)
        self._node(
            "Conv",
            [source.name, f"{layer.name}/weight", f"{layer.name}/bias"],
            f"{layer.name}/conv",
            kernel_shape=[layer.kernel] * 2,
            strides=[layer.stride] * 2,
            pads=_same_pads(source.side, side, layer),
            group=groups,
        )
        name = f"{layer.name}/conv"
        if layer.relu6:
            name = f"{layer.name}/relu6"
            self._node("Clip", [f"{layer.name}/conv", "relu6/min", "relu6/max"], name)
        return _Value(name=name, channels=layer.channels, side=side)

    def add(self, name: str, left: _Value, right: _Value) -> _Value:
        self._node("Add", [left.name, right.name], name)
        return _Value(name=name, channels=left.channels, side=left.side)

    def classifier(self, source: _Value) -> None:
        self._initialize("classifier/weight", self._take("_fc.weight", (CLASSES, source.channels)))
        self._initialize("classifier/bias", self._take("_fc.bias", (CLASSES,)))
        self._node("GlobalAveragePool", [source.name], "pool")
        self._node("Flatten", ["pool"], "features", axis=1)
        self._node(
            "Gemm", ["features", "classifier/weight", "classifier/bias"], "logits", transB=1
        )

    def finish(
        self, *, name: str, resolution: int, metadata: Mapping[str, str]
    ) -> onnx.ModelProto:
        self._given.check_all_taken(but=(".num_batches_tracked",))
        model = assemble(
            name,
            self._nodes,
            self._initializers,
            inputs=[_tensor("image", [BATCH_AXIS, 3, resolution, resolution])],
            outputs=[_tensor("logits", [BATCH_AXIS, CLASSES])],
            metadata=metadata,
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _folded(
        self, layer: _Convolution, shape: tuple[int, ...]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Weight and bias of ``norm(convolution(x))`` as one convolution."""
        weight = self._take(f"{layer.weight}.weight", shape)
        gamma, beta, mean, variance = (
            self._take(f"{layer.norm}.{part}", shape[:1])
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        if variance.min() < 0:
            raise other_network(_NETWORK, f"a negative variance in {layer.norm}")
        factor = gamma / np.sqrt(variance + _BATCH_NORM_EPSILON)
        return weight * factor.reshape(-1, 1, 1, 1), beta - mean * factor

    def _take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """A weight in float64, so that folding rounds once, at the end."""
        return self._given.take(name, *shape).astype(np.float64)

    def _initialize(self, name: str, array: NDArray[Any]) -> None:
        if np.abs(array).max() > np.finfo(np.float32).max:
            raise other_network(_NETWORK, f"values too large for FP32 in {name}")
        self._initializers.append(numpy_helper.from_array(array.astype(np.float32), name))

    def _node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))


def _same_pads(side: int, out: int, layer: _Convolution) -> list[int]:
    """TensorFlow's SAME: what is odd goes to the bottom and the right."""
    total = max((out - 1) * layer.stride + layer.kernel - side, 0)
    before, after = total // 2, total - total // 2
    return [before, before, after, after]


def _tensor(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
