"""A smaller network, and how it compares with the one it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgewise.engines import Engine, open_engine
from edgewise.errors import BadInput
from edgewise.examples import Interval, agreement
from edgewise.graphs import Model, to_bytes
from edgewise.profiling import Timing, time_interleaved
from edgewise.shrinking.quantize import Quantize
from edgewise.tensors import Array, Feeds
from edgewise.units import format_duration, format_share

Step = Quantize
_REPEATS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Size and time of a variant and of its parent, run in turn on this machine.

    Args:
        bytes: of the variant's file.
        parent_bytes: of the parent's file.
        time: of one run of the variant.
        parent_time: of one run of the parent.
    """

    bytes: int
    parent_bytes: int
    time: Timing
    parent_time: Timing

    @property
    def speedup(self) -> float:
        """How many times faster than its parent."""
        return self.parent_time.median_s / self.time.median_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A smaller network with its record.

    Args:
        model: the network.
        parent_digest: what it was made from.
        steps: how.
        agreement: share of examples on which it decides as its parent does.
        measured: size and time.
        rejected: why it must not replace its parent; ``None`` when it holds.
    """

    model: Model
    parent_digest: str
    steps: tuple[Step, ...]
    agreement: Interval
    measured: Measured
    rejected: str | None


def judge(
    parent: Model,
    model: Model,
    steps: Sequence[Step],
    select: Sequence[Feeds],
    *,
    min_agreement: float = 0.95,
) -> Variant:
    """Compare a variant with its parent, on examples that did not calibrate it.

    It holds when it decides as its parent on at least ``min_agreement`` of the examples and runs
    faster in this engine on this machine.

    Args:
        parent: the network it was made from.
        model: the variant.
        steps: how it was made.
        select: inputs to compare on.
        min_agreement: share of equal decisions that it must keep, 0 to 1.

    Raises:
        BadInput: without inputs, or when the networks' outputs are not decisions.
    """
    if not select:
        raise BadInput(
            expected="examples to judge a variant on", found="none", remedy="pass --data DIR"
        )
    raw, parent_raw = to_bytes(model), to_bytes(parent)
    with open_engine(raw) as small, open_engine(parent_raw) as large:
        same = agreement(_outputs(small, model, select), _outputs(large, parent, select))
        times = time_interleaved(
            {"variant": partial(small.run, select[0]), "parent": partial(large.run, select[0])},
            repeats=_REPEATS,
        )
    measured = Measured(
        bytes=len(raw),
        parent_bytes=len(parent_raw),
        time=times["variant"],
        parent_time=times["parent"],
    )
    return Variant(
        model=model,
        parent_digest=parent.digest,
        steps=tuple(steps),
        agreement=same,
        measured=measured,
        rejected=_refusal(same, measured, min_agreement),
    )


def _outputs(engine: Engine, model: Model, inputs: Sequence[Feeds]) -> Array:
    name = model.outputs[0].name
    return np.concatenate([engine.run(feeds)[name] for feeds in inputs])


def _refusal(same: Interval, measured: Measured, min_agreement: float) -> str | None:
    if same.mid < min_agreement:
        return (
            f"decides as the original on {format_share(same.mid, 1)} of {same.n} examples, "
            f"below {format_share(min_agreement, 1)}"
        )
    if measured.speedup <= 1:
        return (
            f"not faster here: {format_duration(measured.time.median_s)} against "
            f"{format_duration(measured.parent_time.median_s)}"
        )
    return None
