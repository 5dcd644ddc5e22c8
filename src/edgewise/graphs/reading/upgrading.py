"""Bring an old network to the operators of today, and prove that it still computes the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnx_ir

from edgewise.engines import Engine, OnnxRuntimeEngine, Optimisation, open_engine
from edgewise.errors import BadInput
from edgewise.graphs.feeds import feeds_for
from edgewise.graphs.flow import trace_flow
from edgewise.graphs.gaps import gap_between
from edgewise.graphs.model import OLDEST_IR_VERSION
from edgewise.graphs.sizes.axes import axis_sizes, trial_sizes
from edgewise.graphs.values import batch_symbols, input_symbols, spec_of
from edgewise.tensors import Array, Axes

UPGRADED_OPSET = 17
_MAX_REL = 1e-5  # the same operators under other names; only the order of sums may differ
_SEED = 0
_RANDOM = 65_521  # numbers are drawn; more would take seconds. A prime, so that rows differ
_ALIKE = (224, 320, 640)  # sides that networks for pictures ask for, as well as the trial sizes


def convert(proto: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """The network with the operators of opset 17.

    Raises:
        BadInput: when the converter of onnx cannot do it.
    """
    try:
        return onnx.version_converter.convert_version(proto, UPGRADED_OPSET)
    except Exception as error:  # whatever the converter meets
        raise BadInput(
            expected=f"a network in {where} that can be brought to opset {UPGRADED_OPSET}",
            found=" ".join(str(error).split())[:300] or type(error).__name__,
            remedy="export it with opset 17 (torch.onnx.export(…, opset_version=17))",
        ) from None


def prove_upgrade(before: onnx.ModelProto, after: onnx_ir.Model, where: str) -> None:
    """Run both on the same random inputs and compare all outputs.

    Files that hold only the form of a network make all their weights alike (ConstantOfShape), so
    that many a mistake would not show in their outputs. Those are given random weights in both.

    Args:
        before: as the file has it.
        after: with known shapes.
        where: what messages call the file.

    Raises:
        BadInput: when they differ by more than 1e-5 relative, or cannot be run.
    """
    alike = _weights_alike(before)
    with _engine(_randomised(before, alike), where) as old:
        feeds, wanted = _first_answer(old, after.graph, where)
    with _engine(_randomised(onnx_ir.to_proto(after), alike), where) as new:
        _compare(wanted, _run_upgraded(new, feeds, where), where)


def _first_answer(
    old: Engine, graph: onnx_ir.Graph, where: str
) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    """Inputs at the first sizes at which the network runs, and its outputs."""
    rng = np.random.default_rng(_SEED)
    flow = trace_flow(graph)
    specs = [spec_of(value, role=flow.role_of(value)) for value in graph.inputs]
    refusal: BadInput | None = None
    for sizes in _sizes_to_try(graph):
        feeds = feeds_for(graph, specs, rng, sizes)
        try:
            return feeds, old.run(feeds)
        except BadInput as error:  # not at these sizes
            refusal = error
    raise BadInput(
        expected=f"sizes at which the network in {where} runs, to prove its upgrade to opset "
        f"{UPGRADED_OPSET}",
        found="none" if refusal is None else refusal.found,
        remedy="export it with opset 17",
    )


def _weights_alike(proto: onnx.ModelProto) -> Mapping[str, Array]:
    """Random weights in place of the floats that nodes of the graph make all alike, by name.

    Those of one axis stay near what they were: a variance must not be negative, nor a scale 0.
    """
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    rng = np.random.default_rng(_SEED)
    found: dict[str, Array] = {}
    for node in proto.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in stored:
            continue
        shape = onnx.numpy_helper.to_array(stored[node.input[0]])
        value = onnx.numpy_helper.to_array(node.attribute[0].t) if node.attribute else None
        if len(shape) and value is not None and value.dtype == np.float32:
            found[node.output[0]] = _random_like(value.item(), tuple(map(int, shape)), rng)
    return found


def _random_like(value: float, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if len(shape) == 1:
        return np.asarray(rng.uniform(0.5, 1.5, shape) * (value or 1.0), np.float32)
    # He et al., "Delving Deep into Rectifiers", 2015, equation 10: sizes stay through the layers.
    scale = np.float32(math.sqrt(2 / max(1, math.prod(shape[1:]))))
    return np.resize(rng.standard_normal(_RANDOM, np.float32) * scale, shape)


def _randomised(proto: onnx.ModelProto, weights: Mapping[str, Array]) -> bytes:
    if not weights:
        return bytes(proto.SerializeToString())
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    kept = [node for node in copy.graph.node if node.output[0] not in weights]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    copy.ir_version = max(copy.ir_version, OLDEST_IR_VERSION)  # so that weights are no inputs
    copy.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in weights.items()
    )
    return bytes(copy.SerializeToString())


def _engine(raw: bytes, where: str) -> OnnxRuntimeEngine:
    try:
        return open_engine(raw, optimisation=Optimisation.BASIC)
    except BadInput as error:
        raise BadInput(
            expected=f"a network in {where} that onnxruntime loads before and after its upgrade "
            f"to opset {UPGRADED_OPSET}",
            found=error.found,
            remedy="export it with opset 17",
        ) from None


def _run_upgraded(new: Engine, feeds: Mapping[str, Array], where: str) -> Mapping[str, Array]:
    try:
        return new.run(feeds)
    except BadInput as error:
        raise _differs(where, error.found) from None


def _sizes_to_try(graph: onnx_ir.Graph) -> Iterator[Axes]:
    for points in trial_sizes(graph):
        yield points[0]
    symbols = input_symbols(graph)
    for side in _ALIKE if symbols else ():
        others = {name: 1 if name in batch_symbols(graph) else side for name in symbols}
        yield axis_sizes(graph, 1, others)


def _compare(wanted: Mapping[str, Array], found: Mapping[str, Array], where: str) -> None:
    for name, want in wanted.items():
        got = found[name]
        if want.shape != got.shape or want.dtype != got.dtype:
            raise _differs(where, f"{name!r} of shape {got.shape} instead of {want.shape}")
        if gap_between(want, got)[1] > _MAX_REL:
            raise _differs(where, f"other numbers in {name!r}")


def _differs(where: str, found: str) -> BadInput:
    return BadInput(
        expected=f"the same outputs of {where} before and after its upgrade to opset "
        f"{UPGRADED_OPSET}",
        found=found[:300],
        remedy="export it with opset 17 (torch.onnx.export(…, opset_version=17))",
    )
