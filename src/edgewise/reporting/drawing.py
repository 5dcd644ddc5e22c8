"""A network as a drawing: boxes with their costs, wires, and the cuts marked on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgewise.profiling import CutFigures, Inspection
from edgewise.reporting.box_sketches import COSTS, BoxSketch, shorten, sketch_boxes
from edgewise.reporting.boxes import Boxes, box_nodes
from edgewise.reporting.layout import Layout, lay_out
from edgewise.units import format_share

STEPS = (0.0, 0.001, 0.01, 0.03, 0.1)  # shares above which the colour grows deeper
BOX_WIDTH, BOX_HEIGHT, LAYER_HEIGHT, MARGIN = 150.0, 38.0, 66.0, 22.0
_LABEL_CHARACTERS, _SHAPE_CHARACTERS = 11, 19
_MARKS_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnBox:
    """One box as the page shows it.

    Args:
        number: its index.
        kind: ``node``, ``input`` or ``output``.
        left: of the box.
        top: of the box.
        label: its operator, or how many nodes it holds.
        second: what stands below: the shape that it gives.
        level: of the colour, from 0.
        share: of the cost, in words; empty where there is none.
        title: everything in one line, for who points at it.
        marks: the numbers of the best cuts that start here.
    """

    number: int
    kind: str
    left: str
    top: str
    label: str
    second: str
    level: int
    share: str
    title: str
    marks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What the page needs to draw a network.

    Args:
        width: of the drawing.
        height: of the drawing.
        boxes: from top to bottom, and from left to right.
        wires: the paths of each box's wires, by the box's index.
        data: what the page's script needs to know, as JSON.
        remark: what was drawn together, when anything was.
    """

    width: str
    height: str
    boxes: tuple[DrawnBox, ...]
    wires: tuple[tuple[int, str], ...]
    data: dict[str, Any]
    remark: str


def draw(inspection: Inspection, cuts: Sequence[CutFigures], *, by: str) -> Drawing:
    """Draw a network.

    Args:
        inspection: of it.
        cuts: that can be chosen on the page, in the order of its table.
        by: the cost that colours it, one of :data:`COSTS`.
    """
    apart = [spec.name for cut in inspection.best for spec in cut.cut.tensors]
    boxes = box_nodes(inspection.outline, apart=apart)
    layout = lay_out(boxes.wires, BOX_WIDTH)
    sketches = sketch_boxes(inspection, boxes)
    marks = _marks(cuts, boxes)
    total = sum(sketch.costs.get(by, 0) for sketch in sketches)
    places = [_place(layout, box) for box in range(len(sketches))]
    return Drawing(
        width=_number(layout.width + 2 * MARGIN),
        height=_number(layout.layers * LAYER_HEIGHT - LAYER_HEIGHT + BOX_HEIGHT + 2 * MARGIN),
        boxes=tuple(
            _draw_box(
                box, sketches[box], places[box], by=by, total=total, marks=marks.get(box, ())
            )
            for box in sorted(range(len(sketches)), key=lambda box: places[box][::-1])
        ),
        wires=tuple(
            (box, _path(layout, places, box, targets))
            for box, targets in enumerate(boxes.wires)
            if targets
        ),
        data=_data(sketches, boxes, cuts, by),
        remark=_remark(inspection, sketches),
    )


def _data(
    sketches: Sequence[BoxSketch], boxes: Boxes, cuts: Sequence[CutFigures], by: str
) -> dict[str, Any]:
    return {
        "boxes": [_box_data(sketch) for sketch in sketches],
        "wires": [list(targets) for targets in boxes.wires],
        "cuts": [_cut_data(cut, boxes) for cut in cuts],
        "costs": _costs_data(sketches),
        "steps": STEPS,
        "by": by,
    }


def _remark(inspection: Inspection, sketches: Sequence[BoxSketch]) -> str:
    count = sum(1 for sketch in sketches if sketch.kind == "node")
    nodes = len(inspection.outline.nodes)
    if count == nodes:
        return ""
    return (
        f"{nodes} nodes in {count} boxes: nodes that follow each other without a branch, or that "
        "run next to each other, share one."
    )


