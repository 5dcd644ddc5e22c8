"""What is known of a graph's values at stated sizes: types, shapes, small contents."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx
from onnx import numpy_helper

from edgewise.graphs.values import Dims
from edgewise.tensors import Array


@dataclass(slots=True)
class Body:
    """One subgraph of a node, sized.

    Args:
        graph: as written.
        scope: what is known of its values.
        times: how often it runs; None when only running it tells.
    """

    graph: onnx.GraphProto
    scope: Scope
    times: int | None


@dataclass(slots=True)
class Scope:
    """What is known of the values of one graph; an inner graph sees the outer one's too.

    Args:
        outer: of the graph around it.
        types: element type and shape by name, as far as known.
        known: the contents of small values, by name.
        bodies: the subgraphs of a node, by the node's first named output.
    """

    outer: Scope | None = None
    types: dict[str, onnx.TypeProto] = field(default_factory=dict)
    known: dict[str, onnx.TensorProto] = field(default_factory=dict)
    bodies: dict[str, tuple[Body, ...]] = field(default_factory=dict)

    def type_of(self, name: str) -> onnx.TypeProto | None:
        """The type of a value of this graph or one around it."""
        found = self.types.get(name)
        return found if found is not None or self.outer is None else self.outer.type_of(name)

    def known_of(self, name: str) -> onnx.TensorProto | None:
        """The contents of a value, when they are known."""
        found = self.known.get(name)
        if found is not None or name in self.types or self.outer is None:
            return found
        return self.outer.known_of(name)

    def dims_of(self, name: str) -> Dims | None:
        """The shape of a value, an unknown axis as ``?``."""
        kind = self.type_of(name)
        return None if kind is None else dims_of_type(kind)

    def chosen(self, name: str) -> bool | None:
        """A single Boolean, when it is known."""
        tensor = self.known_of(name)
        return None if tensor is None else bool(numpy_helper.to_array(tensor).all())

    def all_dims(self) -> dict[str, Dims]:
        """Every known shape of this graph alone."""
        found = ((name, dims_of_type(kind)) for name, kind in self.types.items())
        return {name: dims for name, dims in found if dims is not None}

    def learn(self, name: str, array: Array) -> None:
        """Note the contents of a small value."""
        self.known[name] = numpy_helper.from_array(array, name)
        self.types[name] = type_of_tensor(self.known[name])


def dims_of_type(kind: onnx.TypeProto) -> Dims | None:
    """The shape in a type, an axis that is no number as ``?``; None without one."""
    if not kind.tensor_type.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else "?" for dim in kind.tensor_type.shape.dim
    )


def type_of_tensor(tensor: onnx.TensorProto) -> onnx.TypeProto:
    """The type of a stored tensor."""
    return onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
