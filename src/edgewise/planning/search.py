"""Find the split of a network with the least latency, over all closed sets of its nodes.

A split is a set of nodes that run on the device. The set is closed: whatever a device node reads
was made on the device, so data crosses the link once, upwards. The best set is a minimum cut
(DADS, Hu et al., INFOCOM 2019), with an auxiliary vertex for a tensor with several readers, so
that it is paid for once.

Capacities are Python integers, not floats. Every float is a fraction whose denominator is a power
of two, so times, rate and RTT have an exact common unit: the cut found is optimal without
rounding, and ties are real ties. (Float capacities give worse cuts on some graphs:
docs/benchmarks/planning_exact.md.) Ties fall to the fewest bytes sent, then to the most nodes on
the device; that set is unique, so no hash order can show.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_

from edgewise.errors import BadInput, MissingExtra
from edgewise.profiling.profile import EdgeProfile, Profile

_DEVICE, _CLOUD = "device", "cloud"  # the terminals; all other vertices are integers
_SLOWEST_BYTES_PER_S = 1e-6  # below, a time on the link could leave the range of a float
_LONGEST_S = 1e15


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What runs where, what crosses the link, and how long one request takes.

    Args:
        device_nodes: the nodes on the device, in the order of the profile.
        cut: names of the tensors sent, in the order of the profile; none is sent when all runs
            on the device.
        payload_bytes: their bytes in all.
        device_s: time of the nodes on the device.
        link_s: payload over uplink rate, and one RTT if anything runs in the cloud.
        cloud_s: time of the nodes in the cloud.
    """

    device_nodes: tuple[str, ...]
    cut: tuple[str, ...]
    payload_bytes: int
    device_s: float
    link_s: float
    cloud_s: float

    @property
    def total_s(self) -> float:
        """Latency of one request; device, link and cloud do not overlap."""
        return self.device_s + self.link_s + self.cloud_s


@dataclass(frozen=True, slots=True, kw_only=True)
class _Price:
    """All times of a profile over one link as integers in one exact unit."""

    device: tuple[int, ...]
    cloud: tuple[int, ...]
    per_byte: int
    rtt: int


def best_split(profile: Profile, *, up_bytes_per_s: float, rtt_s: float) -> Split:
    """The split with the least total time over all closed sets of nodes.

    Args:
        profile: nodes with ``device_s`` and ``cloud_s``, edges with their bytes.
        up_bytes_per_s: rate from the device to the cloud; infinite means unlimited.
        rtt_s: charged once if anything runs in the cloud.

    Raises:
        BadInput: when a node has no times, or rate or RTT is out of range.
        MissingExtra: without networkx.

    >>> from edgewise.profiling.profile import NodeProfile
    >>> layers = (NodeProfile(name="conv", device_s=0.02, cloud_s=0.001),
    ...           NodeProfile(name="head", device_s=0.5, cloud_s=0.01))
    >>> tensors = (EdgeProfile(name="photo", producer=None, consumers=("conv",), bytes=150_528),
    ...            EdgeProfile(name="map", producer="conv", consumers=("head",), bytes=3_136))
    >>> split = best_split(Profile(nodes=layers, edges=tensors), up_bytes_per_s=731250.0,
    ...                    rtt_s=0.0)
    >>> split.cut, round(split.total_s, 4)
    (('map',), 0.0343)
    """
    splits = candidate_splits(profile, up_bytes_per_s=up_bytes_per_s, rtt_s=rtt_s)
    return splits[0]


def candidate_splits(
    profile: Profile, *, up_bytes_per_s: float, rtt_s: float
) -> tuple[Split, ...]:
    """The best split, all local and all in the cloud: each distinct one once, best first.

    The minimum cut leaves the RTT out, since it is a fixed charge of every set but the full one.
    It stays among the candidates when the RTT alone makes running locally faster.

    Raises:
        BadInput: as :func:`best_split`.
        MissingExtra: without networkx.

    >>> from edgewise.profiling.profile import NodeProfile
    >>> node = NodeProfile(name="conv", device_s=0.02, cloud_s=0.001)
    >>> [split.device_nodes for split in
    ...  candidate_splits(Profile(nodes=(node,), edges=()), up_bytes_per_s=1e6, rtt_s=0.05)]
    [('conv',), ()]
    """
    _check_link(up_bytes_per_s, rtt_s)
    _check_times(profile)
    price = _exact_price(profile, up_bytes_per_s, rtt_s)
    everything = frozenset(node.name for node in profile.nodes)
    sets = {everything, frozenset[str](), _minimum_cut(profile, price)}
    ranked = sorted(sets, key=lambda chosen: _rank(profile, price, chosen))
    return tuple(_split(profile, chosen, up_bytes_per_s, rtt_s) for chosen in ranked)