def _costs_data(sketches: Sequence[BoxSketch]) -> list[dict[str, Any]]:
    known = {name for sketch in sketches for name in sketch.costs}
    return [
        {"name": name, "words": words, "total": sum(s.costs.get(name, 0) for s in sketches)}
        for name, words in COSTS.items()
        if name in known
    ]


def _draw_box(
    box: int,
    sketch: BoxSketch,
    place: tuple[float, float],
    *,
    by: str,
    total: int,
    marks: Sequence[int],
) -> DrawnBox:
    cost = sketch.costs.get(by)
    share = "" if cost is None else format_share(cost, total)
    return DrawnBox(
        number=box,
        kind=sketch.kind,
        left=_number(place[0] - BOX_WIDTH / 2),
        top=_number(place[1]),
        label=shorten(sketch.label.partition(":")[0], _LABEL_CHARACTERS),
        second=shorten(sketch.shape, _SHAPE_CHARACTERS),
        level=level_of(cost or 0, total),
        share="" if share == "0 %" else share,
        title=f"{sketch.label} {sketch.names[0]}: {sketch.shape}"
        + (f", {share} of {COSTS[by]}" if share else ""),
        marks=", ".join(map(str, marks[:_MARKS_SHOWN])) + ", …" * (len(marks) > _MARKS_SHOWN),
    )


def level_of(cost: int, total: int) -> int:
    """The depth of the colour for a share.

    >>> [level_of(cost, 10_000) for cost in (0, 5, 50, 200, 500, 5000)]
    [0, 1, 2, 3, 4, 5]
    """
    return sum(1 for step in STEPS if total and cost / total > step)


def _box_data(sketch: BoxSketch) -> dict[str, Any]:
    return {
        "kind": sketch.kind,
        "label": sketch.label,
        "names": list(sketch.names),
        "more": sketch.more,
        "reads": list(sketch.reads),
        "gives": list(sketch.gives),
        "costs": dict(sketch.costs),
    }


def _marks(cuts: Sequence[CutFigures], boxes: Boxes) -> Mapping[int, Sequence[int]]:
    marks: dict[int, list[int]] = {}
    for number, cut in enumerate(cuts, start=1):
        for spec in cut.cut.content if cut.best else ():
            if spec.name not in boxes.inside:
                marks.setdefault(boxes.home[spec.name], []).append(number)
    return marks


def _cut_data(cut: CutFigures, boxes: Boxes) -> dict[str, Any]:
    names = [spec.name for spec in cut.cut.tensors]
    return {
        "sends": sorted({boxes.home[name] for name in names if name in boxes.home}),
        "inside": sorted({boxes.home[name] for name in names if name in boxes.inside}),
    }


def _place(layout: Layout, box: int) -> tuple[float, float]:
    return layout.x[box] + MARGIN, layout.layer[box] * LAYER_HEIGHT + MARGIN


def _path(
    layout: Layout, places: Sequence[tuple[float, float]], box: int, targets: Sequence[int]
) -> str:
    """One wire with its branches: through its bends, and from the last one to each target."""
    x, top = places[box]
    at, parts = (x, top + BOX_HEIGHT), []
    joints = {layout.layer[box]: at}
    for depth, bend in sorted(layout.bends[box].items()):
        crossing = depth * LAYER_HEIGHT + MARGIN
        parts.append(_curve(at, (bend + MARGIN, crossing)))
        at = (bend + MARGIN, crossing + BOX_HEIGHT)
        parts.append(f"L{_number(at[0])} {_number(at[1])}")
        joints[depth] = at
    for target in targets:
        start = joints.get(layout.layer[target] - 1, (x, top + BOX_HEIGHT))
        parts.append(_curve(start, places[target]))
    return "".join(parts)


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = start, end
    move = f"M{_number(x)} {_number(y)}"
    if abs(x - to_x) < 1:
        return f"{move}L{_number(to_x)} {_number(to_y)}"
    half = _number((y + to_y) / 2)
    return f"{move}C{_number(x)} {half} {_number(to_x)} {half} {_number(to_x)} {_number(to_y)}"


def _number(value: float) -> str:
    return f"{value:.0f}"
