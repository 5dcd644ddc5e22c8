"""What each kind of operator costs, as a table."""

from __future__ import annotations

from edgewise.profiling import Inspection, costliest, operator_costs
from edgewise.reporting.sheet import Sheet
from edgewise.units import format_bytes, format_count, format_share

_EIGHTHS = " ▏▎▍▌▋▊▉"
_BAR_CELLS = 12
UNKNOWN = "?"


def operators_table(inspection: Inspection) -> Sheet:
    """The costliest operators with their shares; the others as one row."""
    total = 0 if inspection.profile is None else inspection.profile.macs
    rows = [
        (
            cost.op,
            str(cost.nodes),
            UNKNOWN if cost.macs is None else format_count(cost.macs),
            UNKNOWN if cost.macs is None else format_share(cost.macs, total),
            bar((cost.macs or 0) / total if total else 0.0),
            format_bytes(cost.weight_bytes),
            UNKNOWN if cost.moved_bytes is None else format_bytes(cost.moved_bytes),
        )
        for cost in costliest(operator_costs(inspection))
    ]
    columns = ["operator", "#nodes", "#MACs", "#share", "", "#weights", "#activations moved"]
    return Sheet.of("What computes", columns, rows)


def bar(share: float) -> str:
    """A share as a bar of characters, twelve of them for all.

    >>> bar(1.0), bar(0.125), bar(0.0)
    ('████████████', '█▌', '')
    """
    eighths = round(min(max(share, 0.0), 1.0) * _BAR_CELLS * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()
