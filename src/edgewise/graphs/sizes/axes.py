"""Sizes for the symbolic axes of a graph's inputs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import onnx_ir

from edgewise.errors import BadInput
from edgewise.graphs.values import batch_symbols, input_symbols
from edgewise.tensors import Axes

ASSUMED_AXIS = 128
"""Of an open axis, other than the batch, that nobody states: the words of a sentence, as most
text networks are quoted."""
_PRIMES = (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89)
_BATCHES = (2, 3, 5, 7, 4, 6, 9, 8, 10)
_SCALES = (1, 32, 512)  # words, pixels that five halvings divide, samples of sound
_TRIALS = 3  # two would do, but sums and products of axes may meet by accident
_SUM = re.compile(r"\s*\+\s*")


def axis_sizes(graph: onnx_ir.Graph, batch: int, axes: Axes | None) -> Mapping[str, int]:
    """A size for every symbolic axis of the inputs.

    An axis named as a sum of others, such as ``past + 1``, follows from them.

    Args:
        graph: the network's.
        batch: of symbolic first axes that ``axes`` does not name.
        axes: sizes by name.

    Raises:
        BadInput: when a size is negative, that of a first axis 0, or an axis has none.
    """
    wanted, firsts = input_symbols(graph), batch_symbols(graph)
    sizes = {name: batch for name in firsts if not _terms(name, wanted)}
    sizes.update({name: size for name, size in (axes or {}).items() if name in wanted})
    for name, size in sizes.items():
        least = 1 if name in firsts else 0  # a decoder's cache is empty before its first token
        if size < least:
            raise BadInput(
                expected=f"a size of at least {least} for the axis {name!r}",
                found=str(size),
                remedy=f"use {least} or more",
            )
    for name in sorted(wanted - set(sizes)):
        sizes[name] = _sum_of(name, sizes)
    return sizes


def trial_sizes(graph: onnx_ir.Graph) -> Iterator[tuple[Mapping[str, int], ...]]:
    """Sets of sizes to try a graph with, each a few points at which no two axes are alike."""
    wanted, firsts = input_symbols(graph), batch_symbols(graph)
    free = [name for name in sorted(wanted) if not _terms(name, wanted)]
    if not free:
        yield ({},)
        return
    rows = [name for name in free if name in firsts][: len(_BATCHES) // _TRIALS]
    others = [name for name in free if name not in rows]
    if len(others) > len(_PRIMES) // _TRIALS:
        return
    for scale in _SCALES if others else _SCALES[:1]:
        points = []
        for trial in range(_TRIALS):
            point = {name: _BATCHES[i * _TRIALS + trial] for i, name in enumerate(rows)}
            point |= {name: scale * _PRIMES[i * _TRIALS + trial] for i, name in enumerate(others)}
            points.append(point | {name: _sum_of(name, point) for name in wanted - set(free)})
        yield tuple(points)


def _terms(name: str, symbols: frozenset[str]) -> tuple[str, ...]:
    """The names and numbers that an axis is the sum of; none when it stands for itself."""
    terms = tuple(_SUM.split(name))
    known = all(term.isdecimal() or (term in symbols and term != name) for term in terms)
    return terms if len(terms) > 1 and known else ()


def _sum_of(name: str, sizes: Mapping[str, int]) -> int:
    terms = _SUM.split(name)
    if len(terms) > 1 and all(term.isdecimal() or term in sizes for term in terms):
        return sum(int(term) if term.isdecimal() else sizes[term] for term in terms)
    raise BadInput(
        expected=f"a size for the axis {name[:80]!r}",
        found="none",
        remedy=f"state it: --axis {name[:80]}=SIZE, or axes={{{name[:80]!r}: SIZE}} in Python",
    )
