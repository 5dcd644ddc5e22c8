"""Which nodes of a network are drawn together, and what leads from one box to another."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from edgewise.graphs import Outline

SINGLE_UP_TO = 400  # more boxes than this nobody reads one by one
MOST_BOXES = 1200  # and more than this no page draws quickly
_MOST_ENDS = 60
_CHAIN, _CHAINS = 20, 200  # a long row of operators stays a row of boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """A network to be drawn: nodes in boxes, then one box per input and per output.

    Args:
        members: for every box, the nodes in it, as indices; none for an input or output.
        ends: for every box, the tensors that it stands for; none unless it is input or output.
        wires: for every box, the boxes that read something of it.
        home: the box that makes or is a tensor, by the tensor's name.
        inside: names of the tensors that never leave their box.
        first_output: the index of the first box that is an output.
    """

    members: tuple[tuple[int, ...], ...]
    ends: tuple[tuple[str, ...], ...]
    wires: tuple[tuple[int, ...], ...]
    home: Mapping[str, int]
    inside: frozenset[str]
    first_output: int


def box_nodes(
    outline: Outline,
    *,
    apart: Collection[str] = (),
    single_up_to: int = SINGLE_UP_TO,
    most: int = MOST_BOXES,
) -> Boxes:
    """Put the nodes of a network into boxes.

    Up to ``single_up_to`` nodes have a box each. In larger networks, nodes that follow each other
    without a branch share one; where that is not enough, so do neighbours in the order in which
    they run, which keeps every wire pointing forward.

    Args:
        outline: the network.
        apart: names of tensors that must be seen leaving a box.
        single_up_to: the most nodes that are drawn one by one.
        most: the most boxes of nodes.
    """
    count = len(outline.nodes)
    groups = [[index] for index in range(count)]
    if count > single_up_to:
        groups = _chains(outline, frozenset(apart))
    if len(groups) > most:
        size = math.ceil(count / most)
        groups = [list(range(at, min(at + size, count))) for at in range(0, count, size)]
    return _connect(outline, groups)


def _chains(outline: Outline, apart: frozenset[str]) -> list[list[int]]:
    place = {node.name: index for index, node in enumerate(outline.nodes)}
    outputs = frozenset(outline.outputs)
    sources: list[set[int]] = [set() for _ in outline.nodes]
    readers: list[set[int]] = [set() for _ in outline.nodes]
    for tensor in outline.tensors:
        source = -1 if tensor.producer is None else place[tensor.producer]
        for name in tensor.consumers:
            sources[place[name]].add(source)
        if source >= 0:
            readers[source].update(place[name] for name in tensor.consumers)
            if tensor.name in outputs or tensor.name in apart:
                readers[source].add(-1)
    longest = max(_CHAIN, len(outline.nodes) // _CHAINS)
    chains: list[list[int]] = []
    chain_of: dict[int, list[int]] = {}
    for index in range(len(outline.nodes)):
        (before, *more) = sources[index] or {-1}
        follows = not more and before >= 0 and readers[before] == {index}
        if follows and len(chain_of[before]) < longest:
            chain_of[index] = chain_of[before]
            chain_of[index].append(index)
        else:
            chain_of[index] = [index]
            chains.append(chain_of[index])
    return chains


def _connect(outline: Outline, groups: Sequence[Sequence[int]]) -> Boxes:
    box_of = {outline.nodes[i].name: box for box, group in enumerate(groups) for i in group}
    inputs = [tensor.name for tensor in outline.tensors if tensor.producer is None]
    starts, stops = _ends(inputs), _ends(outline.outputs)
    first_stop = len(groups) + len(starts)
    entry = {name: len(groups) + at for at, names in enumerate(starts) for name in names}
    leave = {name: first_stop + at for at, names in enumerate(stops) for name in names}
    wires: list[dict[int, None]] = [{} for _ in range(first_stop + len(stops))]
    home: dict[str, int] = {}
    inside = set()
    for tensor in outline.tensors:
        box = entry[tensor.name] if tensor.producer is None else box_of[tensor.producer]
        home[tensor.name] = box
        targets = dict.fromkeys(box_of[name] for name in tensor.consumers)
        targets.update({leave[tensor.name]: None} if tensor.name in leave else {})
        targets.pop(box, None)
        wires[box].update(targets)
        if not targets:
            inside.add(tensor.name)
    return Boxes(
        members=(*map(tuple, groups), *((),) * (len(starts) + len(stops))),
        ends=(*((),) * len(groups), *starts, *stops),
        wires=tuple(map(tuple, wires)),
        home=home,
        inside=frozenset(inside),
        first_output=first_stop,
    )


def _ends(names: Sequence[str]) -> list[tuple[str, ...]]:
    unique = list(dict.fromkeys(names))
    if len(unique) > _MOST_ENDS:
        return [tuple(unique)]
    return [(name,) for name in unique]
