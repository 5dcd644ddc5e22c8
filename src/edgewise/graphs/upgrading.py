"""Bring an old network to the operators of today, and prove that it still computes the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnx_ir

from edgewise.engines import Engine, OnnxRuntimeEngine, Optimisation, open_engine
from edgewise.errors import BadInput
from edgewise.graphs.axes import axis_sizes, trial_sizes
from edgewise.graphs.feeds import feeds_for
from edgewise.graphs.flow import trace_flow
from edgewise.graphs.model import serialise
from edgewise.graphs.values import batch_symbols, input_symbols, spec_of
from edgewise.tensors import Array, Axes

UPGRADED_OPSET = 17
_MAX_REL = 1e-5  # the same operators under other names; only the order of sums may differ
_SEED = 0
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

    Args:
        before: as the file has it.
        after: with known shapes.
        where: what messages call the file.

    Raises:
        BadInput: when they differ by more than 1e-5 relative, or cannot be run.
    """
    rng = np.random.default_rng(_SEED)
    flow = trace_flow(after.graph)
    specs = [spec_of(value, role=flow.role_of(value)) for value in after.graph.inputs]
    refusal: BadInput | None = None
    with (
        _engine(before.SerializeToString(), where) as old,
        _engine(serialise(after), where) as new,
    ):
        for sizes in _sizes_to_try(after.graph):
            feeds = feeds_for(after.graph, specs, rng, sizes)
            try:
                wanted = old.run(feeds)
            except BadInput as error:  # not at these sizes
                refusal = error
                continue
            _compare(wanted, _run_upgraded(new, feeds, where), where)
            return
    raise BadInput(
        expected=f"sizes at which the network in {where} runs, to prove its upgrade to opset "
        f"{UPGRADED_OPSET}",
        found="none" if refusal is None else refusal.found,
        remedy="export it with opset 17",
    )


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
        a, b = want.astype(np.float64), got.astype(np.float64)
        scale = float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0))
        if not np.allclose(a, b, rtol=0.0, atol=_MAX_REL * scale, equal_nan=True):
            raise _differs(where, f"other numbers in {name!r}")


def _differs(where: str, found: str) -> BadInput:
    return BadInput(
        expected=f"the same outputs of {where} before and after its upgrade to opset "
        f"{UPGRADED_OPSET}",
        found=found[:300],
        remedy="export it with opset 17 (torch.onnx.export(…, opset_version=17))",
    )
