"""Costs of nodes in the form that model-explorer lays over its own drawing of a graph.

The form is ``GraphNodeData`` of its ``node_data_builder``: results by the node's name, with a
gradient. Its ONNX adapter calls each node by the name in the file; nodes that have none there
cannot be matched.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgewise.profiling import Inspection
from edgewise.reporting.box_sketches import COSTS
from edgewise.reporting.page_file import write_text

_GRADIENT = (
    (0.0, "#f3f5f8", "#1a2230"),
    (0.1, "#fbe0b3", "#1a2230"),
    (0.4, "#e58a2e", "#1a2230"),
    (1.0, "#a8430f", "#ffffff"),
)


def node_data_json(inspection: Inspection, *, by: str = "macs") -> dict[str, Any]:
    """One cost of every node.

    Args:
        inspection: of a network.
        by: ``macs``, ``bytes`` or ``weights``; where MACs and bytes are unknown, it is weights.
    """
    profile = inspection.profile
    if profile is None:
        costs = {node.name: node.weight_bytes for node in inspection.outline.nodes}
        return _form(COSTS["weights"], costs)
    costs = {
        node.name: {
            "macs": node.macs,
            "bytes": node.read_bytes + node.written_bytes,
            "weights": node.weight_bytes,
        }[by]
        for node in profile.nodes
    }
    return _form(COSTS[by], costs)


def _form(words: str, costs: dict[str, int]) -> dict[str, Any]:
    return {
        "results": {name: {"value": cost} for name, cost in costs.items()},
        "name": words,
        "gradient": [
            {"stop": stop, "bgColor": colour, "textColor": ink} for stop, colour, ink in _GRADIENT
        ],
    }


def write_node_data(path: Path, inspection: Inspection, *, by: str = "macs") -> None:
    """Write the node data to a file; an older one is replaced.

    Raises:
        BadInput: when it cannot be written.
    """
    write_text(path, json.dumps(node_data_json(inspection, by=by), indent=1) + "\n")
