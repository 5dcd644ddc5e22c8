"""Legal cuts of random graphs: against brute force, in any order, and run for real."""

from __future__ import annotations

import networkx as nx
import numpy as np
import onnx
import onnx_ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewise.engines import Optimisation
from edgewise.graphs import check_proof, cut, find_cuts, load, prove_cuts, random_feeds, to_bytes
from edgewise.graphs.flow import Flow, trace_flow
from strategies import dag_files, reordered

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FEWER = settings(FEW, max_examples=15)


def _without(value: onnx_ir.Value, graph: onnx_ir.Graph) -> nx.DiGraph:
    wires = nx.DiGraph()
    wires.add_nodes_from(v.name for v in graph.inputs)
    for node in graph:
        wires.add_edges_from((a.name, b.name) for a in node.inputs for b in node.outputs)
    wires.remove_node(value.name)
    return wires


@FEW
@given(dag_files(structure=False))
def test_without_structure_a_cut_is_a_value_that_no_path_avoids(file: bytes) -> None:
    model = load(file)
    graph = model.ir.graph
    ends = {value.name for value in graph.outputs}
    starts = {value.name for value in graph.inputs}
    expected = []
    for value in (value for node in graph for value in node.outputs):
        wires = _without(value, graph)
        avoided = any(
            nx.has_path(wires, start, end)
            for start in starts & set(wires)
            for end in ends & set(wires)
        )
        if not avoided and ends != {value.name}:
            expected.append(value.name)
    leading = [name for name in expected if _reaches(model.ir.graph, name, ends)]
    assert sorted(c.name for c in find_cuts(model)) == sorted(leading)


def _reaches(graph: onnx_ir.Graph, name: str, ends: set[str]) -> bool:
    wires = nx.DiGraph()
    wires.add_node(name)
    for node in graph:
        wires.add_edges_from((a.name, b.name) for a in node.inputs for b in node.outputs)
    return bool((nx.descendants(wires, name) | {name}) & ends)


def _brute_force(flow: Flow, graph: onnx_ir.Graph) -> set[str]:
    outputs = {value for value in graph.outputs if value in flow.dependent}
    legal = set()
    for content in flow.content - set(graph.inputs):
        after = _closure(flow, {content}, any_input=True)
        before = _made_with(flow, content)
        carried = {
            value
            for value in set(flow.dependent) - flow.content
            if value in before and not value.dtype.is_floating_point()
        }
        computed = _closure(flow, {content} | carried, any_input=False)
        if outputs <= computed and outputs <= after and outputs != {content}:
            legal.add(content.name)
    return legal


def _made_with(flow: Flow, content: onnx_ir.Value) -> set[onnx_ir.Value]:
    """What can be computed by the nodes that the content needs, and by those beside content."""
    leading, stack = {content}, [content]
    while stack:
        node = stack.pop().producer()
        for value in flow.reads[node] if node is not None else ():
            if value in flow.dependent and value not in leading:
                leading.add(value)
                stack.append(value)
    useful = _by_content_alone(flow, content)
    inputs = {value for value in flow.dependent if value.producer() is None}
    found = leading | inputs
    for node in flow.nodes:
        ready = all(value in found for value in flow.reads[node] if value in flow.dependent)
        if ready and not any(out in useful for out in node.outputs):
            found.update(node.outputs)
    return found


def _by_content_alone(flow: Flow, content: onnx_ir.Value) -> set[onnx_ir.Value]:
    graph = content.graph
    useful = {value for value in graph.outputs if value in flow.content}
    for node in reversed(flow.nodes):
        if any(out in useful for out in node.outputs):
            useful.update(value for value in flow.reads[node] if value in flow.content)
    return useful


def _closure(flow: Flow, start: set[onnx_ir.Value], *, any_input: bool) -> set[onnx_ir.Value]:
    found = set(start)
    for node in flow.nodes:
        known = [value in found for value in flow.reads[node] if value in flow.dependent]
        if any(known) if any_input else all(known):
            found.update(node.outputs)
    return found


@FEW
@given(dag_files())
def test_with_structure_a_cut_is_what_the_outputs_can_be_computed_from(file: bytes) -> None:
    model = load(file)
    graph = model.ir.graph
    assert {c.name for c in find_cuts(model)} == _brute_force(trace_flow(graph), graph)


@FEW
@given(dag_files().flatmap(lambda file: st.tuples(st.just(file), reordered(file))))
def test_the_order_of_the_nodes_does_not_matter(files: tuple[bytes, bytes]) -> None:
    first, second = ({frozenset(c.tensors) for c in find_cuts(load(file))} for file in files)
    assert first == second


@pytest.mark.engine
@FEWER
@given(dag_files(), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_halves_equal_the_whole_bit_for_bit(file: bytes, batch: int, seed: int) -> None:
    model = load(file)
    feeds = [random_feeds(model, np.random.default_rng(seed), batch=batch)]
    cuts = find_cuts(model)
    for level in (Optimisation.NONE, Optimisation.EXTENDED):
        proofs = list(prove_cuts(model, cuts, feeds, optimisation=level))
        assert [at for at, _ in proofs] == list(cuts)
        for _, proof in proofs:
            check_proof(proof)


@FEWER
@given(dag_files())
def test_halves_are_valid_files_and_the_whole_stays_as_it_was(file: bytes) -> None:
    model = load(file)
    before = to_bytes(model)
    for at in find_cuts(model):
        halves = cut(model, at)
        for half in (halves.head, halves.tail):
            onnx.checker.check_model(to_bytes(half), full_check=True)
            assert len(half.ir.graph) > 0
        assert [s.name for s in halves.tail.inputs] == [s.name for s in halves.boundary]
        assert halves.head.inputs == model.inputs
        assert [s.name for s in halves.tail.outputs] == [s.name for s in model.outputs]
    assert to_bytes(model) == before
