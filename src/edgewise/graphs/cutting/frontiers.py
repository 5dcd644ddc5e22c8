"""Find the places where a network falls into two halves with several content tensors between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir

from edgewise.errors import BadInput
from edgewise.graphs.cutting.chain import Chain, local_values, trace_chain
from edgewise.graphs.cutting.cuts import Cut, CutMaker
from edgewise.graphs.cutting.riding import Riders
from edgewise.graphs.flow import Flow, trace_flow
from edgewise.graphs.model import Model
from edgewise.graphs.values import has_spec, input_symbols

MOST_TENSORS = 3
_Sent = tuple[int, frozenset[onnx_ir.Value]]  # bits of the nodes that are in, and what they send
# Sets looked at: 0.5 s to 2 s on one core of an AMD EPYC (Zen 4), 2026-11.
FRONTIER_BOUND = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontiers:
    """Cuts through several content tensors.

    Args:
        cuts: in the order of the stretches that they are in, then of their tensors.
        complete: whether these are all; otherwise the bound was reached.
        visited: how many sets were looked at.
    """

    cuts: tuple[Cut, ...]
    complete: bool
    visited: int


def find_frontiers(
    model: Model, *, most: int = MOST_TENSORS, bound: int = FRONTIER_BOUND
) -> Frontiers:
    """Every legal cut with two to ``most`` content tensors.

    A frontier is what a set of operators, closed under predecessors, sends to the others: the
    content tensors that it makes, or that enter the network, and that the others read. Of outputs
    that the first half makes already, those that are content belong to it too. Of an
    operator that only leads to structure, such as a mask, the first half runs all that it can.
    Structure rides along as with :func:`edgewise.graphs.find_cuts`, whose other rules hold too.

    Each closed set ends in one stretch between two neighbours of the chain of single cuts
    (:func:`edgewise.graphs.cutting.chain.trace_chain`), so stretches are searched one by one, the
    smallest first. Within one, operators are decided one after the other, in or out. An operator
    that is out takes all its successors with it, and what any of them reads of the tensors made
    has to cross. That never shrinks, so a set that sends more than ``most`` is left at once, with
    all that would follow. Every closed set of operators that lead to an output is reached by
    exactly one series of decisions, and two of them never send the same tensors: the set is all
    that leads to what it sends.

    The number of frontiers may grow with the size of a stretch to the power ``most`` (two towers
    that only join at the end), and the search may visit more sets than it finds. So it stops
    after ``bound`` sets, or when that many structure tensors ride along in all, and says so.

    Args:
        model: the whole.
        most: content tensors of one cut, at least 2.
        bound: sets to look at, and structure tensors to list.

    Raises:
        BadInput: when ``most`` is below 2 or ``bound`` below 1.
    """
    _check(most, bound)
    graph = model.ir.graph
    flow = trace_flow(graph)
    chain = trace_chain(flow, graph)
    symbols = input_symbols(graph)
    sent: dict[int, list[_Sent]] = {}
    visited, complete = 0, True
    for level in sorted(chain.stretches, key=lambda at: (len(chain.stretches[at].nodes), at)):
        search = _Search(flow, chain, level, symbols, most)
        sent[level] = search.run(bound - visited)
        visited += search.visited
        complete = complete and search.complete
    harvest = _Harvest(flow, chain, graph, bound)
    found = [harvest.gather(level, sent[level], most) for level in sorted(sent, reverse=True)]
    cuts = tuple(cut for stretch in reversed(found) for cut in stretch)
    return Frontiers(cuts=cuts, complete=complete and harvest.complete, visited=visited)


def _check(most: int, bound: int) -> None:
    if most < 2 or bound < 1:
        raise BadInput(
            expected="frontiers of at least 2 tensors, and a bound of at least 1",
            found=f"most={most}, bound={bound}",
            remedy="use find_cuts for single tensors",
        )


class _Harvest:
    """The legal cuts among what was found, until they hold more tensors than the bound allows."""

    def __init__(self, flow: Flow, chain: Chain, graph: onnx_ir.Graph, bound: int) -> None:
        self._order = flow.dependent.__getitem__
        self._riders, self._maker = Riders(flow, chain, graph), CutMaker(flow, graph)
        self._left = bound
        self.complete = True

    def gather(self, level: int, sent: Iterable[_Sent], most: int) -> list[Cut]:
        self._riders.enter(level)
        cuts: dict[frozenset[onnx_ir.Value], Cut] = {}
        for made, content in sent:
            if self._left <= 0:
                self.complete = False
                break
            border = self._riders.border(made, content)
            if border is None or not 2 <= len(content | border.content) <= most:
                continue
            key = content | border.content
            self._left -= len(border.structure)
            cut = self._maker.make(key, border.structure)
            if cut is not None and (key not in cuts or cut.nbytes() < cuts[key].nbytes()):
                cuts[key] = cut
        return [cuts[key] for key in sorted(cuts, key=lambda key: sorted(map(self._order, key)))]


class _Search:
    """The closed sets of one stretch that send few tensors.

    Sets are bits: of nodes, by their place in the stretch, or of values, by theirs in
    :func:`edgewise.graphs.cutting.chain.local_values`.
    """

    def __init__(
        self, flow: Flow, chain: Chain, level: int, symbols: frozenset[str], most: int
    ) -> None:
        stretch = chain.stretches[level]
        closer = chain.closers.get(level + 1)
        self._most = most
        self._values = local_values(chain, level)
        place = {value: index for index, value in enumerate(self._values)}
        reads = [_bits(place, flow.reads[node]) for node in stretch.nodes]
        self._makes = [_bits(place, node.outputs) for node in stretch.nodes]
        self._entries = _bits(place, stretch.entries)
        self._barred = _bits(place, (v for v in self._values if not has_spec(v, symbols)))
        self._read_beyond = _bits(place, chain.ends) | (
            _bits(place, flow.reads[closer]) if closer is not None else 0
        )
        self._starts_empty = chain.closers.get(level) is None
        self._falls, self._then_read = _consequences(stretch.before, reads)
        self.visited, self.complete = 0, True

    def run(self, bound: int) -> list[_Sent]:
        """All of them, as long as ``bound`` is not reached."""
        found: list[_Sent] = []
        everything = (1 << len(self._makes)) - 1
        stack = [(0, 0, self._read_beyond, self._entries)]
        while stack:
            if self.visited == bound:
                self.complete = False
                break
            self.visited += 1
            start, out, read, made = stack.pop()
            undecided = (everything & ~out) >> start << start
            if not undecided:
                self._keep(found, everything & ~out, read & made)
                continue
            node = (undecided & -undecided).bit_length() - 1
            included = made | self._makes[node]
            if self._may_send(read & included):
                stack.append((node + 1, out, read, included))
            excluded = read | self._then_read[node]
            if self._may_send(excluded & made):
                stack.append((node + 1, out | self._falls[node], excluded, made))
        return found

    def _may_send(self, sent: int) -> bool:
        return sent.bit_count() <= self._most and not sent & self._barred

    def _keep(self, found: list[_Sent], inside: int, sent: int) -> None:
        if sent and (inside or not self._starts_empty):
            found.append((inside, frozenset(self._values[place] for place in _places(sent))))


def _consequences(before: Sequence[int], reads: Sequence[int]) -> tuple[list[int], list[int]]:
    """For each node, itself with all that follow from it, and all that those read."""
    falls, then_read = [0] * len(before), [0] * len(before)
    for node in reversed(range(len(before))):
        falls[node] |= 1 << node
        then_read[node] |= reads[node]
        for earlier in _places(before[node]):
            falls[earlier] |= falls[node]
            then_read[earlier] |= then_read[node]
    return falls, then_read


def _bits(place: Mapping[onnx_ir.Value, int], values: Iterable[onnx_ir.Value]) -> int:
    bits = 0
    for value in values:
        if value in place:
            bits |= 1 << place[value]
    return bits


def _places(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
