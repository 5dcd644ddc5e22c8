"""Which weights each half of a cut network holds: what giving the first half away gives away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from onnx_ir.convenience import create_value_mapping

from edgewise.graphs.cutting.cuts import Cut, check_known
from edgewise.graphs.flow import reads_of
from edgewise.graphs.model import Model
from edgewise.graphs.values import name_of, subgraphs_of

_Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The weights of both halves; what both need is held by both.

    Args:
        head_bytes: of the first half.
        tail_bytes: of the second half.
        names: of all weights of the network.
        head_flags: for each weight, whether the first half holds it.
        tail_flags: for each weight, whether the second half does.
    """

    head_bytes: int
    tail_bytes: int
    names: tuple[str, ...] = field(repr=False)
    head_flags: bytes = field(repr=False)
    tail_flags: bytes = field(repr=False)

    @property
    def head(self) -> tuple[str, ...]:
        """Names of the first half's weights."""
        return _chosen(self.names, self.head_flags)

    @property
    def tail(self) -> tuple[str, ...]:
        """Names of the second half's weights."""
        return _chosen(self.names, self.tail_flags)


def weights_held(model: Model, cuts: Iterable[Cut]) -> tuple[Holding, ...]:
    """The weights that each half would hold, for many cuts of one network.

    A weight is an initialiser, or a tensor that a node has as an attribute (it is named after the
    node's first output). The first half holds what leads to the cut's tensors; the second what
    leads from them and from constants to the outputs.

    What leads to a value is known for all values from one walk over the graph. A cut then costs a
    few operations on arrays of flags, and a walk over the few nodes that both halves run.

    Raises:
        BadInput: when a cut names a tensor that the network does not have.
    """
    ledger = _Ledger(model.ir.graph)
    return tuple(ledger.hold([spec.name for spec in at.tensors]) for at in cuts)


class _Ledger:
    """Nodes and values by number, and who reads what."""

    def __init__(self, graph: onnx_ir.Graph) -> None:
        self._nodes = list(graph)
        self._values = create_value_mapping(graph, include_subgraphs=False)
        self._place = {value: index for index, value in enumerate(self._values.values())}
        reads = [
            [self._place[value] for value in reads_of(node, graph) if value in self._place]
            for node in self._nodes
        ]
        self._reads, self._makers = reads, np.full(len(self._place), -1)
        for index, node in enumerate(self._nodes):
            for output in node.outputs:
                if output in self._place:
                    self._makers[self._place[output]] = index
        self._readers = np.repeat(np.arange(len(reads)), [len(places) for places in reads])
        self._read = np.array([place for places in reads for place in places], dtype=np.intp)
        self._leading = self._all_leading()
        self._outputs = [self._place[value] for value in graph.outputs if value in self._place]
        self._useful = self._led_to(self._outputs)
        self._find_weights(graph)

    def hold(self, names: Sequence[str]) -> Holding:
        check_known(names, self._values)
        at = [self._place[self._values[name]] for name in names]
        head = self._led_to(at)
        tail = self._tail(head, at)
        in_head, in_tail = self._weights_of(head, at), self._weights_of(tail, self._outputs)
        return Holding(
            head_bytes=int(self._nbytes[in_head].sum()),
            tail_bytes=int(self._nbytes[in_tail].sum()),
            names=self._names,
            head_flags=np.packbits(in_head).tobytes(),
            tail_flags=np.packbits(in_tail).tobytes(),
        )

    def _all_leading(self) -> list[int]:
        """For each node, the bits of itself and of all nodes that lead to it."""
        leading: list[int] = []
        for index, places in enumerate(self._reads):
            bits = 1 << index
            for place in places:
                maker = int(self._makers[place])
                if maker >= 0:
                    bits |= leading[maker]
            leading.append(bits)
        return leading

    def _led_to(self, places: Iterable[int]) -> _Flags:
        """Flags of the nodes that lead to some values."""
        bits = 0
        for place in places:
            maker = int(self._makers[place])
            if maker >= 0:
                bits |= self._leading[maker]
        count = len(self._nodes)
        raw = np.frombuffer(bits.to_bytes((count + 7) // 8, "little"), np.uint8)
        return np.unpackbits(raw, bitorder="little", count=count).astype(np.bool_)

    def _tail(self, head: _Flags, at: Sequence[int]) -> _Flags:
        """Nodes that lead to the outputs but not to the cut, and what those need besides it."""
        tail: _Flags = self._useful & ~head
        wanted = np.zeros(len(self._place), np.bool_)
        wanted[self._read[tail[self._readers]]] = True
        wanted[self._outputs] = True
        wanted[list(at)] = False
        makers = self._makers[wanted]
        makers = makers[makers >= 0]
        stack: list[int] = makers[~tail[makers]].tolist()  # run by both halves
        crossing = set(at)
        while stack:
            node = stack.pop()
            if not tail[node]:
                tail[node] = True
                places = (place for place in self._reads[node] if place not in crossing)
                stack.extend(m for place in places if (m := int(self._makers[place])) >= 0)
        return tail

    def _find_weights(self, graph: onnx_ir.Graph) -> None:
        names: list[str] = []
        nbytes: list[int] = []
        owners: list[tuple[int, int]] = []
        loose: dict[int, int] = {}
        for name, value in graph.initializers.items():
            if value.const_value is not None and value in self._place:
                loose[self._place[value]] = len(names)
                names.append(name)
                nbytes.append(value.const_value.nbytes)
        held = [(reader, loose[place]) for reader, place in self._pairs() if place in loose]
        for index, node in enumerate(self._nodes):
            for tensor in _tensors_in(node):
                owners.append((index, len(names)))
                names.append(name_of(node.outputs[0]))
                nbytes.append(tensor.nbytes)
        pairs = np.array([*held, *owners], dtype=np.intp).reshape(-1, 2)
        self._names, self._nbytes = tuple(names), np.array(nbytes, dtype=np.int64)
        self._holders, self._held, self._loose = pairs[:, 0], pairs[:, 1], loose

    def _pairs(self) -> Iterator[tuple[int, int]]:
        return zip(self._readers.tolist(), self._read.tolist(), strict=True)

    def _weights_of(self, nodes: _Flags, border: Iterable[int]) -> _Flags:
        flags = np.zeros(len(self._names), np.bool_)
        flags[self._held[nodes[self._holders]]] = True
        flags[[self._loose[place] for place in border if place in self._loose]] = True
        return flags


def _tensors_in(node: onnx_ir.Node) -> Iterator[onnx_ir.TensorProtocol]:
    """The tensors that a node has as attributes, those of its subgraphs included."""
    for attribute in node.attributes.values():
        if attribute.type is onnx_ir.AttributeType.TENSOR:
            yield attribute.as_tensor()
    for subgraph in subgraphs_of(node):
        for value in subgraph.initializers.values():
            if value.const_value is not None:
                yield value.const_value
        for inner in subgraph:
            yield from _tensors_in(inner)


def _chosen(names: tuple[str, ...], flags: bytes) -> tuple[str, ...]:
    chosen = np.unpackbits(np.frombuffer(flags, np.uint8), count=len(names))
    return tuple(names[index] for index in np.flatnonzero(chosen))
