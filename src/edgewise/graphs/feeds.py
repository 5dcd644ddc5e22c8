"""Inputs to try a network with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir

from edgewise.graphs.flow import embedding_rows, readers_of
from edgewise.graphs.model import Model
from edgewise.graphs.sizes.axes import axis_sizes
from edgewise.graphs.values import dtype_name, name_of
from edgewise.tensors import Array, Axes, Role, TensorSpec

_COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})


def random_feeds(
    model: Model, rng: np.random.Generator, *, batch: int = 1, axes: Axes | None = None
) -> dict[str, Array]:
    """Inputs to try a network with.

    Floats are standard normal, 8- and 16-bit integers uniform over their range, indices of an
    embedding uniform over its rows. Structure is all ones: nothing masked; but an integer of one
    element that the network compares with constants, such as a sampling rate, is the first one.

    Args:
        model: the network.
        rng: the source of randomness.
        batch: the size of symbolic first axes that ``axes`` does not name.
        axes: sizes of symbolic axes by name.

    Raises:
        BadInput: when an axis has no size.
    """
    return feeds_for(model.ir.graph, model.inputs, rng, axis_sizes(model.ir.graph, batch, axes))


def feeds_for(
    graph: onnx_ir.Graph, inputs: Sequence[TensorSpec], rng: np.random.Generator, sizes: Axes
) -> dict[str, Array]:
    """The same for a graph that is no model yet; ``sizes`` has every symbolic axis."""
    rows = {value.name: embedding_rows(value) for value in graph.inputs}
    feeds = {
        spec.name: _random(spec, spec.concrete(1, sizes), rng, rows[spec.name]) for spec in inputs
    }
    for name, numbers in deciding_numbers(graph).items():
        if name in feeds and feeds[name].size == 1:
            feeds[name] = np.full_like(feeds[name], numbers[0])
    return feeds


def deciding_numbers(graph: onnx_ir.Graph) -> Mapping[str, tuple[int, ...]]:
    """The numbers by which integer and Boolean inputs may decide what runs.

    For an integer they are the constants that it is compared with, in the order in which the
    graph has them, then the numbers beside them; for a Boolean that an If tests, true and false.
    """
    found: dict[str, tuple[int, ...]] = {}
    for value in graph.inputs:
        kind = dtype_name(value) or ""
        if kind == "bool" and any(node.op_type == "If" for node, _ in readers_of(value)):
            found[name_of(value)] = (1, 0)
        elif kind.startswith(("int", "uint")):
            limits = np.iinfo(kind)
            numbers = tuple(_compared_with(value))
            beside = (number + step for number in numbers for step in (1, -1))
            every = dict.fromkeys((*numbers, *beside))
            fitting = tuple(number for number in every if limits.min <= number <= limits.max)
            if fitting:
                found[name_of(value)] = fitting
    return found


def _compared_with(value: onnx_ir.Value) -> Iterator[int]:
    for node, place in readers_of(value):
        if node.op_type in _COMPARISONS and node.domain == "":
            array = _constant(node.inputs[1 - place])
            if array is not None and array.size == 1 and array.dtype.kind in "iuf":
                yield int(array.item())


def _constant(value: onnx_ir.Value | None) -> Array | None:
    """What an initialiser or a Constant node holds; None for anything else."""
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Constant":
        held = next(iter(node.attributes.values()), None)
        return None if held is None or held.is_ref() else _numbers(held)
    stored = None if value is None or value.is_graph_input() else value.const_value
    array: Array | None = None if stored is None else stored.numpy()
    return array


def _numbers(held: onnx_ir.Attr) -> Array | None:
    if held.type is onnx_ir.AttributeType.TENSOR:
        array: Array = held.as_tensor().numpy()
        return array
    return np.asarray(held.value) if held.name.startswith(("value_int", "value_float")) else None


def _random(
    spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator, rows: int | None
) -> Array:
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if rows is not None:
        return rng.integers(0, rows, shape).astype(dtype)
    if spec.role is Role.CONTENT and dtype.kind in "iu" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
    return np.ones(shape, dtype)
