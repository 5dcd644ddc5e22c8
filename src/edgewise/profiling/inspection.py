"""What was found out about a network, as values."""

from __future__ import annotations

from dataclasses import dataclass

from edgewise.graphs import Cut, Frontiers, Model, Outline, Trim
from edgewise.profiling.liveness import Peak
from edgewise.profiling.profile import Profile
from edgewise.tensors import Axes, TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CutFigures:
    """One cut with what it costs.

    Args:
        cut: the tensors.
        bytes: of all of them at the stated sizes.
        macs_before: computed by the first half; None when the network's MACs are unknown.
        head_weight_bytes: weights that the first half holds; None when nobody added them up.
        tail_weight_bytes: weights that the second half holds; None likewise.
        unbeaten: whether no other cut is at once as small and as early, and smaller or earlier.
        best: whether it is unbeaten, and smaller than the inputs themselves; of several alike,
            the last one.
    """

    cut: Cut
    bytes: int
    macs_before: int | None
    head_weight_bytes: int | None
    tail_weight_bytes: int | None
    unbeaten: bool
    best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a network is, what it costs, what training left in it and where it can be cut.

    Args:
        model: the network.
        outline: its nodes and tensors.
        batch: the size taken for the batch.
        axes: the sizes taken for the other symbolic axes of the inputs, by name.
        assumed: the names of those that nobody stated.
        profile: MACs and bytes; None when they cannot be counted.
        peak: where the activations take the most memory; None when that is unknown.
        uncounted: what could not be counted, and why; empty when all could.
        cuts: every cut with a single content tensor, first to last.
        frontiers: the cuts with several content tensors that no other cut beats.
        search: how far the search for those went; None when there was none.
        frontier_bound: the most steps that the search may take.
        trim: what training left behind; None when that is unknown.
        untrimmed: why it is unknown; empty when it is not.
    """

    model: Model
    outline: Outline
    batch: int
    axes: Axes
    assumed: tuple[str, ...]
    profile: Profile | None
    peak: Peak | None
    uncounted: str
    cuts: tuple[CutFigures, ...]
    frontiers: tuple[CutFigures, ...]
    search: Frontiers | None
    frontier_bound: int
    trim: Trim | None
    untrimmed: str

    @property
    def best(self) -> tuple[CutFigures, ...]:
        """The cuts that no other one beats, fewest MACs before them first."""
        best = (cut for cut in (*self.cuts, *self.frontiers) if cut.best)
        return tuple(sorted(best, key=lambda cut: (cut.macs_before or 0, -cut.bytes)))

    @property
    def input_bytes(self) -> int:
        """Bytes of the inputs as raw tensors: what is sent when nothing runs on the device."""
        return sum(spec.nbytes(self.batch, self.axes) for spec in self.model.inputs)

    def nbytes(self, spec: TensorSpec) -> int | None:
        """Bytes of an input or output; None where its size follows from data or is unknown."""
        known = {dim for one in self.model.inputs for dim in one.shape}
        if all(isinstance(dim, int) or dim in known for dim in spec.shape):
            return spec.nbytes(self.batch, self.axes)
        if self.profile is None or spec.name in {one.name for one in self.profile.unsized}:
            return None
        return next((e.bytes for e in self.profile.edges if e.name == spec.name), None)
