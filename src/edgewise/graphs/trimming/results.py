"""What trimming is made of and what it gives: passes, and what they removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir

from edgewise.graphs.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One way to make a graph smaller.

    Args:
        name: what went, in words, once it has worked: ``duplicate weights merged``.
        apply: changes the graph it is given, a copy; whether it changed is seen from the graph.
        max_rel: how far any output may move, relative to its largest number: 0 means bit-equal
            to the graph before this pass, otherwise it is the distance from the original.
        ops: the ONNX operators of the nodes that it changes, each node for itself. A graph
            without them is not looked at, and a pass that fails is tried on some of them alone.
            None of them: the pass changes the graph as a whole.
    """

    name: str
    apply: Callable[[onnx_ir.Model], None]
    max_rel: float = 0.0
    ops: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What one kind of change took away.

    Args:
        what: in words.
        nodes: how many fewer nodes.
        bytes: how many fewer bytes of weights; negative where a change needed more.
    """

    what: str
    nodes: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """A change that was tried, failed its proof and was taken back.

    Args:
        what: in words.
        reason: why it failed.
    """

    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trim:
    """The step from an original network to its trimmed one.

    Args:
        removed: what went, in the order in which it first went.
        undone: what was tried and taken back.
        nodes_before: nodes of the original, those in bodies included.
        nodes_after: nodes of the trimmed network.
        bytes_before: bytes of the original's weights.
        bytes_after: bytes of the trimmed network's weights.
        max_rel: the largest distance from the original, relative to an output's largest number.
        runs: how many inputs each change was proved with.
    """

    removed: tuple[Removal, ...]
    undone: tuple[Undone, ...]
    nodes_before: int
    nodes_after: int
    bytes_before: int
    bytes_after: int
    max_rel: float
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    """A network without what only training needed.

    Args:
        model: the trimmed network; the original itself where nothing could be removed.
        step: what was done.
    """

    model: Model
    step: Trim
