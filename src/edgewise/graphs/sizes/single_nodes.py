"""Run or size one node alone."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from edgewise.engines import Optimisation, open_engine
from edgewise.errors import BadInput
from edgewise.graphs.chance import UNREPEATABLE_OPS
from edgewise.graphs.sizes.scopes import dims_of_type
from edgewise.tensors import Array

_LOG = logging.getLogger(__name__)
_MAX_TRIED_BYTES = 2**24  # a foreign node is run for its shapes on at most this many bytes


def evaluate(
    node: onnx.NodeProto, feeds: Mapping[str, Array], model: onnx.ModelProto
) -> Mapping[str, Array]:
    """The outputs of one small standard node, by onnx's reference; empty if it fails.

    Args:
        node: without subgraphs.
        feeds: its inputs, contents known.
        model: for the operators' versions.
    """
    if node.op_type in UNREPEATABLE_OPS:
        return {}
    graph = onnx.helper.make_graph([node], "one", _typed(feeds), _untyped(node))
    alone = onnx.helper.make_model(
        graph, opset_imports=list(model.opset_import), ir_version=model.ir_version
    )
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = ReferenceEvaluator(alone).run(None, dict(feeds))
    except Exception as error:  # whatever numpy or the reference makes of strange values
        _LOG.info("the %s node %r was not computed: %s", node.op_type, node.name, error)
        return {}
    names = [name for name in node.output if name]
    return {
        name: array
        for name, array in zip(names, map(np.asarray, found), strict=False)
        if array.dtype.kind in "biuf"
    }


class ForeignNodes:
    """Sizes operators that onnx does not define, with the shape inference of onnxruntime.

    Where that has none, the node is run on zeros, if that takes little memory.

    Args:
        opsets: the model's.
        ir_version: the model's.
        custom_ops: libraries that define operators.
    """

    def __init__(
        self,
        opsets: Sequence[onnx.OperatorSetIdProto],
        ir_version: int,
        custom_ops: tuple[Path, ...] = (),
    ) -> None:
        self._opsets = list(opsets)
        self._ir_version = ir_version
        self._custom_ops = custom_ops
        self._found: dict[bytes, list[onnx.TypeProto | None]] = {}

    def size(
        self,
        node: onnx.NodeProto,
        types: Mapping[str, onnx.TypeProto],
        known: Mapping[str, onnx.TensorProto],
    ) -> Mapping[str, onnx.TypeProto]:
        """The types of a node's outputs, as far as onnxruntime can tell."""
        wanted = {name for name in node.input if name}
        shapes = [dims_of_type(kind) for kind in types.values()]
        if wanted - set(types) or not all(
            shape is not None and "?" not in shape for shape in shapes
        ):
            return {}
        alone = self._alone(node, types, known)
        key = alone.SerializeToString(deterministic=True)
        if key not in self._found:
            self._found[key] = self._ask(alone)
        named = [name for name in node.output if name]
        pairs = zip(named, self._found[key], strict=False)
        return {name: kind for name, kind in pairs if kind is not None}

    def _alone(
        self,
        node: onnx.NodeProto,
        types: Mapping[str, onnx.TypeProto],
        known: Mapping[str, onnx.TensorProto],
    ) -> onnx.ModelProto:
        """The node as a model, its tensors numbered so that equal nodes are equal models."""
        numbers = {
            name: f"i{index}" for index, name in enumerate(dict.fromkeys(node.input)) if name
        }
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = ""
        del copy.input[:], copy.output[:]
        copy.input.extend(numbers.get(name, "") for name in node.input)
        copy.output.extend(f"o{index}" if name else "" for index, name in enumerate(node.output))
        stored = []
        for name, tensor in known.items():
            stored.append(onnx.TensorProto())
            stored[-1].CopyFrom(tensor)
            stored[-1].name = numbers[name]
        given = [
            onnx.helper.make_value_info(numbers[name], types[name])
            for name in numbers
            if name not in known
        ]
        graph = onnx.helper.make_graph([copy], "one", given, _untyped(copy), stored)
        return onnx.helper.make_model(
            graph, opset_imports=self._opsets, ir_version=self._ir_version
        )

    def _ask(self, alone: onnx.ModelProto) -> list[onnx.TypeProto | None]:
        try:
            with open_engine(
                alone.SerializeToString(),
                optimisation=Optimisation.NONE,
                custom_ops=self._custom_ops,
            ) as engine:
                stated = [(spec.dtype, spec.shape) for spec in engine.outputs]
                # No shape at all also reads as (): then only running it tells.
                if all(shape and all(isinstance(n, int) for n in shape) for _, shape in stated):
                    return [_type(dtype, shape) for dtype, shape in stated]
                return self._run(engine, alone)
        except (BadInput, ValueError) as error:
            _LOG.info("%s was not sized: %s", alone.graph.node[0].op_type, error)
            return [None] * len(alone.graph.output)

    def _run(self, engine: Any, alone: onnx.ModelProto) -> list[onnx.TypeProto | None]:
        feeds = {
            spec.name: np.zeros(spec.concrete(), spec.dtype)
            for spec in engine.inputs
            if spec.nbytes() <= _MAX_TRIED_BYTES
        }
        if sum(array.nbytes for array in feeds.values()) > _MAX_TRIED_BYTES:
            return [None] * len(alone.graph.output)
        found = engine.run(feeds)
        return [_type(array.dtype.name, array.shape) for array in found.values()]


def _type(dtype: str, shape: Sequence[int | str]) -> onnx.TypeProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return onnx.helper.make_tensor_type_proto(kind, list(shape))


def _typed(feeds: Mapping[str, Array]) -> list[onnx.ValueInfoProto]:
    return [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feeds.items()
    ]


def _untyped(node: onnx.NodeProto) -> list[onnx.ValueInfoProto]:
    return [onnx.ValueInfoProto(name=name) for name in node.output if name]
