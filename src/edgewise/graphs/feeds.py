"""Inputs to try a network with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

from edgewise.graphs.axes import axis_sizes
from edgewise.graphs.flow import embedding_rows
from edgewise.graphs.model import Model
from edgewise.tensors import Array, Axes, Role, TensorSpec


def random_feeds(
    model: Model, rng: np.random.Generator, *, batch: int = 1, axes: Axes | None = None
) -> dict[str, Array]:
    """Inputs to try a network with.

    Floats are standard normal, 8- and 16-bit integers uniform over their range, indices of an
    embedding uniform over its rows. Structure is all ones: nothing masked.

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
    return {
        spec.name: _random(spec, spec.concrete(1, sizes), rng, rows[spec.name]) for spec in inputs
    }


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
