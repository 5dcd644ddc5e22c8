"""Build all-MiniLM-L6-v2 as ONNX, from its tokens to one embedding of length 1.

Sources: J. Devlin et al., "BERT", arXiv:1810.04805, for the encoder; the sizes from
``config.json`` and the pooling from ``1_Pooling/config.json`` beside the weights.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import onnx
import safetensors.numpy
from onnx import TensorProto, helper

from edgewise.zoo.given_weights import GivenWeights, Weights, other_network
from edgewise.zoo.transformer import Attention, Layers

LAYERS = 6
HEADS = 12
WIDTH = 384
INNER = 1_536
POSITIONS = 512
VOCABULARY = 30_522

_HEAD = WIDTH // HEADS
_EPSILON = 1e-12
_LEFT_OUT = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
_MAX_HEADER_BYTES = 1_000_000
_NETWORK = "all-MiniLM-L6-v2"


def read_weights(data: bytes) -> Weights:
    """The tensors of a safetensors file.

    Args:
        data: the bytes of the file.

    Raises:
        BadInput: when it is no such file.
    """
    header = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if not 2 <= header <= min(_MAX_HEADER_BYTES, len(data) - 8):
        raise other_network(_NETWORK, f"a header of {header} bytes")
    try:
        weights: Weights = safetensors.numpy.load(data)
    except Exception as error:
        # The library raises its own, KeyError and ValueError on damaged files.
        found = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise other_network(_NETWORK, found) from None
    return weights


def build_minilm(weights: Weights, *, name: str, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The encoder, mean pooling over the mask, and normalisation, in one graph.

    Args:
        weights: with the names of transformers' ``BertModel``.
        name: the name of the graph.
        metadata: what goes into ``metadata_props``.

    Returns:
        FP32, opset 17, ``input_ids`` and ``attention_mask``, int64 [batch, sequence], to
        ``embedding`` [batch, 384]. All tokens are of the first sentence: its type is part of the
        position table.

    Raises:
        BadInput: when a weight is missing, left over, of another shape, or not finite.
    """
    encoder = _Encoder(weights)
    hidden = encoder.embed()
    mask = encoder.mask()
    for index in range(LAYERS):
        hidden = encoder.layer(index, hidden, mask)
    encoder.pool(hidden)
    return encoder.finish(name, metadata)


class _Encoder:
    """The graph in the making, and the weights that it takes."""

    def __init__(self, weights: Weights) -> None:
        self._given = GivenWeights(weights, network=_NETWORK)
        self._layers = Layers()

    def embed(self) -> str:
        layers = self._layers
        words = self._given.take("embeddings.word_embeddings.weight", VOCABULARY, WIDTH)
        table = self._given.take("embeddings.position_embeddings.weight", POSITIONS, WIDTH)
        types = self._given.take("embeddings.token_type_embeddings.weight", 2, WIDTH)
        layers.weight("embeddings/words", words)
        layers.weight("embeddings/positions", table + types[0])
        length = layers.node("Shape", ["input_ids"], "embeddings/length", start=1, end=2)
        places = layers.node(
            "Slice",
            ["embeddings/positions", layers.numbers("zero", 0), length, layers.numbers("zero", 0)],
            "embeddings/places",
        )
        found = layers.node("Gather", ["embeddings/words", "input_ids"], "embeddings/tokens")
        summed = layers.node("Add", [found, places], "embeddings/sum")
        return self._norm(summed, "embeddings/norm", "embeddings.LayerNorm")

    def mask(self) -> str:
        """What is added to the scores: nothing for a token, a lot below 0 for padding."""
        layers = self._layers
        axes = layers.numbers("inner axes", 1, 2)
        wide = layers.node("Unsqueeze", ["attention_mask", axes], "mask/wide")
        seen = layers.node("Cast", [wide], "mask/seen", to=TensorProto.FLOAT)
        return layers.hide(seen, "mask/added")

    def layer(self, index: int, source: str, mask: str) -> str:
        layers, name, theirs = self._layers, f"layer{index}", f"encoder.layer.{index}"
        heads = {}
        for part, order in (
            ("query", (0, 2, 1, 3)),
            ("key", (0, 2, 3, 1)),
            ("value", (0, 2, 1, 3)),
        ):
            own = f"{name}/attention/{part}"
            value = self._linear(source, own, f"{theirs}.attention.self.{part}", WIDTH, WIDTH)
            heads[part] = layers.split_heads(value, own, HEADS, _HEAD, order)
        mixed = layers.attend(Attention(mask=mask, **heads), f"{name}/attention", _HEAD)
        there = f"{theirs}.attention.output"
        out = self._linear(mixed, f"{name}/attention/output", f"{there}.dense", WIDTH, WIDTH)
        summed = layers.node("Add", [out, source], f"{name}/attention/sum")
        middle = self._norm(summed, f"{name}/attention/norm", f"{there}.LayerNorm")
        inner = self._linear(
            middle, f"{name}/feedforward/inner", f"{theirs}.intermediate.dense", WIDTH, INNER
        )
        active = layers.gelu(inner, f"{name}/feedforward/gelu")
        outer = self._linear(
            active, f"{name}/feedforward/output", f"{theirs}.output.dense", INNER, WIDTH
        )
        summed = layers.node("Add", [outer, middle], f"{name}/feedforward/sum")
        return self._norm(summed, f"{name}/output", f"{theirs}.output.LayerNorm")

    def pool(self, hidden: str) -> None:
        """The mean over the tokens that are no padding, divided by its length."""
        layers, last = self._layers, self._layers.numbers("last axis", -1)
        one = layers.numbers("token axis", 1)
        wide = layers.node("Unsqueeze", ["attention_mask", last], "pool/wide")
        seen = layers.node("Cast", [wide], "pool/seen", to=TensorProto.FLOAT)
        kept = layers.node("Mul", [hidden, seen], "pool/kept")
        total = layers.node("ReduceSum", [kept, one], "pool/total", keepdims=0)
        count = layers.node("ReduceSum", [seen, one], "pool/count", keepdims=0)
        some = layers.node("Max", [count, layers.number("few", 1e-9)], "pool/some")
        mean = layers.node("Div", [total, some], "pool/mean")
        norm = layers.node("ReduceL2", [mean], "pool/norm", axes=[1], keepdims=1)
        positive = layers.node("Max", [norm, layers.number("tiny", 1e-12)], "pool/positive")
        layers.node("Div", [mean, positive], "embedding")

    def finish(self, name: str, metadata: Mapping[str, str]) -> onnx.ModelProto:
        self._given.check_all_taken(but=_LEFT_OUT)
        tokens = ["batch", "sequence"]
        return self._layers.finish(
            name,
            [
                helper.make_tensor_value_info(each, TensorProto.INT64, tokens)
                for each in ("input_ids", "attention_mask")
            ],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH])],
            metadata,
        )

    def _linear(self, source: str, name: str, theirs: str, inputs: int, outputs: int) -> str:
        weight = self._given.take(f"{theirs}.weight", outputs, inputs)
        return self._layers.linear(
            source, name, weight.T, self._given.take(f"{theirs}.bias", outputs)
        )

    def _norm(self, source: str, name: str, theirs: str) -> str:
        scale, bias = (self._given.take(f"{theirs}.{part}", WIDTH) for part in ("weight", "bias"))
        return self._layers.layer_norm(source, name, scale, bias, epsilon=_EPSILON)
