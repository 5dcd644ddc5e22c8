"""Which structure tensors ride along with the content of a cut: those of the fewest bytes.

What structure the second half needs, it may get in two ways: carried over the border, or computed
again from structure and content that it has. So the tensors to carry are a minimum cut, by
vertices weighted with bytes, between what only the first half has and what the second needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import onnx_ir

from edgewise.graphs.chance import UNREPEATABLE_OPS
from edgewise.graphs.cutting.chain import Chain
from edgewise.graphs.flow import Flow
from edgewise.graphs.sizes.axes import ASSUMED_AXIS
from edgewise.graphs.values import (
    batch_symbols,
    bytes_of,
    dims_of,
    has_spec,
    input_symbols,
    is_floating,
)

_LARGEST_NETWORK = 400  # beyond it the nearest tensors are carried, which need not be the fewest
_NEVER = 2**60  # weight of what cannot cross: content, or a tensor without a wire form
_LAST_RESORT = 2**40  # added for floating structure, whose infinities no receiver takes
_Values = frozenset[onnx_ir.Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """What must cross besides the content that a stretch sends.

    Args:
        content: more content, which structure behind the cut is made of.
        structure: what rides along.
    """

    content: frozenset[onnx_ir.Value] = frozenset()
    structure: frozenset[onnx_ir.Value] = frozenset()


@dataclass(frozen=True, slots=True)
class _Need:
    """What a value that the first half can compute costs to have in the second.

    ``near`` are the tensors to carry, at ``best`` bytes, were each way from them walked alone; a
    value that is cheaper by way of what it is computed from stands for its own ``near``.
    """

    weight: int
    rooted: bool  # something that only the first half has leads straight into it
    parents: _Values
    near: _Values
    best: int


class Riders:
    """Finds what rides along, for the cuts of one network, from its end to its beginning.

    From one stretch to the one before it the second half only grows, so what it needs is kept
    and extended: every value is taken apart at most once.
    """

    def __init__(self, flow: Flow, chain: Chain, graph: onnx_ir.Graph) -> None:
        self._flow, self._chain = flow, chain
        self._weigh = _Scales(graph, flow)
        self._outputs = frozenset(value for value in graph.outputs if value in flow.dependent)
        self._answers = [value for value in self._outputs if value not in flow.content]
        self._settled: dict[onnx_ir.Value, _Need | None] = {}
        self._solved: dict[object, _Values] = {}
        for value in flow.dependent:
            if value not in chain.useful:
                self._settled[value] = self._need(value, self._settled, frozenset())
        self._opened: set[onnx_ir.Value] = set()
        self._beyond: dict[onnx_ir.Value, None] = dict.fromkeys(self._answers)
        self._level = max(chain.stretches)
        self._look_around()

    def enter(self, level: int) -> None:
        """Go to the stretch of some level, which is not after the present one."""
        while self._level > level:
            closer = self._chain.closers.get(self._level)
            fresh = [read for _, reads in self._readers for read in reads]
            fresh += self._structure_read_by(closer) if closer is not None else []
            self._level -= 1
            start = dict.fromkeys((*self._beyond, *fresh))
            opened = self._open(start, self._is_beyond, self._opened)
            self._beyond = dict.fromkeys(opened)
            self._look_around()

    def border(self, made: int, content: frozenset[onnx_ir.Value]) -> Border | None:
        """What else crosses with a frontier of the present stretch; None where no cut is legal.

        Args:
            made: the bits of the stretch's nodes that the first half computes.
            content: what the stretch's own content sends.
        """
        if not self._crosses:
            return None if self._outputs <= content else Border()
        if not self._answers_wait(made, content):
            return None
        local, near = self._needed(made)
        sent = content | {value for value in local if value in self._chain.useful}
        needs: dict[onnx_ir.Value, _Need | None] = {}
        for value in (value for value in local if value not in sent):
            need = self._settle(value, needs, sent)
            if need is not None and value in self._flow.content:
                sent |= {value}  # it leads on through structure alone, but behind the cut
            elif need is not None:
                near |= need.near
        if self._outputs <= sent:
            return None
        carried = self._fewest_bytes(near, needs)
        return None if carried is None else Border(content=sent - content, structure=carried)

    def _look_around(self) -> None:
        """Prepare what is the same for all cuts of a stretch."""
        self._ready: dict[_Values, _Values | None] = {}
        nodes = self._chain.stretches[self._level].nodes
        reads = ((place, self._structure_read_by(node)) for place, node in enumerate(nodes))
        self._readers = [(place, values) for place, values in reads if values]
        level = self._chain.level
        self._crosses = bool(self._beyond or self._readers or self._answers)
        self._local = [v for v in self._beyond if self._is_local(v)]
        self._near: _Values = frozenset().union(
            *(self._settled_near(v) for v in self._beyond if not self._is_local(v))
        )
        self._waiting = all(level[value] >= self._level for value in self._answers)

    def _is_local(self, value: onnx_ir.Value) -> bool:
        return value in self._chain.useful or self._chain.level[value] == self._level

    def _is_beyond(self, value: onnx_ir.Value) -> bool:
        return self._chain.level[value] > self._level

    def _settled_near(self, value: onnx_ir.Value) -> _Values:
        need = self._settled[value]
        assert need is not None, "what depends on an input is not free before its content is sent"
        return need.near

    def _structure_read_by(self, node: onnx_ir.Node) -> list[onnx_ir.Value]:
        dependent, useful = self._flow.dependent, self._chain.useful
        return [v for v in self._flow.reads[node] if v in dependent and v not in useful]

    def _needed(self, made: int) -> tuple[list[onnx_ir.Value], _Values]:
        """What the second half needs: of this stretch, and the nearest of what is before it."""
        fresh = (v for place, reads in self._readers if not made >> place & 1 for v in reads)
        level, needs = self._chain.level, self._chain.needs

        def is_after(value: onnx_ir.Value) -> bool:
            local = level[value] == self._level
            return local and (bool(needs[value] & ~made) or value in self._answers)

        found = self._open(dict.fromkeys((*self._local, *fresh)), is_after, set())
        near = self._near.union(*(self._settled_near(v) for v in found if not self._is_local(v)))
        return [value for value in found if self._is_local(value)], near

    def _open(
        self,
        values: Iterable[onnx_ir.Value],
        is_after: Callable[[onnx_ir.Value], bool],
        opened: set[onnx_ir.Value],
    ) -> list[onnx_ir.Value]:
        """Replace each value that only the second half can compute by what it is made of."""
        stack, kept = list(values)[::-1], dict[onnx_ir.Value, None]()
        while stack:
            value = stack.pop()
            if value not in self._flow.dependent or value in opened or value in kept:
                continue
            if not is_after(value):
                kept[value] = None
                continue
            opened.add(value)
            node = value.producer()
            if value not in self._chain.useful and node is not None:
                stack.extend(self._flow.reads[node])
        return list(kept)

    def _answers_wait(self, made: int, content: _Values) -> bool:
        """Whether no output that is structure is already known before the content arrives."""
        level, needs = self._chain.level, self._chain.needs
        return self._waiting and all(
            level[value] > self._level or needs[value] & ~made or self._touches(value, content)
            for value in self._answers
        )

    def _touches(self, value: onnx_ir.Value, content: _Values) -> bool:
        stack, seen = [value], {value}
        while stack:
            value = stack.pop()
            if value in content:
                return True
            node = value.producer()
            if node is not None and value not in self._chain.useful and not self._is_fixed(node):
                fresh = [read for read in self._flow.reads[node] if read not in seen]
                seen.update(fresh)
                stack.extend(fresh)
        return False

    def _settle(
        self, value: onnx_ir.Value, needs: dict[onnx_ir.Value, _Need | None], sent: _Values
    ) -> _Need | None:
        """What a value costs, and all of this stretch that it is computed from."""
        stack = [value]
        while stack:
            value = stack[-1]
            node = value.producer()
            waiting = [
                read
                for read in (self._flow.reads[node] if node is not None else ())
                if read in self._settled and self._is_local(read) and read not in needs
            ]
            if waiting:
                stack.extend(waiting)
                continue
            if self._chain.level[value] < self._level:
                needs[value] = self._settled[value]
            else:
                needs[value] = self._need(value, needs, sent)
            stack.pop()
        return needs[value]

    def _need(
        self,
        value: onnx_ir.Value,
        needs: Mapping[onnx_ir.Value, _Need | None],
        sent: _Values,
    ) -> _Need | None:
        """What a value costs; None when the second half computes it from what it has."""
        if value in sent:
            return None
        node = value.producer()
        rooted = node is None or self._is_fixed(node)
        parents: _Values = frozenset()
        for read in () if node is None or rooted else self._flow.reads[node]:
            if read not in self._flow.dependent or read in sent:
                continue
            if read in self._chain.useful:
                rooted = True
                continue
            need = needs[read] if read in needs else self._settled[read]
            parents |= need.near if need is not None else frozenset()
        if not rooted and not parents:
            return None
        weight = self._weigh(value)
        instead = sum(self._best(parent, needs) for parent in parents)
        if rooted or weight <= instead:
            behind = frozenset() if rooted else parents
            return _Need(weight, rooted, behind, frozenset({value}), weight)
        return _Need(weight, rooted, parents, parents, instead)

    def _best(self, value: onnx_ir.Value, needs: Mapping[onnx_ir.Value, _Need | None]) -> int:
        need = needs[value] if value in needs else self._settled[value]
        return 0 if need is None else need.best

    def _is_fixed(self, node: onnx_ir.Node) -> bool:
        """Whether a node may run once only, so that what it gives is carried or not had."""
        makes_content = any(out in self._chain.useful for out in node.outputs)
        return makes_content or node.op_type in UNREPEATABLE_OPS

    def _fewest_bytes(
        self, near: _Values, needs: Mapping[onnx_ir.Value, _Need | None]
    ) -> _Values | None:
        """The structure to carry; None when some of what must cross cannot."""
        same_for_all = near.isdisjoint(needs)
        if same_for_all and near in self._ready:
            return self._ready[near]
        vertices = self._vertices(near, needs)
        carried = self._cheapest(near, vertices) if _branches(near, vertices) else near
        barred = any(vertices[value].weight >= _NEVER for value in carried)
        if same_for_all:
            self._ready[near] = None if barred else carried
        return None if barred else carried

    def _vertices(
        self, near: _Values, needs: Mapping[onnx_ir.Value, _Need | None]
    ) -> dict[onnx_ir.Value, _Need]:
        """All that might be carried."""
        found: dict[onnx_ir.Value, _Need] = {}
        stack = list(near)
        while stack:
            value = stack.pop()
            need = needs[value] if value in needs else self._settled[value]
            if need is not None and value not in found:
                found[value] = need
                stack.extend(need.parents)
        return found

    def _cheapest(self, near: _Values, vertices: Mapping[onnx_ir.Value, _Need]) -> _Values:
        order = sorted(vertices, key=self._flow.dependent.__getitem__)
        key = (near, tuple((v, vertices[v].rooted, vertices[v].parents) for v in order))
        if key not in self._solved:
            self._solved[key] = _minimum_cut([(v, vertices[v]) for v in order], near)
        return self._solved[key]


def _branches(near: _Values, vertices: Mapping[onnx_ir.Value, _Need]) -> bool:
    """Whether something is read twice; else what each is cheaper by is known: it is ``near``."""
    if len(vertices) > _LARGEST_NETWORK:
        return False
    ways = [parent for need in vertices.values() for parent in need.parents]
    return len({*ways, *near}) < len(ways) + len(near)


def _minimum_cut(vertices: Sequence[tuple[onnx_ir.Value, _Need]], near: _Values) -> _Values:
    """The vertices of least weight that part the roots from ``near``, as close to it as can be."""
    number = {value: index for index, (value, _) in enumerate(vertices)}
    network: nx.DiGraph[object] = nx.DiGraph()
    for value, need in vertices:
        at = number[value]
        network.add_edge((at, "in"), (at, "out"), capacity=need.weight)
        if need.rooted:
            network.add_edge("root", (at, "in"))
        for parent in need.parents:
            network.add_edge((number[parent], "out"), (at, "in"))
        if value in near:
            network.add_edge((at, "out"), "need")
    _, (_, reaching) = nx.minimum_cut(
        network, "root", "need", flow_func=nx.algorithms.flow.preflow_push
    )
    return frozenset(
        value
        for value, at in number.items()
        if (at, "out") in reaching and (at, "in") not in reaching
    )


class _Scales:
    """What a structure tensor weighs: bytes at batch 1, other symbolic axes as ASSUMED_AXIS."""

    def __init__(self, graph: onnx_ir.Graph, flow: Flow) -> None:
        self._content, self._symbols = flow.content, input_symbols(graph)
        self._batch = batch_symbols(graph)

    def __call__(self, value: onnx_ir.Value) -> int:
        if value in self._content or not has_spec(value, self._symbols):
            return _NEVER
        dims = dims_of(value) or ()
        sizes = tuple(self._size(dim) if isinstance(dim, str) else dim for dim in dims)
        nbytes = bytes_of(value, sizes)
        assert nbytes is not None, "every axis has a size"
        return nbytes + (_LAST_RESORT if is_floating(value) else 0)

    def _size(self, symbol: str) -> int:
        return 1 if symbol in self._batch else ASSUMED_AXIS
