"""What stands in each box of a drawn network: names, shapes, costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgewise.graphs import Outline, OutlinedTensor
from edgewise.profiling import Inspection
from edgewise.reporting.boxes import Boxes

COSTS: Mapping[str, str] = {
    "macs": "MACs",
    "bytes": "activation bytes moved",
    "weights": "weight bytes",
}
_TEXT_CHARACTERS = 90  # names come from strangers' files and may be of any length
_NAMES_IN_ALL = 3000
_TENSORS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSketch:
    """One box.

    Args:
        kind: ``node``, ``input`` or ``output``.
        label: the operator; of several nodes, how many of which.
        names: of its nodes or tensors, the first ones.
        more: how many names there are beyond those.
        shape: of the first tensor that it gives.
        reads: the first tensors that come in.
        gives: the first tensors that go out.
        costs: by the keys of :data:`COSTS`, as far as they are known.
    """

    kind: str
    label: str
    names: tuple[str, ...]
    more: int
    shape: str
    reads: tuple[str, ...]
    gives: tuple[str, ...]
    costs: Mapping[str, int]


def sketch_boxes(inspection: Inspection, boxes: Boxes) -> tuple[BoxSketch, ...]:
    """Say what stands in every box."""
    reads, gives = _borders(inspection.outline, boxes)
    shown = max(2, min(12, _NAMES_IN_ALL // max(1, len(boxes.members))))
    return tuple(
        BoxSketch(
            kind=_kind(boxes, box),
            label=_label(inspection.outline, boxes, box),
            names=tuple(shorten(name) for name in names[:shown]),
            more=max(0, len(names) - shown),
            shape=shape_text(gives[box][0]) if gives[box] else "",
            reads=tuple(map(_tensor_text, reads[box][:_TENSORS])),
            gives=tuple(map(_tensor_text, gives[box][:_TENSORS])),
            costs=_costs(inspection, members),
        )
        for box, members in enumerate(boxes.members)
        for names in [_names(inspection.outline, boxes, box)]
    )


def _borders(
    outline: Outline, boxes: Boxes
) -> tuple[list[list[OutlinedTensor]], list[list[OutlinedTensor]]]:
    """The tensors that come into and go out of every box."""
    box_of = {outline.nodes[i].name: box for box, m in enumerate(boxes.members) for i in m}
    leave = {name: box for box, names in enumerate(boxes.ends) for name in names}
    reads: list[list[OutlinedTensor]] = [[] for _ in boxes.members]
    gives: list[list[OutlinedTensor]] = [[] for _ in boxes.members]
    for tensor in outline.tensors:
        home = boxes.home[tensor.name]
        if tensor.name not in boxes.inside or not tensor.consumers:
            gives[home].append(tensor)
        targets = dict.fromkeys(box_of[name] for name in tensor.consumers)
        for box in targets:
            if box != home:
                reads[box].append(tensor)
        if leave.get(tensor.name, home) != home:
            gives[leave[tensor.name]].append(tensor)
    return reads, gives


def _kind(boxes: Boxes, box: int) -> str:
    if boxes.members[box]:
        return "node"
    return "input" if box < boxes.first_output else "output"


def _label(outline: Outline, boxes: Boxes, box: int) -> str:
    members = boxes.members[box]
    if not members:
        kind, count = _kind(boxes, box), len(boxes.ends[box])
        return kind if count == 1 else f"{count} {kind}s"
    if len(members) == 1:
        return shorten(outline.nodes[members[0]].op, 40)
    common = Counter(outline.nodes[i].op for i in members).most_common(3)
    kinds = ", ".join(f"{count} {shorten(op, 24)}" for op, count in common)
    return f"{len(members)} nodes: {kinds}"


def _names(outline: Outline, boxes: Boxes, box: int) -> Sequence[str]:
    return [outline.nodes[i].name for i in boxes.members[box]] or boxes.ends[box]


def _costs(inspection: Inspection, members: Sequence[int]) -> Mapping[str, int]:
    if not members:
        return {}
    if inspection.profile is None:
        nodes = [inspection.outline.nodes[i] for i in members]
        return {"weights": sum(node.weight_bytes for node in nodes)}
    profiles = [inspection.profile.nodes[i] for i in members]
    return {
        "macs": sum(node.macs for node in profiles),
        "bytes": sum(node.read_bytes + node.written_bytes for node in profiles),
        "weights": sum(node.weight_bytes for node in profiles),
    }


def shape_text(tensor: OutlinedTensor) -> str:
    """The shape of a tensor, such as ``N×16×28×28``."""
    if tensor.shape is None:
        return "shape unknown"
    return shorten("×".join(map(str, tensor.shape)) or "scalar")


def _tensor_text(tensor: OutlinedTensor) -> str:
    return f"{shorten(tensor.name)} {tensor.dtype or 'type unknown'} {shape_text(tensor)}"


def shorten(text: str, most: int = _TEXT_CHARACTERS) -> str:
    """A text with its middle left out when it is long.

    >>> shorten("encoder/layer/11/output", 12)
    'encode…utput'
    """
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}…{text[len(text) - (most - most // 2 - 1) :]}"
