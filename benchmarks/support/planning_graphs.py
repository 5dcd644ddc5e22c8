"""Random profiles and links for the planning benchmarks."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable

from edgewise.planning.search import evaluate
from edgewise.profiling.profile import EdgeProfile, NodeProfile, Profile


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A profile and a link."""

    profile: Profile
    rate: float
    rtt_s: float

    @property
    def link(self) -> dict[str, float]:
        return {"up_bytes_per_s": self.rate, "rtt_s": self.rtt_s}

    def total_s(self, device_nodes: Iterable[str]) -> float:
        return evaluate(self.profile, device_nodes, **self.link).total_s


def small_problem(rng: random.Random) -> Problem:
    """Up to 12 nodes, tensors with several readers, compute and transfer of one size."""
    count = rng.randint(2, 12)
    inputs = rng.randint(1, 2)
    edges = [tensor(rng, None, rng.sample(range(count), rng.randint(1, 2))) for _ in range(inputs)]
    for node in range(count - 1):
        later = range(node + 1, count)
        readers = rng.sample(later, min(len(later), rng.choice((1, 1, 2, 3))))
        edges.append(tensor(rng, node, readers))
    rate = 10 ** rng.uniform(4.5, 8.5)
    return Problem(
        profile=named(rng, count, edges), rate=rate, rtt_s=rng.choice((0.0, 0.005, 0.05))
    )


def tensor(rng: random.Random, producer: int | None, readers: list[int]) -> tuple:
    return producer, sorted(readers), int(10 ** rng.uniform(2.5, 5.5))


def named(rng: random.Random, count: int, edges: list[tuple]) -> Profile:
    cloud_s = [10 ** rng.uniform(-4, -1.5) for _ in range(count)]
    # The device is slower by a factor that depends on the operator, and sometimes faster.
    slowdowns = [10 ** rng.uniform(-0.5, 1.0) for _ in range(count)]
    return Profile(
        nodes=tuple(
            NodeProfile(name=f"n{i}", device_s=c * s, cloud_s=c)
            for i, (c, s) in enumerate(zip(cloud_s, slowdowns, strict=True))
        ),
        edges=tuple(
            EdgeProfile(
                name=f"e{k}",
                producer=None if producer is None else f"n{producer}",
                consumers=tuple(f"n{i}" for i in readers),
                bytes=size,
            )
            for k, (producer, readers, size) in enumerate(edges)
        ),
    )


def chain(_: random.Random, node: int) -> set[int]:
    return {node - 1}


def residual(_: random.Random, node: int) -> set[int]:
    return {node - 1, node - 4} if node % 5 == 0 else {node - 1}


def inception(_: random.Random, node: int) -> set[int]:
    """Modules of four branches of three nodes between two joins."""
    place = node % 13
    if place == 0:
        return {node - 10, node - 7, node - 4, node - 1}
    return {node - place} if place in (1, 4, 7, 10) else {node - 1}


def dense(_: random.Random, node: int) -> set[int]:
    """Blocks of 24 nodes, each reading all before it in its block."""
    return set(range(node - node % 24, node)) or {node - 1}


def tangled(rng: random.Random, node: int) -> set[int]:
    return {rng.randrange(max(0, node - 30), node) for _ in range(rng.randint(1, 3))}


def scattered(rng: random.Random, node: int) -> set[int]:
    return {rng.randrange(node) for _ in range(rng.randint(1, 3))}


FAMILIES: tuple[Callable[[random.Random, int], set[int]], ...] = (
    *(chain, residual, inception, dense, tangled, scattered),
)


def network(family: Callable[[random.Random, int], set[int]], count: int, seed: int) -> Profile:
    rng = random.Random(seed)
    readers: dict[int, list[int]] = {i: [] for i in range(count)}
    for node in range(1, count):
        for earlier in family(rng, node):
            readers[earlier].append(node)
    edges = [(None, [0], 150_528)]
    edges += [tensor(rng, node, list(found)) for node, found in readers.items() if found]
    return named(rng, count, edges)
