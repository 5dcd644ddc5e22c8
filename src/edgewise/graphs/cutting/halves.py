"""Cut a network into the half that runs on the device and the half that runs in the cloud."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir
from onnx_ir.convenience import create_value_mapping, extract, replace_all_uses_with

from edgewise.errors import BadInput
from edgewise.graphs.cutting.cuts import Cut, check_known
from edgewise.graphs.cutting.payloads import Coding, Payload, QuantRange, Step, coding_of
from edgewise.graphs.model import LABELS_KEY, PREPARATION_KEY, Model
from edgewise.graphs.reading.loading import make_model
from edgewise.graphs.values import name_of, spec_of
from edgewise.tensors import Role, TensorSpec

WIRE_NAME = re.compile(r"[A-Za-z0-9_./:-]{1,256}")
_LONGEST_STEM = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """The two halves of a network, and what goes from one to the other.

    Args:
        head: takes what the whole takes, gives the boundary.
        tail: takes the boundary, gives what the whole gives.
        boundary: the tensors between, as they cross: encoded, under their names on the wire.
        at: where the network was cut.
        payload: what floating-point content crosses as.
    """

    head: Model
    tail: Model
    boundary: tuple[TensorSpec, ...]
    at: Cut
    payload: Payload


def cut(
    model: Model,
    at: Cut,
    *,
    payload: Payload = Payload.FP32,
    ranges: Mapping[str, QuantRange] | None = None,
) -> Halves:
    """Cut a network in two.

    Constants go to the half that needs them, or to both. The payload's arithmetic is nodes: the
    last of the head, the first of the tail. Preparation metadata goes with the head, labels with
    the tail, all else with both.

    Args:
        model: the whole; it stays as it is.
        at: one of :func:`find_cuts`, or another set of tensors that separates inputs and outputs.
        payload: what floating-point content crosses as.
        ranges: for INT8, the range of each content tensor by its name.

    Raises:
        BadInput: when ``at`` does not separate the network, or INT8 lacks a range.
    """
    graph = model.ir.graph
    names = [spec.name for spec in at.tensors]
    check_known(names, create_value_mapping(graph, include_subgraphs=False))
    head, tail = _extract_halves(graph, names)
    taken = {
        name
        for part in (graph, head, tail)
        for name in create_value_mapping(part, include_subgraphs=True)
    }
    boundary = []
    for index, spec in enumerate(at.tensors):
        coding = _coding(spec, head.outputs[index], payload, ranges or {})
        crossing = _crossing_name(spec.name, coding, graph, taken)
        if crossing != spec.name:
            _encode(head, index, crossing, coding)
            _decode(tail, index, crossing, coding)
        boundary.append(replace(spec_of(head.outputs[index]), role=spec.role))
    return Halves(
        head=_half(model, head, "head", drop=LABELS_KEY),
        tail=_half(model, tail, "tail", drop=PREPARATION_KEY),
        boundary=tuple(boundary),
        at=at,
        payload=payload,
    )


def wire_name(name: str) -> str:
    """A name that may stand in a frame's header; always the same for the same name.

    >>> wire_name("/features/Relu_output_0")
    '/features/Relu_output_0'
    >>> wire_name("größe")
    'gr__e-d353a267'
    """
    if WIRE_NAME.fullmatch(name):
        return name
    stem = re.sub(r"[^A-Za-z0-9_./:-]", "_", name)[:_LONGEST_STEM]
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _extract_halves(graph: onnx_ir.Graph, names: list[str]) -> tuple[onnx_ir.Graph, onnx_ir.Graph]:
    try:
        head = extract(graph, inputs=list(graph.inputs), outputs=names)
        return head, extract(graph, inputs=names, outputs=list(graph.outputs))
    except ValueError as error:
        raise BadInput(
            expected=f"a cut that separates inputs and outputs at {', '.join(names)}",
            found=str(error)[:300],
            remedy="list the legal cuts with: edgewise inspect MODEL",
        ) from None


def _coding(
    spec: TensorSpec, value: onnx_ir.Value, payload: Payload, ranges: Mapping[str, QuantRange]
) -> Coding:
    if spec.role is not Role.CONTENT or value.dtype is None:
        return Coding()
    return coding_of(value.dtype, payload, ranges.get(spec.name))


def _crossing_name(name: str, coding: Coding, graph: onnx_ir.Graph, taken: set[str]) -> str:
    """The boundary's name; other than the tensor's own when nodes must stand between them.

    An input of the whole that the tail needs too, and an output that the head already computes,
    pass through an Identity, since one name may not be both an input and an output.
    """
    border = {value.name for value in (*graph.inputs, *graph.outputs)}
    suffix = f":{coding.encode[-1].dtype.name.lower()}" if coding.encode else ""
    if not suffix and name in border:
        suffix = ":carried"
    crossing = wire_name(name + suffix)
    while crossing != name and crossing in taken:
        crossing = wire_name(crossing + "_")
    return crossing


def _encode(head: onnx_ir.Graph, index: int, crossing: str, coding: Coding) -> None:
    value = head.outputs[index]
    steps = coding.encode or _as_it_is(value)
    nodes = _chain(value, steps, coding, last_name=crossing)
    head.extend(nodes)
    _register_constants(head, nodes)
    head.outputs[index] = nodes[-1].outputs[0]


def _decode(tail: onnx_ir.Graph, index: int, crossing: str, coding: Coding) -> None:
    value = tail.inputs[index]
    steps = coding.decode or _as_it_is(value)
    arriving = coding.encode[-1].dtype if coding.encode else value.dtype
    source = onnx_ir.val(crossing, arriving)
    source.shape = value.shape
    nodes = _chain(source, steps, coding, last_name=name_of(value))
    tail.inputs[index] = source
    replace_all_uses_with(value, nodes[-1].outputs[0], replace_graph_outputs=True)
    first = next(iter(tail), None)
    if first is None:
        tail.extend(nodes)
    else:
        tail.insert_before(first, nodes)
    _register_constants(tail, nodes)


def _as_it_is(value: onnx_ir.Value) -> tuple[Step, ...]:
    assert value.dtype is not None
    return (Step(op="Identity", dtype=value.dtype),)


def _chain(
    value: onnx_ir.Value, steps: tuple[Step, ...], coding: Coding, *, last_name: str
) -> list[onnx_ir.Node]:
    nodes: list[onnx_ir.Node] = []
    label = wire_name(f"edgewise:{last_name}")
    for number, step in enumerate(steps, start=1):
        output = onnx_ir.val(
            last_name if number == len(steps) else f"{label}:{number}", step.dtype
        )
        output.shape = value.shape
        node = onnx_ir.node(
            step.op,
            [nodes[-1].outputs[0] if nodes else value, *_parameters(step, coding, label)],
            {"to": int(step.dtype)} if step.op == "Cast" else None,
            outputs=[output],
            name=f"{label}:{step.op}",
        )
        nodes.append(node)
    return nodes


def _parameters(step: Step, coding: Coding, label: str) -> list[onnx_ir.Value]:
    if step.op not in ("QuantizeLinear", "DequantizeLinear"):
        return []
    parts = (("scale", np.float32(coding.scale)), ("zero_point", np.uint8(coding.zero_point)))
    values = []
    for kind, number in parts:
        tensor = onnx_ir.tensor(np.array(number), name=f"{label}:{kind}")
        values.append(onnx_ir.val(f"{label}:{kind}", tensor.dtype, [], const_value=tensor))
    return values


def _register_constants(graph: onnx_ir.Graph, nodes: list[onnx_ir.Node]) -> None:
    for node in nodes:
        for value in node.inputs[1:]:
            if value is not None:
                graph.register_initializer(value)


def _half(model: Model, graph: onnx_ir.Graph, part: str, *, drop: str) -> Model:
    name = f"{model.name}-{part}"
    graph.name = name
    ir = onnx_ir.Model(
        graph,
        ir_version=model.ir.ir_version,
        producer_name="edgewise",
        metadata_props={key: text for key, text in model.metadata.items() if key != drop},
    )
    return make_model(ir, name=name, custom_ops=model.custom_ops)
