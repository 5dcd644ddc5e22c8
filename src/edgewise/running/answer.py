"""What a session gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgewise.tensors import Array
from edgewise.trace import Trace

FALLBACK = "fallback"
"""Stands for the route where a network answered that is on none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSource:
    """Where an answer comes from.

    Args:
        route: the route that answered, or ``fallback``.
        kind: ``local``, ``split``, ``cloud`` …
        reason: why that route, in words a person reads.
        agreement: share of examples on which that route decides as the full network does;
            ``None`` when nobody measured it.
    """

    route: str
    kind: str
    reason: str
    agreement: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outputs of one request, and how they came about.

    Args:
        outputs: arrays by name, as the full network gives them.
        inference_source: where they come from.
        deadline_met: whether they came in time; ``None`` without a deadline.
        trace: what happened, span by span.
        note: what of the input was lost, in words; empty when nothing was.
    """

    outputs: Mapping[str, Array]
    inference_source: InferenceSource
    deadline_met: bool | None
    trace: Trace
    note: str = ""
