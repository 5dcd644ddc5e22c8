"""Build a small decoder with a cache of keys and values, and random weights.

Source of the architecture: A. Radford et al., "Language Models are Unsupervised Multitask
Learners", 2019 (GPT-2): section 2.3, with learned positions and normalisation before each part.
The names of inputs and outputs are those that decoders usually have as ONNX.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgewise.zoo.random_weights import RandomWeight
from edgewise.zoo.transformer import Attention, Layers

_EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSize:
    """How large a decoder is.

    Args:
        layers: how many blocks.
        heads: how many heads in each attention.
        width: values of one token; a multiple of ``heads``.
        vocabulary: how many tokens there are.
        positions: the longest text, in tokens.
    """

    layers: int
    heads: int
    width: int
    vocabulary: int
    positions: int

    @property
    def head(self) -> int:
        """Values of one token in one head."""
        return self.width // self.heads


SMALL = DecoderSize(layers=4, heads=4, width=256, vocabulary=8_000, positions=1_024)


def build_decoder(size: DecoderSize, *, name: str, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The decoder.

    Args:
        size: how large it is.
        name: of the network; it decides the weights.
        metadata: what goes into ``metadata_props``.

    Returns:
        FP32, opset 17. Inputs: ``input_ids``, int64 [batch, sequence], and for each layer N
        ``past_key_values.N.key`` and ``.value`` [batch, heads, past, head size], of which ``past``
        may be 0. Outputs: ``logits`` [batch, sequence, vocabulary] and ``present.N.key`` and
        ``.value`` [batch, heads, total, head size]; total is past + sequence.
    """
    decoder = _Decoder(size, name)
    hidden, mask = decoder.embed(), decoder.mask()
    for index in range(size.layers):
        hidden = decoder.block(index, hidden, mask)
    hidden = decoder.norm(hidden, "norm")
    decoder.logits(hidden)
    return decoder.finish(metadata)


class _Decoder:
    """The graph in the making."""

    def __init__(self, size: DecoderSize, name: str) -> None:
        self._size, self._name, self._layers = size, name, Layers()

    def embed(self) -> str:
        layers, size = self._layers, self._size
        past = self._size_of("past_key_values.0.key", 2, "positions/past")
        new = self._size_of("input_ids", 1, "positions/new")
        total = layers.node("Add", [past, new], "positions/total")
        layers.node("Range", [self._whole(0), total, self._whole(1)], "positions/all")
        layers.node("Range", [past, total, self._whole(1)], "positions/own")
        layers.weight("embeddings/words", self._draw("embeddings/words", size.vocabulary, 1.0))
        layers.weight("embeddings/places", self._draw("embeddings/places", size.positions, 0.1))
        found = layers.node("Gather", ["embeddings/words", "input_ids"], "embeddings/tokens")
        there = layers.node("Gather", ["embeddings/places", "positions/own"], "embeddings/where")
        return layers.node("Add", [found, there], "embeddings/sum")

    def _size_of(self, value: str, axis: int, name: str) -> str:
        """One size of a value, as a scalar."""
        sizes = self._layers.node("Shape", [value], f"{name}/sizes")
        return self._layers.node("Gather", [sizes, self._whole(axis)], name)

    def _whole(self, number: int) -> str:
        return self._layers.weight(f"constants/{number}", np.array(number, np.int64))

    def mask(self) -> str:
        """[new, all]: a token sees itself and what came before it."""
        layers = self._layers
        axis = layers.numbers("last axis", -1)
        rows = layers.node("Unsqueeze", ["positions/own", axis], "mask/rows")
        before = layers.node("LessOrEqual", ["positions/all", rows], "mask/before")
        seen = layers.node("Cast", [before], "mask/seen", to=TensorProto.FLOAT)
        return layers.hide(seen, "mask/added")

    def block(self, index: int, source: str, mask: str) -> str:
        name, layers, width = f"layer{index}", self._layers, self._size.width
        tamed = 1 / math.sqrt(2 * self._size.layers)  # GPT-2, section 2.3
        inner = self.norm(source, f"{name}/attention/norm")
        mixed = self._attend(index, inner, mask)
        out = self._linear(mixed, f"{name}/attention/output", width, width, tamed)
        middle = layers.node("Add", [source, out], f"{name}/attention/sum")
        inner = self.norm(middle, f"{name}/feedforward/norm")
        wide = self._linear(inner, f"{name}/feedforward/inner", width, 4 * width)
        active = layers.gelu(wide, f"{name}/feedforward/gelu")
        out = self._linear(active, f"{name}/feedforward/output", 4 * width, width, tamed)
        return layers.node("Add", [middle, out], f"{name}/sum")

    def norm(self, source: str, name: str) -> str:
        width = self._size.width
        scale, bias = np.ones(width, np.float32), np.zeros(width, np.float32)
        return self._layers.layer_norm(source, name, scale, bias, epsilon=_EPSILON)

    def logits(self, hidden: str) -> None:
        size = self._size
        weight = self._matrix("head", size.width, size.vocabulary)
        self._layers.weight("head/weight", weight)
        self._layers.node("MatMul", [hidden, "head/weight"], "logits")

    def finish(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        size = self._size
        ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])
        logits = helper.make_tensor_value_info(
            "logits", TensorProto.FLOAT, ["batch", "sequence", size.vocabulary]
        )
        inputs = [ids, *self._cache("past_key_values", "past")]
        outputs = [logits, *self._cache("present", "total")]
        return self._layers.finish(self._name, inputs, outputs, metadata)

    def _attend(self, index: int, source: str, mask: str) -> str:
        name, size, layers = f"layer{index}/attention", self._size, self._layers
        found = {}
        for part in ("query", "key", "value"):
            own = f"{name}/{part}"
            value = self._linear(source, own, size.width, size.width)
            found[part] = layers.split_heads(value, own, size.heads, size.head, (0, 2, 1, 3))
        for part in ("key", "value"):
            past, present = f"past_key_values.{index}.{part}", f"present.{index}.{part}"
            found[part] = layers.node("Concat", [past, found[part]], present, axis=2)
        found["key"] = layers.node(
            "Transpose", [found["key"]], f"{name}/key/turned", perm=[0, 1, 3, 2]
        )
        return layers.attend(Attention(mask=mask, **found), name, size.head)

    def _cache(self, name: str, axis: str) -> list[onnx.ValueInfoProto]:
        size = self._size
        return [
            helper.make_tensor_value_info(
                f"{name}.{index}.{part}",
                TensorProto.FLOAT,
                ["batch", size.heads, axis, size.head],
            )
            for index in range(size.layers)
            for part in ("key", "value")
        ]

    def _linear(
        self, source: str, name: str, inputs: int, outputs: int, tamed: float = 1.0
    ) -> str:
        weight = self._matrix(name, inputs, outputs, tamed)
        return self._layers.linear(source, name, weight, np.zeros(outputs, np.float32))

    def _matrix(
        self, name: str, inputs: int, outputs: int, tamed: float = 1.0
    ) -> NDArray[np.float32]:
        """[inputs, outputs], so that outputs vary as much as inputs do."""
        drawn = RandomWeight(
            network=self._name,
            name=f"{name}/weight",
            shape=(inputs, outputs),
            deviation=tamed / math.sqrt(inputs),
        )
        return np.concatenate(list(drawn.chunks()))

    def _draw(self, name: str, rows: int, deviation: float) -> NDArray[np.float32]:
        drawn = RandomWeight(
            network=self._name, name=name, shape=(rows, self._size.width), deviation=deviation
        )
        return np.concatenate(list(drawn.chunks()))
