"""How many multiply-accumulate operations each operator takes.

A MAC is one multiplication with one addition. Convolutions (padding counted as if it were data),
matrix products, Einsum, recurrent cells and attention have MACs: in attention those of the two
products, and of the projections where the operator holds them. Bias, activations, softmax,
normalisation, pooling, element by element arithmetic and (de)quantisation have none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from edgewise.graphs import ListedBody, ListedNode

Shapes = Mapping[str, tuple[int, ...]]
_Counter = Callable[[ListedNode, Shapes], int]


def macs_of(node: ListedNode, shapes: Shapes) -> int | None:
    """MACs of one node; None when they depend on the data or on a shape that is not known.

    Of an If the branch with more counts, a body of a Loop or Scan as often as it runs.

    Args:
        node: as listed.
        shapes: of every tensor that it reads and writes.
    """
    if node.bodies:
        counts = [_macs_of_body(body) for body in node.bodies]
        return max((n for n in counts if n is not None), default=0) if None not in counts else None
    counter = _MACS.get(node.op)
    if counter is None:
        return 0
    try:
        return counter(node, shapes)
    except (KeyError, IndexError, ValueError):
        return None


def _macs_of_body(body: ListedBody) -> int | None:
    counts = [macs_of(node, body.shapes) for node in body.nodes]
    total = sum(n for n in counts if n is not None)
    if None in counts:
        return None
    if body.times is None:
        return None if total else 0
    return total * body.times


def _in(node: ListedNode, shapes: Shapes, index: int) -> tuple[int, ...]:
    """The shape of an input; KeyError where it is left out or unknown."""
    return shapes[node.inputs[index] or ""]


def _out(node: ListedNode, shapes: Shapes) -> int:
    return math.prod(shapes[node.outputs[0]])


def _convolution(weight: int) -> _Counter:
    def macs(node: ListedNode, shapes: Shapes) -> int:
        # The weight is [out, in / groups, kernel…]: one output element sums over the rest.
        return _out(node, shapes) * math.prod(_in(node, shapes, weight)[1:])

    return macs


def _transposed_convolution(node: ListedNode, shapes: Shapes) -> int:
    # The weight is [in, out / groups, kernel…]: one input element is spread over the rest.
    return math.prod(_in(node, shapes, 0)) * math.prod(_in(node, shapes, 1)[1:])


def _gemm(node: ListedNode, shapes: Shapes) -> int:
    return _out(node, shapes) * _in(node, shapes, 0)[0 if node.attributes.get("transA") else 1]


def _matmul(node: ListedNode, shapes: Shapes) -> int:
    return _out(node, shapes) * _in(node, shapes, 0)[-1]


def _fused_matmul(node: ListedNode, shapes: Shapes) -> int:
    left = _in(node, shapes, 0)
    return _out(node, shapes) * left[-2 if node.attributes.get("transA") else -1]


def _packed_matmul(node: ListedNode, shapes: Shapes) -> int:
    return _out(node, shapes) * int(node.attributes["K"])


def _recurrent(node: ListedNode, shapes: Shapes) -> int:
    # W is [directions, gates x hidden, input], R [directions, gates x hidden, hidden]: each step
    # of each sequence multiplies with both once.
    steps, sequences = _in(node, shapes, 0)[:2]
    weights = math.prod(_in(node, shapes, 1)) + math.prod(_in(node, shapes, 2))
    return steps * sequences * weights


def _einsum(node: ListedNode, shapes: Shapes) -> int:
    """The product of all index sizes, once for each operand after the first."""
    equation = str(node.attributes["equation"]).replace(" ", "")
    terms = equation.split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for index, term in enumerate(terms):
        for label, size in _labelled(term, _in(node, shapes, index)):
            sizes[label] = max(size, sizes.get(label, 1))
    return math.prod(sizes.values()) * (len(terms) - 1)


def _labelled(term: str, shape: Sequence[int]) -> list[tuple[str, int]]:
    """Each axis with its letter; those of an ellipsis are numbered from the right."""
    before, dots, after = term.partition("...")
    rest = len(shape) - len(before) - len(after)
    if rest < 0 or (rest and not dots):
        raise ValueError(term)
    return list(zip([*before, *(f"{n}" for n in range(rest, 0, -1)), *after], shape, strict=True))


def _attention(node: ListedNode, shapes: Shapes) -> int:
    """Queries with keys, then the weights with values; heads leave the sum as it is."""
    if len(_in(node, shapes, 1)) == 2:  # onnxruntime's operator of that name holds projections
        return _fused_attention(1)(node, shapes)
    query, key, value = (_in(node, shapes, index) for index in range(3))
    if len(query) == 4:  # [batch, heads, length, size]
        return math.prod(query[:3]) * key[2] * (query[3] + value[3])
    heads = int(node.attributes.get("q_num_heads", 1)) // int(
        node.attributes.get("kv_num_heads", 1)
    )
    return math.prod(query[:2]) * key[1] * (query[2] + value[2] * max(1, heads))


def _fused_attention(weight: int) -> _Counter:
    def macs(node: ListedNode, shapes: Shapes) -> int:
        # [batch, length, in] times [in, 3 x hidden]; past keys make the second product longer.
        batch, length, width = _in(node, shapes, 0)
        projected = _in(node, shapes, weight)[1]
        return batch * length * (width * projected + 2 * length * projected // 3)

    return macs


_MACS: Mapping[str, _Counter] = {
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "DeformConv": _convolution(1),
    "FusedConv": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "QGemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "MatMulIntegerToFloat": _matmul,
    "DynamicQuantizeMatMul": _matmul,
    "QLinearMatMul": _matmul,
    "FusedMatMul": _fused_matmul,
    "MatMulNBits": _packed_matmul,
    "MatMulBnb4": _packed_matmul,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "DynamicQuantizeLSTM": _recurrent,
    "Attention": _attention,
    "MultiHeadAttention": _attention,
    "QAttention": _fused_attention(1),
}