def evaluate(
    profile: Profile, device_nodes: Iterable[str], *, up_bytes_per_s: float, rtt_s: float
) -> Split:
    """What one given split costs.

    Args:
        profile: as in :func:`best_split`.
        device_nodes: names of the nodes on the device; closed under predecessors.
        up_bytes_per_s: as in :func:`best_split`.
        rtt_s: as in :func:`best_split`.

    Raises:
        BadInput: when the set names an unknown node or is not closed, and as
            :func:`best_split`.

    >>> from edgewise.profiling.profile import NodeProfile
    >>> node = NodeProfile(name="conv", device_s=0.02, cloud_s=0.001)
    >>> evaluate(Profile(nodes=(node,), edges=()), (), up_bytes_per_s=1e6, rtt_s=0.05).total_s
    0.051000000000000004
    """
    _check_link(up_bytes_per_s, rtt_s)
    _check_times(profile)
    chosen = frozenset(device_nodes)
    _check_closed(profile, chosen)
    return _split(profile, chosen, up_bytes_per_s, rtt_s)


def all_local(profile: Profile, *, up_bytes_per_s: float, rtt_s: float) -> Split:
    """Everything on the device: nothing is sent.

    >>> from edgewise.profiling.profile import NodeProfile
    >>> node = NodeProfile(name="conv", device_s=0.02, cloud_s=0.001)
    >>> all_local(Profile(nodes=(node,), edges=()), up_bytes_per_s=1e6, rtt_s=0.05).total_s
    0.02
    """
    names = [node.name for node in profile.nodes]
    return evaluate(profile, names, up_bytes_per_s=up_bytes_per_s, rtt_s=rtt_s)


def all_cloud(profile: Profile, *, up_bytes_per_s: float, rtt_s: float) -> Split:
    """Everything in the cloud: the network's inputs are sent.

    >>> from edgewise.profiling.profile import NodeProfile
    >>> node = NodeProfile(name="conv", device_s=0.02, cloud_s=0.001)
    >>> all_cloud(Profile(nodes=(node,), edges=()), up_bytes_per_s=1e6, rtt_s=0.0).total_s
    0.001
    """
    return evaluate(profile, (), up_bytes_per_s=up_bytes_per_s, rtt_s=rtt_s)


def _check_link(up_bytes_per_s: float, rtt_s: float) -> None:
    if not up_bytes_per_s >= _SLOWEST_BYTES_PER_S:
        raise BadInput(
            expected=f"an uplink of at least {_SLOWEST_BYTES_PER_S:g} bytes per second",
            found=str(up_bytes_per_s),
            remedy="give the rate of the link, such as up=5.85Mbit/s",
        )
    if not 0 <= rtt_s <= _LONGEST_S:
        raise BadInput(
            expected=f"a round trip from 0 to {_LONGEST_S:g} s",
            found=str(rtt_s),
            remedy="give the RTT of the link, such as rtt=80ms",
        )


def _check_times(profile: Profile) -> None:
    for node in profile.nodes:
        for label, value in (("device_s", node.device_s), ("cloud_s", node.cloud_s)):
            if value is None or not 0 <= value <= _LONGEST_S:
                raise BadInput(
                    expected=f"{label} from 0 to {_LONGEST_S:g} s at the node {node.name[:60]!r}",
                    found="nothing" if value is None else str(value),
                    remedy="measure or give the times of every node first",
                )


def _check_closed(profile: Profile, chosen: Collection[str]) -> None:
    unknown = sorted(set(chosen) - {node.name for node in profile.nodes})
    if unknown:
        raise BadInput(
            expected="device nodes from the profile",
            found=repr(unknown[0][:60]),
            remedy="use the names that the profile lists",
        )
    for edge in profile.edges:
        if edge.producer is None or edge.producer in chosen:
            continue
        early = [name for name in edge.consumers if name in chosen]
        if early:
            raise BadInput(
                expected="device nodes closed under their predecessors",
                found=f"{early[0][:60]!r} on the device, and {edge.producer[:60]!r}, "
                "which it reads from, in the cloud",
                remedy="put the earlier node on the device too",
            )


def _sent(profile: Profile, chosen: Collection[str]) -> tuple[EdgeProfile, ...]:
    return tuple(
        edge
        for edge in profile.edges
        if (edge.producer is None or edge.producer in chosen)
        and any(name not in chosen for name in edge.consumers)
    )


def _split(
    profile: Profile, chosen: Collection[str], up_bytes_per_s: float, rtt_s: float
) -> Split:
    here = [node for node in profile.nodes if node.name in chosen]
    there = [node for node in profile.nodes if node.name not in chosen]
    sent = _sent(profile, chosen)
    payload_bytes = sum(edge.bytes for edge in sent)
    return Split(
        device_nodes=tuple(node.name for node in here),
        cut=tuple(edge.name for edge in sent),
        payload_bytes=payload_bytes,
        device_s=math.fsum(node.device_s or 0.0 for node in here),
        link_s=payload_bytes / up_bytes_per_s + (rtt_s if there else 0.0),
        cloud_s=math.fsum(node.cloud_s or 0.0 for node in there),
    )


