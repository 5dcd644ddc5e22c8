"""Place the boxes of a graph in layers, from top to bottom, with few crossings.

The method of Sugiyama, Tagawa and Toda (1981): layers by longest path, order within a layer by the
mean place of the neighbours, then positions. Our own, because networkx only counts the layers and
places neither for few crossings nor around boxes, and drawing programs such as Graphviz are no
Python packages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SWEEPS = 8
_MOST_BENDS = 6000
_BEND_WIDTH = 14.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything is drawn.

    Args:
        x: of every box's middle.
        layer: of every box, from the top.
        bends: for every box, the positions at which its wire passes the layers below it, by
            layer; wires to boxes further down branch off there.
        width: of the whole drawing.
        layers: how many.
    """

    x: tuple[float, ...]
    layer: tuple[int, ...]
    bends: tuple[dict[int, float], ...]
    width: float
    layers: int


def lay_out(wires: Sequence[Sequence[int]], width: float, gap: float = 24.0) -> Layout:
    """Place boxes of one width.

    Args:
        wires: for every box, the boxes that it leads to; without cycles.
        width: of a box.
        gap: between two boxes of a layer.

    >>> lay_out([(1, 2), (3,), (3,), ()], 10.0, 2.0).layer
    (0, 1, 1, 2)
    """
    layer = _layers(wires)
    rows, links, bends = _rows(wires, layer)
    sizes = [width] * len(wires) + [_BEND_WIDTH] * (len(links) - len(wires))
    above = _reverse(links)
    for sweep in range(_SWEEPS):
        _reorder(rows, above if sweep % 2 == 0 else links, downwards=sweep % 2 == 0)
    x = _positions(rows, links, above, sizes, gap)
    left = min((at - sizes[i] / 2 for i, at in enumerate(x)), default=0.0)
    x = [at - left for at in x]
    return Layout(
        x=tuple(x[: len(wires)]),
        layer=tuple(layer),
        bends=tuple({depth: x[item] for depth, item in bent.items()} for bent in bends),
        width=max((at + sizes[i] / 2 for i, at in enumerate(x)), default=0.0),
        layers=len(rows),
    )


def _layers(wires: Sequence[Sequence[int]]) -> list[int]:
    before = [0] * len(wires)
    for targets in wires:
        for target in targets:
            before[target] += 1
    layer = [0] * len(wires)
    ready = [box for box, count in enumerate(before) if not count]
    roots = list(ready)
    while ready:
        box = ready.pop()
        for target in wires[box]:
            layer[target] = max(layer[target], layer[box] + 1)
            before[target] -= 1
            if not before[target]:
                ready.append(target)
    for box in roots:  # an input stands right above what reads it first
        layer[box] = max(0, min((layer[target] for target in wires[box]), default=1) - 1)
    return layer


def _rows(
    wires: Sequence[Sequence[int]], layer: Sequence[int]
) -> tuple[list[list[int]], list[list[int]], list[dict[int, int]]]:
    """Layers with a bend wherever a wire passes one; one wire with branches for each box."""
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for box, depth in enumerate(layer):
        rows[depth].append(box)
    links: list[list[int]] = [[] for _ in wires]
    bends: list[dict[int, int]] = []
    lengths = [
        max((layer[t] for t in targets), default=layer[b]) - layer[b] - 1
        for b, targets in enumerate(wires)
    ]
    longest = _longest_bent(lengths)
    for box, targets in enumerate(wires):
        bent: dict[int, int] = {}
        at = box
        for depth in range(layer[box] + 1, layer[box] + 1 + max(lengths[box], 0)):
            if lengths[box] > longest:
                break
            bent[depth] = len(links)
            links[at].append(len(links))
            at = len(links)
            links.append([])
            rows[depth].append(at)
        for target in targets:
            links[bent.get(layer[target] - 1, box)].append(target)
        bends.append(bent)
    return rows, links, bends


def _longest_bent(lengths: Sequence[int]) -> int:
    """The longest wire that still gets bends, so that there are not too many of them."""
    total = 0
    for length in sorted(lengths):
        total += max(length, 0)
        if total > _MOST_BENDS:
            return length - 1
    return max(lengths, default=0)


def _reverse(links: Sequence[Sequence[int]]) -> list[list[int]]:
    above: list[list[int]] = [[] for _ in links]
    for item, targets in enumerate(links):
        for target in targets:
            above[target].append(item)
    return above


def _reorder(
    rows: list[list[int]], neighbours: Sequence[Sequence[int]], *, downwards: bool
) -> None:
    place: dict[int, float] = {}
    for row in rows:
        place.update((item, at / max(1, len(row) - 1)) for at, item in enumerate(row))
    for row in rows if downwards else reversed(rows):
        means = {
            item: sum(place[n] for n in neighbours[item]) / len(neighbours[item])
            if neighbours[item]
            else place[item]
            for item in row
        }
        row.sort(key=means.__getitem__)
        place.update((item, at / max(1, len(row) - 1)) for at, item in enumerate(row))


def _positions(
    rows: Sequence[Sequence[int]],
    links: Sequence[Sequence[int]],
    above: Sequence[Sequence[int]],
    sizes: Sequence[float],
    gap: float,
) -> list[float]:
    x = [0.0] * len(links)
    for row in rows:
        at = -sum(sizes[item] + gap for item in row) / 2
        for item in row:
            x[item] = at + sizes[item] / 2
            at += sizes[item] + gap
    for sweep in range(_SWEEPS):
        near = above if sweep % 2 == 0 else links
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [
                sum(x[n] for n in near[item]) / len(near[item]) if near[item] else x[item]
                for item in row
            ]
            for item, at in zip(row, _spread(row, wanted, sizes, gap), strict=True):
                x[item] = at
    return x


def _spread(
    row: Sequence[int], wanted: Sequence[float], sizes: Sequence[float], gap: float
) -> list[float]:
    """The places nearest to the wanted ones that keep order and distance.

    Least squares under an order is isotonic regression: neighbours that would overlap are pooled
    (Ayer and others, 1955).
    """
    offsets, offset = [], 0.0
    for at, item in enumerate(row):
        offset += (sizes[row[at - 1]] + sizes[item]) / 2 + gap if at else 0.0
        offsets.append(offset)
    pools: list[tuple[float, int]] = []
    for place, offset in zip(wanted, offsets, strict=True):
        mean, count = place - offset, 1
        while pools and pools[-1][0] > mean:
            other, many = pools.pop()
            mean, count = (mean * count + other * many) / (count + many), count + many
        pools.append((mean, count))
    means = [mean for mean, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
