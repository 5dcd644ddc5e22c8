"""The parts that the transformers of the zoo share, as ONNX nodes with names that read well.

Source: A. Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 3.2. The nodes
and their order are those that torch exports for it, which engines know how to fuse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgewise.zoo.assembling import assemble

_UNSEEN = -10_000.0
"""Added to the scores of what may not be seen: exp(-10000) is 0 in FP32, and FP16 holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The values that go into one attention, by name, each [batch, heads, tokens, head size].

    Args:
        query: from the tokens that ask.
        key: from the tokens that are asked, transposed: [batch, heads, head size, tokens].
        value: from the tokens that are asked.
        mask: 1 where a token may be seen, else 0; FP32.
    """

    query: str
    key: str
    value: str
    mask: str


class Layers:
    """Nodes and weights in the making."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """One node of one output; both have one name."""
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def weight(self, name: str, array: NDArray[Any]) -> str:
        """An initialiser; a name that is there already stays what it is."""
        self._weights.setdefault(name, numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def numbers(self, name: str, *values: int) -> str:
        """A small constant of integers."""
        return self.weight(f"constants/{name}", np.array(values, np.int64))

    def number(self, name: str, value: float) -> str:
        """A small constant."""
        return self.weight(f"constants/{name}", np.array(value, np.float32))

    def linear(self, source: str, name: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        """``source @ weight + bias``, with a weight of [inputs, outputs]."""
        self.weight(f"{name}/weight", weight)
        self.weight(f"{name}/bias", bias)
        product = self.node("MatMul", [source, f"{name}/weight"], f"{name}/matmul")
        return self.node("Add", [product, f"{name}/bias"], name)

    def layer_norm(
        self, source: str, name: str, scale: NDArray[Any], bias: NDArray[Any], *, epsilon: float
    ) -> str:
        """Over the last axis."""
        inputs = [source, self.weight(f"{name}/scale", scale), self.weight(f"{name}/bias", bias)]
        return self.node("LayerNormalization", inputs, name, axis=-1, epsilon=epsilon)

    def gelu(self, source: str, name: str) -> str:
        """The exact one: x (1 + erf(x / sqrt 2)) / 2; arXiv:1606.08415, equation 2."""
        ratio = self.node("Div", [source, self.number("sqrt2", math.sqrt(2))], f"{name}/ratio")
        error = self.node("Erf", [ratio], f"{name}/erf")
        shifted = self.node("Add", [error, self.number("one", 1)], f"{name}/shifted")
        product = self.node("Mul", [source, shifted], f"{name}/product")
        return self.node("Mul", [product, self.number("half", 0.5)], name)

    def split_heads(
        self, source: str, name: str, heads: int, width: int, order: Sequence[int]
    ) -> str:
        """[batch, tokens, heads * width] to its axes in another order."""
        shape = self.numbers("split heads", 0, 0, heads, width)
        apart = self.node("Reshape", [source, shape], f"{name}/apart")
        return self.node("Transpose", [apart], f"{name}/heads", perm=list(order))

    def attend(self, attention: Attention, name: str, width: int) -> str:
        """Softmax of the scores, times the values; the heads side by side again."""
        raw = self.node("MatMul", [attention.query, attention.key], f"{name}/products")
        root = self.number("sqrt head", math.sqrt(width))
        scores = self.node("Div", [raw, root], f"{name}/scores")
        seen = self.node("Add", [scores, attention.mask], f"{name}/masked")
        shares = self.node("Softmax", [seen], f"{name}/shares", axis=-1)
        mixed = self.node("MatMul", [shares, attention.value], f"{name}/mixed")
        turned = self.node("Transpose", [mixed], f"{name}/turned", perm=[0, 2, 1, 3])
        return self.node(
            "Reshape", [turned, self.numbers("join heads", 0, 0, -1)], f"{name}/joined"
        )

    def hide(self, seen: str, name: str) -> str:
        """From 1 for seen and 0 for unseen to what is added to the scores."""
        unseen = self.node("Sub", [self.number("one", 1), seen], f"{name}/unseen")
        return self.node("Mul", [unseen, self.number("never", _UNSEEN)], name)

    def finish(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        metadata: Mapping[str, str],
    ) -> onnx.ModelProto:
        """The checked model.

        Args:
            name: of the graph.
            inputs: what goes in.
            outputs: what comes out.
            metadata: what goes into ``metadata_props``.
        """
        weights = list(self._weights.values())
        model = assemble(
            name, self._nodes, weights, inputs=inputs, outputs=outputs, metadata=metadata
        )
        onnx.checker.check_model(model, full_check=True)
        return model