def _exact_price(profile: Profile, up_bytes_per_s: float, rtt_s: float) -> _Price:
    # One unit is 1 / (rate numerator * largest denominator) of a second: with rate = p/q, the
    # time bytes/rate = bytes*q/p has p below, the times have powers of two below.
    p, q = (1, 0) if math.isinf(up_bytes_per_s) else float(up_bytes_per_s).as_integer_ratio()
    device = [float(node.device_s or 0).as_integer_ratio() for node in profile.nodes]
    cloud = [float(node.cloud_s or 0).as_integer_ratio() for node in profile.nodes]
    rtt = float(rtt_s).as_integer_ratio()
    denominator = max(below for _, below in (*device, *cloud, rtt))

    def whole(ratio: tuple[int, int]) -> int:
        return ratio[0] * (denominator // ratio[1]) * p

    return _Price(
        device=tuple(map(whole, device)),
        cloud=tuple(map(whole, cloud)),
        per_byte=q * denominator,
        rtt=whole(rtt),
    )


def _rank(profile: Profile, price: _Price, chosen: Collection[str]) -> tuple[int, int, int]:
    sides = [
        here if node.name in chosen else there
        for node, here, there in zip(profile.nodes, price.device, price.cloud, strict=True)
    ]
    payload_bytes = sum(edge.bytes for edge in _sent(profile, chosen))
    rtt = price.rtt if len(chosen) < len(profile.nodes) else 0
    return sum(sides) + payload_bytes * price.per_byte + rtt, payload_bytes, -len(chosen)


def _minimum_cut(profile: Profile, price: _Price) -> frozenset[str]:
    try:
        import networkx
        from networkx.algorithms.flow import preflow_push
    except ImportError:
        raise MissingExtra(extra="studio", purpose="to search for the best split") from None
    graph: networkx.DiGraph[int | str] = networkx.DiGraph()
    graph.add_nodes_from([_DEVICE, _CLOUD, *range(len(profile.nodes))])
    for tail, head, capacity in _arcs(profile, price):
        if capacity is None:
            graph.add_edge(tail, head)  # networkx: no capacity means infinite
        else:
            before = graph.get_edge_data(tail, head, default={"capacity": 0})["capacity"]
            graph.add_edge(tail, head, capacity=before + capacity)
    # networkx puts on the far side exactly what still reaches the sink, so the near side is the
    # largest one among all minimum cuts: the most nodes on the device.
    _, (near, _) = networkx.minimum_cut(graph, _DEVICE, _CLOUD, flow_func=preflow_push)
    return frozenset(node.name for i, node in enumerate(profile.nodes) if i in near)


def _arcs(profile: Profile, price: _Price) -> Iterable[tuple[int | str, int | str, int | None]]:
    number = {node.name: i for i, node in enumerate(profile.nodes)}
    behind, implied = _ancestors(profile, number)
    # Time first, bytes second: one time unit outweighs all bytes that could be sent.
    weight = 1 + sum(edge.bytes for edge in profile.edges)
    for i, (here, there) in enumerate(zip(price.device, price.cloud, strict=True)):
        # What both sides have in common is paid anyway, so only the difference flows.
        if here > there:
            yield i, _CLOUD, (here - there) * weight
        elif there > here:
            yield _DEVICE, i, (there - here) * weight
    for tensor, edge in enumerate(profile.edges, start=len(profile.nodes)):
        readers = {number[name] for name in edge.consumers}
        maker = _DEVICE if edge.producer is None else number[edge.producer]
        capacity = edge.bytes * (price.per_byte * weight + 1)
        # A reader that comes before another reader is on the device whenever the other one is.
        early = _union(behind[reader] for reader in readers)
        last = [reader for reader in sorted(readers) if not early >> reader & 1]
        if len(last) == 1:
            yield maker, last[0], capacity
        elif last:
            yield maker, tensor, capacity
            yield from ((tensor, reader, None) for reader in last)
        if isinstance(maker, int):
            kept = (reader for reader in readers if not implied[reader] >> maker & 1)
            yield from ((reader, maker, None) for reader in kept)


def _ancestors(profile: Profile, number: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """For each node, as bits of an integer: all its ancestors, and those behind a parent.

    An arc to an ancestor behind a parent says nothing new; leaving such arcs out (transitive
    reduction, Aho et al. 1972) makes densely connected networks faster to cut.
    """
    parents: list[set[int]] = [set() for _ in profile.nodes]
    for edge in profile.edges:
        if edge.producer is not None:
            for name in edge.consumers:
                parents[number[name]].add(number[edge.producer])
    behind, implied = [0] * len(parents), [0] * len(parents)
    for i, found in enumerate(parents):
        implied[i] = _union(behind[parent] for parent in found)
        behind[i] = implied[i] | _union(1 << parent for parent in found)
    return behind, implied


def _union(sets: Iterable[int]) -> int:
    return reduce(or_, sets, 0)
