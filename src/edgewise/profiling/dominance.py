"""Keep the cuts that no other cut beats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgewise.graphs import Cut
from edgewise.profiling.prefix import prefixes_of
from edgewise.profiling.profile import Profile
from edgewise.tensors import Axes


def undominated(
    cuts: Iterable[Cut], profile: Profile, *, batch: int = 1, axes: Axes | None = None
) -> tuple[Cut, ...]:
    """The cuts that no other beats in bytes and in MACs, in the order given.

    One cut beats another when it sends at most as many bytes, structure included, after at most as
    many MACs, and fewer of one of them. Equals stay, all of them.

    Args:
        cuts: of one network.
        profile: of that network.
        batch: the size of symbolic axes that ``axes`` does not name.
        axes: sizes of symbolic axes by name, those of the profile.
    """
    known = tuple(cuts)
    prefixes = prefixes_of(profile, [[spec.name for spec in at.tensors] for at in known])
    costs = [
        (at.nbytes(batch, axes), prefix.macs) for at, prefix in zip(known, prefixes, strict=True)
    ]
    best = _front(costs)
    return tuple(at for at, cost in zip(known, costs, strict=True) if cost in best)


def _front(costs: Sequence[tuple[int, int]]) -> frozenset[tuple[int, int]]:
    """The pairs that no other is below: in order of the first, each new low of the second."""
    front: list[tuple[int, int]] = []
    for cost in sorted(set(costs)):
        if not front or cost[1] < front[-1][1]:
            front.append(cost)
    return frozenset(front)
