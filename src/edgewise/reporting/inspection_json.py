"""What was found out about a network, as the JSON that other programs rely on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgewise.profiling import (
    CutFigures,
    Inspection,
    OperatorCost,
    operator_costs,
    operator_counts,
)
from edgewise.records import write_record
from edgewise.tensors import TensorSpec


def inspection_json(inspection: Inspection) -> dict[str, Any]:
    """What a network is, what it costs, what can go and where it can be cut.

    Symbolic axes stay names in every shape; bytes hold for ``batch`` and ``axes``. Figures that
    cannot be known are null, and ``uncounted`` says why.
    """
    model, profile, outline = inspection.model, inspection.profile, inspection.outline
    costs = operator_costs(inspection)
    return {
        "name": model.name,
        "digest": model.digest,
        "opset": model.opset,
        "inputs": _tensors_json(model.inputs, inspection),
        "outputs": _tensors_json(model.outputs, inspection),
        "batch": inspection.batch,
        "axes": dict(inspection.axes),
        "assumed_axes": list(inspection.assumed),
        "changes": list(model.changes),
        "nodes": len(outline.nodes),
        "constant_nodes": outline.constant_nodes,
        "body_nodes": sum(node.inner_nodes for node in outline.nodes),
        "operators": dict(operator_counts(costs)),
        "operator_costs": [_operator_json(cost) for cost in costs],
        "macs": None if profile is None else profile.macs,
        "uncounted": inspection.uncounted or None,
        "parameters": outline.parameters,
        "weight_bytes": model.weight_bytes,
        "peak_activation_bytes": None if profile is None else profile.peak_activation_bytes,
        "peak_node": None if inspection.peak is None else inspection.peak.node,
        "trim": _trim_json(inspection),
        "input_bytes": inspection.input_bytes,
        "cuts": [_cut_json(cut, inspection) for cut in inspection.cuts],
        "frontiers": _frontiers_json(inspection),
    }


def _tensors_json(specs: Sequence[TensorSpec], inspection: Inspection) -> list[dict[str, Any]]:
    return [{**write_record(spec), "bytes": inspection.nbytes(spec)} for spec in specs]


def _operator_json(cost: OperatorCost) -> dict[str, Any]:
    return {
        "op": cost.op,
        "nodes": cost.nodes,
        "macs": cost.macs,
        "weight_bytes": cost.weight_bytes,
        "moved_bytes": cost.moved_bytes,
    }


def _trim_json(inspection: Inspection) -> dict[str, Any]:
    step = inspection.trim
    if step is None:
        return {"removed": [], "undone": [], "unknown": inspection.untrimmed}
    return {
        "removed": [{"what": r.what, "nodes": r.nodes, "bytes": r.bytes} for r in step.removed],
        "undone": [{"what": u.what, "reason": u.reason} for u in step.undone],
        "nodes_before": step.nodes_before,
        "nodes_after": step.nodes_after,
        "bytes_before": step.bytes_before,
        "bytes_after": step.bytes_after,
        "max_rel": step.max_rel,
        "runs": step.runs,
    }


def _cut_json(cut: CutFigures, inspection: Inspection) -> dict[str, Any]:
    total = None if inspection.profile is None else inspection.profile.macs
    known = cut.macs_before is not None and total is not None
    return {
        "tensors": _tensors_json(cut.cut.tensors, inspection),
        "bytes": cut.bytes,
        "macs_before": cut.macs_before,
        "macs_after": (total or 0) - (cut.macs_before or 0) if known else None,
        "head_weight_bytes": cut.head_weight_bytes,
        "tail_weight_bytes": cut.tail_weight_bytes,
        "best": cut.best,
    }


def _frontiers_json(inspection: Inspection) -> dict[str, Any] | None:
    search = inspection.search
    if search is None:
        return None
    return {
        "complete": search.complete,
        "visited": search.visited,
        "bound": inspection.frontier_bound,
        "found": len(search.cuts),
        "cuts": [_cut_json(cut, inspection) for cut in inspection.frontiers],
    }
