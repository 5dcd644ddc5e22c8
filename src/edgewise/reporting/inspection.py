"""What was found out about a network, as facts and tables."""

from __future__ import annotations

from collections.abc import Sequence

from edgewise.graphs import Trim
from edgewise.profiling import CutFigures, Inspection, open_axes
from edgewise.reporting.operators import UNKNOWN
from edgewise.reporting.sheet import Sheet
from edgewise.tensors import TensorSpec
from edgewise.units import format_bytes, format_count, format_share

_TENSORS_SHOWN = 6
_EXACTLY = 1e-12  # a difference below it is one of numbers next to nothing
_BODIES_SHOWN = 3
_LATE = 0.95  # of the MACs: the device has then done the work


def inspection_facts(inspection: Inspection) -> dict[str, str]:
    """What a network is, by what one calls it."""
    model = inspection.model
    facts = {
        "network": f"{model.name}, opset {model.opset}, digest {model.digest[:12]}",
        "inputs": _tensors(model.inputs, inspection),
        "outputs": _tensors(model.outputs, inspection),
        "sizes": assumption(inspection),
        "nodes": _nodes(inspection),
        "MACs": _macs(inspection),
        "weights": _weights(inspection),
        "peak": _peak(inspection),
        "loading": "; ".join(model.changes),
        "trim": _trim(inspection),
    }
    return {name: text for name, text in facts.items() if text}


def _tensors(specs: Sequence[TensorSpec], inspection: Inspection) -> str:
    sizes = [inspection.nbytes(spec) for spec in specs[:_TENSORS_SHOWN]]
    shown = [
        str(spec) + ("" if size is None else f" {format_bytes(size)}")
        for spec, size in zip(specs, sizes, strict=False)
    ]
    left = len(specs) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")


def assumption(inspection: Inspection) -> str:
    """The sizes that the figures hold for, and how to state others; empty if all are fixed."""
    firsts, _ = open_axes(inspection.model.inputs)
    sizes = [f"{name} = {size}" for name, size in inspection.axes.items()]
    if any(name not in inspection.axes for name in firsts):
        sizes.insert(0, f"batch {inspection.batch}")
    if not inspection.assumed:
        return ", ".join(sizes)
    first = inspection.assumed[0]
    others = ", …" if len(inspection.assumed) > 1 else ""
    return f"{', '.join(sizes)} ({first}{others} assumed; state it with --axis {first}=SIZE)"


def _nodes(inspection: Inspection) -> str:
    outline = inspection.outline
    text = str(len(outline.nodes))
    if outline.constant_nodes:
        text += f", and {outline.constant_nodes} that run once, while loading"
    bodies = [node for node in outline.nodes if node.inner_nodes]
    if bodies:
        named = ", ".join(f"{n.op} {n.name!r}" for n in bodies[:_BODIES_SHOWN])
        left = len(bodies) - _BODIES_SHOWN
        inner = sum(node.inner_nodes for node in bodies)
        text += f"; {inner} more in the bodies of {named}" + (f" and {left} others" * (left > 0))
    return text


def _macs(inspection: Inspection) -> str:
    if inspection.profile is None:
        return f"unknown: {inspection.uncounted}"
    remark = f", without all of {inspection.uncounted}" if inspection.uncounted else ""
    return format_count(inspection.profile.macs) + remark


def _weights(inspection: Inspection) -> str:
    weights, parameters = inspection.model.weight_bytes, inspection.outline.parameters
    if weights and not parameters:  # they are not in the graph but in bodies or trees
        return format_bytes(weights)
    plural = "" if parameters == 1 else "s"
    return f"{format_bytes(weights)}, {format_count(parameters)} parameter{plural}"


def _peak(inspection: Inspection) -> str:
    peak = inspection.peak
    if peak is None:
        return "unknown, as the MACs are"
    where = f"at node {peak.node!r}" if peak.node else "before the first node"
    least = "at least " if inspection.profile and inspection.profile.unsized else ""
    return f"{least}{format_bytes(peak.bytes)} of activations, {where}"


def trim_summary(step: Trim) -> str:
    """What trimming takes away, in one line."""
    if not step.removed:
        undone = f"{len(step.undone)} step{'s' * (len(step.undone) > 1)} undone"
        return "nothing can go" + f"; {undone}" * bool(step.undone)
    same = f"the same to {step.max_rel:.0e}" if step.max_rel > _EXACTLY else "exactly the same"
    saved_bytes = step.bytes_before - step.bytes_after
    saved = f" and {format_bytes(saved_bytes)} of weights" if saved_bytes > 0 else ""
    gone = step.nodes_before - step.nodes_after
    return (
        f"{gone} of {step.nodes_before} nodes{saved} are not needed; "
        f"without them it computes {same} ({step.runs} runs)"
    )


def _trim(inspection: Inspection) -> str:
    step = inspection.trim
    return f"unknown: {inspection.untrimmed}" if step is None else trim_summary(step)


