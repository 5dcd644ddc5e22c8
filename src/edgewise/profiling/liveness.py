"""Where in a run the most activation bytes are alive."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from edgewise.profiling.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The moment at which the activations take the most memory.

    Args:
        bytes: of all activations alive then.
        node: the node that runs then; None when it is before the first one.
        tensors: names of what is alive then, largest first.
    """

    bytes: int
    node: str | None
    tensors: tuple[str, ...]


def find_peak(profile: Profile, outputs: Collection[str]) -> Peak:
    """The first peak in the profile's order, by the conventions of :func:`count`.

    Args:
        profile: of a whole network.
        outputs: names of its outputs, which stay to the end.

    >>> from edgewise.profiling.profile import EdgeProfile, NodeProfile
    >>> edges = (EdgeProfile(name="x", producer=None, consumers=("a",), bytes=4),
    ...          EdgeProfile(name="y", producer="a", consumers=(), bytes=8))
    >>> find_peak(Profile(nodes=(NodeProfile(name="a"),), edges=edges), ["y"])
    Peak(bytes=12, node='a', tensors=('y', 'x'))
    """
    place = {node.name: index for index, node in enumerate(profile.nodes)}
    births: dict[int, list[int]] = {}
    deaths: dict[int, list[int]] = {}
    for number, edge in enumerate(profile.edges):
        born = -1 if edge.producer is None else place[edge.producer]
        dies = max((place[consumer] for consumer in edge.consumers), default=born)
        births.setdefault(born, []).append(number)
        deaths.setdefault(len(place) if edge.name in outputs else dies, []).append(number)
    alive, total, best, moment = set[int](), 0, -1, -1
    held: tuple[int, ...] = ()
    for index in range(-1, len(place)):
        alive.update(births.get(index, ()))
        total += sum(profile.edges[number].bytes for number in births.get(index, ()))
        if total > best:
            best, moment, held = total, index, tuple(alive)
        total -= sum(profile.edges[number].bytes for number in deaths.get(index, ()))
        alive.difference_update(deaths.get(index, ()))
    tensors = sorted((profile.edges[number] for number in held), key=lambda e: (-e.bytes, e.name))
    return Peak(
        bytes=max(best, 0),
        node=profile.nodes[moment].name if moment >= 0 else None,
        tensors=tuple(edge.name for edge in tensors),
    )
