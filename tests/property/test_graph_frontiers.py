"""Cuts through several tensors of random graphs: against brute force, and run for real."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import onnx_ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewise.engines import Optimisation
from edgewise.graphs import (
    Cut,
    check_proof,
    cut,
    find_cuts,
    find_frontiers,
    load,
    prove_cuts,
    random_feeds,
    weights_held,
)
from edgewise.graphs.cutting.chain import trace_chain
from edgewise.graphs.flow import Flow, trace_flow
from edgewise.profiling import count, prefixes_of, undominated
from strategies import dag_files, reordered

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FEWER = settings(FEW, max_examples=15)
Names = frozenset[str]


def _names(cuts: tuple[Cut, ...]) -> set[Names]:
    return {frozenset(spec.name for spec in at.content) for at in cuts}


def _useful_nodes(graph: onnx_ir.Graph) -> list[onnx_ir.Node]:
    wanted = set(graph.outputs)
    chosen = []
    for node in reversed(list(graph)):
        if wanted & set(node.outputs):
            chosen.append(node)
            wanted |= set(node.inputs)
    return chosen[::-1]


def _sent_by_any_closed_set(graph: onnx_ir.Graph, most: int) -> set[Names]:
    nodes = _useful_nodes(graph)
    answers = {value.name for value in graph.outputs}
    found = set()
    for flags in itertools.product((False, True), repeat=len(nodes)):
        inside = {node for node, flag in zip(nodes, flags, strict=True) if flag}
        makers = (v.producer() for node in inside for v in node.inputs)
        if not inside or any(m is not None and m not in inside for m in makers):
            continue
        read = {v for node in nodes if node not in inside for v in node.inputs}
        read |= set(graph.outputs)
        made = {v for node in inside for v in node.outputs} | set(graph.inputs)
        sent = frozenset(v.name for v in read & made if v.const_value is None)
        if 2 <= len(sent) <= most and sent != answers:
            found.add(sent)
    return found


@FEW
@given(dag_files(structure=False, most=8), st.integers(2, 4))
def test_without_structure_frontiers_are_what_closed_sets_send(file: bytes, most: int) -> None:
    model = load(file)
    frontiers = find_frontiers(model, most=most)
    assert frontiers.complete
    assert _names(frontiers.cuts) == _sent_by_any_closed_set(model.ir.graph, most)
    assert len(frontiers.cuts) == len(_names(frontiers.cuts))


@FEW
@given(dag_files(structure=False, most=8))
def test_three_of_any_number_are_those_of_three(file: bytes) -> None:
    model = load(file)
    every = find_frontiers(model, most=30)
    three = [at for at in every.cuts if len(at.content) <= 3]
    assert _names(tuple(three)) == _names(find_frontiers(model).cuts)


@FEW
@given(dag_files().flatmap(lambda file: st.tuples(st.just(file), reordered(file))))
def test_the_order_of_the_nodes_does_not_matter(files: tuple[bytes, bytes]) -> None:
    first, second = (
        {frozenset(at.tensors) for at in find_frontiers(load(file)).cuts} for file in files
    )
    assert first == second


@FEW
@given(dag_files(), st.integers(1, 60))
def test_a_bound_gives_fewer_and_says_so(file: bytes, bound: int) -> None:
    model = load(file)
    every = find_frontiers(model)
    some = find_frontiers(model, bound=bound)
    assert some.visited == min(bound, every.visited)
    assert some.complete is (every.visited <= bound)
    assert set(some.cuts) <= set(every.cuts)
    assert not some.complete or some == every


@pytest.mark.engine
@FEWER
@given(dag_files(), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_halves_equal_the_whole_bit_for_bit(file: bytes, batch: int, seed: int) -> None:
    model = load(file)
    feeds = [random_feeds(model, np.random.default_rng(seed), batch=batch)]
    cuts = find_frontiers(model).cuts
    for level in (Optimisation.NONE, Optimisation.EXTENDED):
        for _, proof in prove_cuts(model, cuts, feeds, optimisation=level):
            check_proof(proof)


@FEWER
@given(dag_files())
def test_every_tensor_of_a_cut_is_needed(file: bytes) -> None:
    model = load(file)
    for at in (*find_cuts(model), *find_frontiers(model).cuts):
        halves = cut(model, at)
        tail = halves.tail.ir.graph
        assert all(value.uses() or value.is_graph_output() for value in tail.inputs)
        assert len(halves.head.ir.graph) > 0
        assert any(node.op_type != "Identity" for node in tail)


def _bytes(values: set[onnx_ir.Value]) -> int:
    return sum(
        int(np.prod([d if isinstance(d, int) else 1 for d in v.shape])) * v.dtype.itemsize
        for v in values
    )


def _cheapest(flow: Flow, graph: onnx_ir.Graph, content: Names, head: set[onnx_ir.Value]) -> int:
    """The fewest bytes of structure with which the outputs follow from the content."""
    riders = [value for value in head - flow.content if not value.dtype.is_floating_point()]
    outputs = {value for value in graph.outputs if value in flow.dependent}
    once = head & trace_chain(flow, graph).useful  # content is never computed twice
    kept = {value for value in flow.content if value.name in content}
    best = None
    for size in range(len(riders) + 1):
        for chosen in itertools.combinations(riders, size):
            known = kept | set(chosen)
            for node in (n for n in flow.nodes if not once.intersection(n.outputs)):
                reads = (v for v in flow.reads[node] if v in flow.dependent)
                if all(v in known for v in reads):
                    known.update(node.outputs)
            if outputs <= known and (best is None or _bytes(set(chosen)) < best):
                best = _bytes(set(chosen))
    assert best is not None
    return best


def _in_head(model_cut: Cut, flow: Flow, graph: onnx_ir.Graph) -> Iterator[onnx_ir.Value]:
    stack = [v for v in flow.dependent if v.name in {s.name for s in model_cut.tensors}]
    seen = set(stack)
    while stack:
        value = stack.pop()
        yield value
        node = value.producer()
        fresh = [v for v in flow.reads[node] if v not in seen] if node is not None else []
        seen.update(fresh)
        stack.extend(fresh)


@FEW
@given(dag_files(most=7))
def test_no_other_structure_of_the_first_half_is_fewer_bytes(file: bytes) -> None:
    model = load(file)
    graph = model.ir.graph
    flow = trace_flow(graph)
    for at in (*find_cuts(model), *find_frontiers(model).cuts):
        head = {v for v in _in_head(at, flow, graph) if v in flow.dependent}
        content = frozenset(spec.name for spec in at.content)
        carried = sum(spec.nbytes() for spec in at.structure)
        assert carried <= _cheapest(flow, graph, content, head)


@FEWER
@given(dag_files())
def test_weights_held_are_those_of_the_halves(file: bytes) -> None:
    model = load(file)
    cuts = (*find_cuts(model), *find_frontiers(model).cuts)
    for at, holding in zip(cuts, weights_held(model, cuts), strict=True):
        halves = cut(model, at)
        assert holding.head_bytes == halves.head.weight_bytes
        assert holding.tail_bytes == halves.tail.weight_bytes
        assert set(holding.head) == set(halves.head.ir.graph.initializers)
        assert set(holding.tail) == set(halves.tail.ir.graph.initializers)


@FEWER
@given(dag_files())
def test_macs_before_are_those_of_the_head_and_the_undominated_beat_all_others(
    file: bytes,
) -> None:
    model = load(file)
    profile = count(model)
    cuts = (*find_cuts(model), *find_frontiers(model).cuts)
    prefixes = prefixes_of(profile, [[spec.name for spec in at.tensors] for at in cuts])
    for at, prefix in zip(cuts, prefixes, strict=True):
        assert prefix.macs == count(cut(model, at).head).macs
        assert prefix.macs + prefix.macs_after == profile.macs
    costs = {at: (at.nbytes(), p.macs) for at, p in zip(cuts, prefixes, strict=True)}
    expected = tuple(
        at
        for at in cuts
        if not any(
            other[0] <= costs[at][0] and other[1] <= costs[at][1] and other != costs[at]
            for other in costs.values()
        )
    )
    assert undominated(cuts, profile) == expected