def trim_table(inspection: Inspection) -> Sheet | None:
    """What can go, and what was tried and undone; None when there is neither."""
    step = inspection.trim
    if step is None or not (step.removed or step.undone):
        return None
    rows = [(r.what, str(r.nodes), format_bytes(r.bytes), "") for r in step.removed]
    rows += [(u.what, "-", "-", f"undone: {u.reason}") for u in step.undone]
    columns = ["what", "#nodes saved", "#bytes saved", "remark"]
    return Sheet.of("What training left behind", columns, rows).without_empty("remark")


def cuts_table(inspection: Inspection, *, every: bool = False) -> Sheet:
    """The best cuts, or every single one and the unbeaten ones of several tensors.

    Args:
        inspection: of a network.
        every: whether all single cuts are listed.
    """
    shown, title = inspection.best, f"Best of {_how_many(inspection)}"
    if every:
        shown, title = (*inspection.cuts, *inspection.frontiers), _how_many(inspection)
    elif not shown:
        shown, title = _smallest(inspection), f"The smallest of {_how_many(inspection)}"
    rows = [cut_cells(cut, inspection, mark=every) for cut in shown]
    columns = ["cut after", "shape", "#bytes", "#of input", "#MACs before", "#weights on device"]
    remark = " ".join(cut_remarks(inspection, every=every))
    sheet = Sheet.of(title, [*columns, "rides along"], rows, remark)
    return sheet.without_empty("rides along")


def _how_many(inspection: Inspection) -> str:
    several = 0 if inspection.search is None else len(inspection.search.cuts)
    single = len(inspection.cuts)
    text = f"{single} legal cut{'s' * (single != 1)}"
    return text + f" and {several} of several tensors" * bool(several)


def _smallest(inspection: Inspection) -> tuple[CutFigures, ...]:
    cuts = (*inspection.cuts, *inspection.frontiers)
    return (min(cuts, key=lambda cut: cut.bytes),) if cuts else ()


def cut_cells(cut: CutFigures, inspection: Inspection, *, mark: bool) -> tuple[str, ...]:
    """One cut in words.

    Args:
        cut: with its figures.
        inspection: that it is of.
        mark: whether the best ones get a star.
    """
    content = cut.cut.content
    names = " + ".join(spec.name for spec in content)
    several = f" ({len(content)} tensors)" if len(content) > 1 else ""
    return (
        ("★ " if mark and cut.best else "") + names + several,
        " + ".join("×".join(map(str, spec.shape)) or "scalar" for spec in content),
        format_bytes(cut.bytes),
        _times(cut.bytes, inspection.input_bytes),
        _before(cut, inspection),
        UNKNOWN if cut.head_weight_bytes is None else format_bytes(cut.head_weight_bytes),
        ", ".join(spec.name for spec in cut.cut.structure),
    )


def _times(size: int, whole: int) -> str:
    if not whole:
        return UNKNOWN
    return f"{size / whole:.1f} ×" if size > whole else format_share(size, whole)


def _before(cut: CutFigures, inspection: Inspection) -> str:
    if cut.macs_before is None or inspection.profile is None:
        return UNKNOWN
    return format_share(cut.macs_before, inspection.profile.macs)


def cut_remarks(inspection: Inspection, *, every: bool = False) -> list[str]:
    """What a reader should know of the cuts, one sentence each; first what matters most."""
    remarks = [_judgement(inspection)]
    if inspection.best:
        remarks.append("Bytes are raw tensors per answer, before any packing.")
    hidden = len(inspection.cuts) - sum(cut.best for cut in inspection.cuts)
    if hidden > 0 and not every and inspection.best:
        others = "1 other is" if hidden == 1 else f"{hidden} others are"
        remarks.append(f"{others} beaten by these or by the inputs; --all lists them.")
    if any(cut.head_weight_bytes is None for cut in inspection.cuts):
        remarks.append("With so many cuts, weights were added up for the best ones alone.")
    return remarks + _search_remarks(inspection)


def _judgement(inspection: Inspection) -> str:
    cuts, best = (*inspection.cuts, *inspection.frontiers), inspection.best
    whole = f"the inputs themselves ({format_bytes(inspection.input_bytes)})"
    if not cuts:
        return "No place to cut this network was found: run it whole, here or there."
    if not best:
        least = format_bytes(min(cut.bytes for cut in cuts))
        return f"Not a network to cut: no cut sends less than {whole}; the smallest sends {least}."
    if inspection.profile is None or best[0].macs_before is None:
        return f"Cuts marked best send less than {whole}; how early they come is unknown."
    total = inspection.profile.macs
    when = format_share(best[0].macs_before, total)
    if best[0].macs_before > _LATE * total:
        return (
            f"Hardly a network to cut: only after {when} of the MACs does a cut send less than "
            f"{whole}."
        )
    return f"From {when} of the MACs on, a cut can send less than {whole}."


def _search_remarks(inspection: Inspection) -> list[str]:
    search = inspection.search
    if search is None:
        return ["Cuts of several tensors were not searched for."]
    if not search.complete:
        return [
            f"The search for cuts of several tensors stopped at its bound, after "
            f"{search.visited} steps: there may be better ones."
        ]
    return []
