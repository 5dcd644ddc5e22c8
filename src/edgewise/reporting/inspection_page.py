"""What was found out about a network as one page, with its graph drawn and coloured by cost."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from edgewise.profiling import CutFigures, Inspection, costliest, operator_costs
from edgewise.reporting.box_sketches import COSTS
from edgewise.reporting.drawing import STEPS, draw
from edgewise.reporting.inspection import cut_cells, cut_remarks, inspection_facts, trim_table
from edgewise.reporting.operators import UNKNOWN
from edgewise.reporting.page_file import write_page
from edgewise.units import format_bytes, format_count, format_share

_MOST_CUTS = 250


def write_inspection(path: Path, inspection: Inspection, *, by: str = "macs") -> None:
    """Write an inspection as one HTML file that needs nothing else.

    Args:
        path: of the file; an older one is replaced.
        inspection: of a network.
        by: what colours the graph at first: ``macs``, ``bytes`` or ``weights``.

    Raises:
        BadInput: when it cannot be written.
    """
    known = COSTS if inspection.profile is not None else {"weights": COSTS["weights"]}
    chosen = by if by in known else "weights"
    cuts, left = _listed(inspection)
    drawing = draw(inspection, cuts, by=chosen)
    script = resources.files(__package__).joinpath("templates/inspection.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    trim = trim_table(inspection)
    values = {
        "title": inspection.model.name,
        "verdict": _verdict(inspection),
        "facts": inspection_facts(inspection),
        "operators": _operator_rows(inspection),
        "costs": known,
        "by": chosen,
        "legend": _legend(),
        "drawing": drawing,
        "first": drawing.boxes[0].number,
        "help_title": f"{len(inspection.outline.nodes)} nodes",
        "cuts": [_cut_row(number, cut, inspection) for number, cut in enumerate(cuts, start=1)],
        "remarks": cut_remarks(inspection, every=True)[1:]  # the verdict has the first
        + [f"{left} more cuts are listed by --json."] * bool(left),
        "sheets": [] if trim is None else [trim],
        "script": Markup(script),  # our own file, admitted by its hash
        "script_hash": f"sha256-{digest}",
    }
    write_page(path, "inspection.html", values)


def _listed(inspection: Inspection) -> tuple[Sequence[CutFigures], int]:
    """The best cuts, then the others, as many as a page can bear."""
    best = inspection.best
    others = [cut for cut in (*inspection.cuts, *inspection.frontiers) if not cut.best]
    return [*best, *others][:_MOST_CUTS], max(0, len(best) + len(others) - _MOST_CUTS)


def _verdict(inspection: Inspection) -> str:
    profile = inspection.profile
    work = "MACs unknown" if profile is None else f"{format_count(profile.macs)} MACs"
    return (
        f"{len(inspection.outline.nodes)} nodes, {work}, "
        f"{format_bytes(inspection.model.weight_bytes)} of weights. "
        + cut_remarks(inspection, every=True)[0]
    )


def _operator_rows(inspection: Inspection) -> list[dict[str, object]]:
    total = 0 if inspection.profile is None else inspection.profile.macs
    return [
        {
            "op": cost.op,
            "nodes": cost.nodes,
            "macs": UNKNOWN if cost.macs is None else format_count(cost.macs),
            "share": UNKNOWN if cost.macs is None else format_share(cost.macs, total),
            "width": f"{100 * (cost.macs or 0) / total:.1f}" if total and cost.macs else "",
            "weights": format_bytes(cost.weight_bytes),
            "moved": UNKNOWN if cost.moved_bytes is None else format_bytes(cost.moved_bytes),
        }
        for cost in costliest(operator_costs(inspection))
    ]


def _legend() -> list[str]:
    words = [f"{step * 100:g} %" for step in STEPS]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(words[1:])]
    return ["none", f"up to {words[1]}", *between, f"over {words[-1]}"]


def _cut_row(number: int, cut: CutFigures, inspection: Inspection) -> dict[str, str]:
    name, shape, size, share, before, held, riding = cut_cells(cut, inspection, mark=False)
    return {
        "mark": f"★ {number}" if cut.best else "",
        "name": name,
        "shape": shape,
        "bytes": size,
        "share": share,
        "before": before,
        "held": held,
        "riding": riding,
    }
