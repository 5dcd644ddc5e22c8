"""Count what a network computes and moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from edgewise.graphs import ListedNode, ListedTensor, Listing, Model, list_graph
from edgewise.profiling.profile import EdgeProfile, NodeProfile, Profile

_Shapes = Mapping[str, ListedTensor]


def count(model: Model, *, batch: int = 1) -> Profile:
    """MACs, bytes and peak memory of a network.

    Conventions:

    * A MAC is one multiplication with one addition. Convolutions and matrix products have MACs,
      padding counted as if it were data, bias not counted; everything else has none.
    * What depends on no input (Constant nodes and what is computed from them) is not listed:
      engines compute it once, while loading. Where it is read it counts as weights.
    * A node reads each tensor once and writes each output once. Nothing is fused or in place.
    * Bodies of control flow count as what they read and write, without MACs.
    * Peak memory holds activations alone, in the graph's order: an input lives from the start to
      its last use, an intermediate from the node that makes it to its last use, an output to the
      end; a node holds its inputs and outputs together.

    Args:
        model: a loaded network.
        batch: the size of the inputs' symbolic first axes.

    Raises:
        BadInput: when the size of some tensor is unknown.
    """
    listing = list_graph(model, batch=batch)
    return Profile(
        nodes=tuple(_profile_node(node, listing.tensors) for node in listing.nodes),
        edges=_profile_edges(listing),
        peak_activation_bytes=_peak_bytes(listing),
    )


def _profile_node(node: ListedNode, tensors: _Shapes) -> NodeProfile:
    read = [tensors[name] for name in node.reads]
    counter = _MACS.get(node.op)
    return NodeProfile(
        name=node.name,
        op=node.op,
        macs=counter(node, tensors) if counter else 0,
        weight_bytes=sum(tensor.nbytes for tensor in read if tensor.constant),
        read_bytes=sum(tensor.nbytes for tensor in read if not tensor.constant),
        written_bytes=sum(tensors[name].nbytes for name in node.outputs),
    )


def _profile_edges(listing: Listing) -> tuple[EdgeProfile, ...]:
    producers: dict[str, str | None] = dict.fromkeys(listing.inputs)
    consumers: dict[str, list[str]] = {}
    for node in listing.nodes:
        producers.update(dict.fromkeys(node.outputs, node.name))
        for name in node.reads:
            consumers.setdefault(name, []).append(node.name)
    return tuple(
        EdgeProfile(
            name=name,
            producer=producer,
            consumers=tuple(consumers.get(name, ())),
            bytes=listing.tensors[name].nbytes,
        )
        for name, producer in producers.items()
    )


def _peak_bytes(listing: Listing) -> int:
    last_use = {name: index for index, node in enumerate(listing.nodes) for name in node.reads}
    last_use.update(dict.fromkeys(listing.outputs, len(listing.nodes)))
    ends: dict[int, list[str]] = {}
    for name, index in last_use.items():
        ends.setdefault(index, []).append(name)
    alive = {name: listing.tensors[name].nbytes for name in listing.inputs}
    peak = total = sum(alive.values())
    for index, node in enumerate(listing.nodes):
        made = {name: listing.tensors[name].nbytes for name in node.outputs}
        alive.update(made)
        total += sum(made.values())
        peak = max(peak, total)
        unused = [name for name in made if name not in last_use]
        total -= sum(alive.pop(name, 0) for name in (*ends.get(index, ()), *unused))
    return peak


def _elements(tensor: ListedTensor) -> int:
    return math.prod(tensor.shape)


def _convolution(weight: int) -> Callable[[ListedNode, _Shapes], int]:
    def macs(node: ListedNode, tensors: _Shapes) -> int:
        # The weight is [out, in / groups, kernel…]: one output element sums over the rest.
        kernel = tensors[node.inputs[weight] or ""].shape
        return _elements(tensors[node.outputs[0]]) * math.prod(kernel[1:])

    return macs


def _transposed_convolution(node: ListedNode, tensors: _Shapes) -> int:
    # The weight is [in, out / groups, kernel…]: one input element is spread over the rest.
    kernel = tensors[node.inputs[1] or ""].shape
    return _elements(tensors[node.inputs[0] or ""]) * math.prod(kernel[1:])


def _gemm(node: ListedNode, tensors: _Shapes) -> int:
    inner = tensors[node.inputs[0] or ""].shape[0 if node.attributes.get("transA") else 1]
    return _elements(tensors[node.outputs[0]]) * inner


def _matmul(node: ListedNode, tensors: _Shapes) -> int:
    return _elements(tensors[node.outputs[0]]) * tensors[node.inputs[0] or ""].shape[-1]


_MACS: Mapping[str, Callable[[ListedNode, _Shapes], int]] = {
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
}
