"""Plan from given times: a profile written by hand or by another tool, and links."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from edgewise import records
from edgewise.errors import BadInput
from edgewise.planning.search import Split, candidate_splits
from edgewise.profiling.profile import EdgeProfile, NodeProfile, Profile
from edgewise.specs import LinkSpec
from edgewise.units import format_duration

_SCHEMA = 1
_MAX_BYTES = 16_000_000  # 5 000 nodes take about one
_MAX_NODES = 50_000  # the search keeps one bit for each pair
_LONGEST_S = 1e15  # sums stay far inside the range of a float
_LARGEST_BYTES = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    name: str
    device_s: float
    cloud_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    name: str
    producer: str | None
    consumers: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    schema: int
    nodes: tuple[_Node, ...]
    edges: tuple[_Edge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenCandidate:
    """One way to answer a request, at given times.

    Args:
        route: ``local``, ``cloud`` or ``split``.
        device_nodes: the nodes on the device.
        cut: names of the tensors sent.
        payload_bytes: their bytes.
        total_s: latency of one request: device, link and cloud one after the other.
        device_s: share of the device.
        link_s: share of the link, RTT included.
        cloud_s: share of the cloud.
        device_energy_j: unknown, for given times say nothing of energy.
        rejected: why it was not chosen; ``None`` for the chosen one.
    """

    route: str
    device_nodes: tuple[str, ...]
    cut: tuple[str, ...]
    payload_bytes: int
    total_s: float
    device_s: float
    link_s: float
    cloud_s: float
    device_energy_j: float | None = None
    rejected: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenPlan:
    """The fastest split over one link, beside what it was compared with.

    Args:
        link: name of the link.
        chosen: the fastest candidate; no closed set of nodes is faster.
        routes: the routes a bundle would hold: the chosen one.
        candidates: the best split, ``local`` and ``cloud``, fastest first.
        bill: unknown, for a profile says nothing of money.
    """

    link: str
    chosen: GivenCandidate
    routes: tuple[GivenCandidate, ...]
    candidates: tuple[GivenCandidate, ...]
    bill: None = None


def plan_given(profile: Profile, links: Sequence[LinkSpec]) -> tuple[GivenPlan, ...]:
    """Plan for each link: one plan per link, in their order.

    Results have no bytes here, so the downlink does not count; nor do jitter and loss.

    Raises:
        BadInput: when there is no link, or a node has no times.

    >>> from edgewise.specs import Provenance
    >>> link = LinkSpec(name="lte", up_bytes_per_s=731250.0,
    ...                 provenance=Provenance(source="user-supplied", date="2026-11-21"))
    >>> conv = NodeProfile(name="conv", device_s=0.02, cloud_s=0.001)
    >>> photo = EdgeProfile(name="photo", producer=None, consumers=("conv",), bytes=150_528)
    >>> (plan,) = plan_given(Profile(nodes=(conv,), edges=(photo,)), [link])
    >>> plan.chosen.route, plan.candidates[1].rejected
    ('local', '186.9 ms slower than local')
    """
    if not links:
        raise BadInput(
            expected="at least one link",
            found="none",
            remedy="pass --link NAME or --link up=5.85Mbit/s,rtt=0",
        )
    return tuple(_plan(profile, link) for link in links)


def read_profile(path: Path | str) -> Profile:
    """Read a ``profile.json`` with given times; its nodes come back in an order that can run.

    The file is ``{"schema": 1, "nodes": [{"name", "device_s", "cloud_s"}], "edges": [{"name",
    "producer", "consumers", "bytes"}]}``; the producer of an input is ``null``. Nodes that are in
    such an order already keep it.

    Raises:
        BadInput: when the file cannot be read, or is not such a profile.
    """
    where = str(path)
    raw = records.read_start(Path(path), what="profile", max_bytes=_MAX_BYTES)
    data = records.parse_json(raw, where=where, max_bytes=_MAX_BYTES)
    _check_schema(data, where)
    file = records.read_record(_File, data, where=where)
    _check_nodes(file.nodes, where)
    _check_edges(file, where)
    return Profile(
        nodes=tuple(
            NodeProfile(name=node.name, device_s=node.device_s, cloud_s=node.cloud_s)
            for node in _in_running_order(file, where)
        ),
        edges=tuple(
            EdgeProfile(
                name=edge.name, producer=edge.producer, consumers=edge.consumers, bytes=edge.bytes
            )
            for edge in file.edges
        ),
    )


def _plan(profile: Profile, link: LinkSpec) -> GivenPlan:
    splits = candidate_splits(profile, up_bytes_per_s=link.up_bytes_per_s, rtt_s=link.rtt_s)
    best = splits[0]
    candidates = tuple(_candidate(profile, split, best) for split in splits)
    return GivenPlan(
        link=link.name, chosen=candidates[0], routes=candidates[:1], candidates=candidates
    )


def _candidate(profile: Profile, split: Split, best: Split) -> GivenCandidate:
    return GivenCandidate(
        route=_route(profile, split),
        device_nodes=split.device_nodes,
        cut=split.cut,
        payload_bytes=split.payload_bytes,
        total_s=split.total_s,
        device_s=split.device_s,
        link_s=split.link_s,
        cloud_s=split.cloud_s,
        rejected=None if split is best else _reason(split, best, _route(profile, best)),
    )


def _route(profile: Profile, split: Split) -> str:
    if len(split.device_nodes) == len(profile.nodes):
        return "local"
    return "split" if split.device_nodes else "cloud"


def _reason(split: Split, best: Split, route: str) -> str:
    if split.total_s > best.total_s:
        return f"{format_duration(split.total_s - best.total_s)} slower than {route}"
    if split.payload_bytes > best.payload_bytes:
        return f"as slow as {route}, and sends more"
    return f"as slow as {route}, and leaves more to the cloud"


def _check_schema(data: object, where: str) -> None:
    # Before the record: another schema has other fields, and deserves a better message.
    schema = data.get("schema", _SCHEMA) if isinstance(data, dict) else _SCHEMA
    if schema != _SCHEMA:
        raise BadInput(
            expected=f"schema {_SCHEMA} in {where}",
            found=repr(schema)[:60],
            remedy="write the profile in that schema, or install the edgewise that knows it",
        )


def _check_nodes(nodes: Sequence[_Node], where: str) -> None:
    if not nodes:
        raise BadInput(
            expected=f"at least one node in {where}", found="none", remedy="add the nodes"
        )
    if len(nodes) > _MAX_NODES:
        raise BadInput(
            expected=f"at most {_MAX_NODES} nodes in {where}",
            found=str(len(nodes)),
            remedy="merge nodes that always run together",
        )
    _check_names([node.name for node in nodes], "node", where)
    for node in nodes:
        for label, value in (("device_s", node.device_s), ("cloud_s", node.cloud_s)):
            if not 0 <= value <= _LONGEST_S:
                raise BadInput(
                    expected=f"{label} from 0 to {_LONGEST_S:g} s at the node "
                    f"{_short(node.name)} in {where}",
                    found=f"{value:g}",
                    remedy="give a time in seconds",
                )


def _check_names(names: Iterable[str], kind: str, where: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise BadInput(
                expected=f"every {kind} name once in {where}",
                found=f"{_short(name)} {count} times",
                remedy=f"rename one {kind}",
            )
        if not name or not name.isprintable():
            raise BadInput(
                expected=f"printable {kind} names in {where}",
                found=_short(name),
                remedy=f"rename the {kind}",
            )


def _check_edges(file: _File, where: str) -> None:
    _check_names([edge.name for edge in file.edges], "edge", where)
    known = {node.name for node in file.nodes}
    for edge in file.edges:
        at = f"the edge {_short(edge.name)} in {where}"
        _check_ends(edge, known, at)
        if not 0 <= edge.bytes <= _LARGEST_BYTES:
            raise BadInput(
                expected=f"bytes from 0 to {_LARGEST_BYTES:.0e} at {at}",
                found=f"{edge.bytes}"[:60],
                remedy="give the size of the tensor",
            )


def _check_ends(edge: _Edge, known: set[str], at: str) -> None:
    if edge.producer is not None and edge.producer not in known:
        raise BadInput(
            expected=f"a node of the profile, or null, as the producer of {at}",
            found=_short(edge.producer),
            remedy="name one of the nodes",
        )
    for name in edge.consumers:
        if name not in known:
            raise BadInput(
                expected=f"nodes of the profile as the consumers of {at}",
                found=_short(name),
                remedy="name some of the nodes, or none for an output",
            )
    if edge.producer in edge.consumers:
        raise BadInput(
            expected=f"other consumers than the producer at {at}",
            found=f"{_short(str(edge.producer))} reading what it makes",
            remedy="remove it from the consumers",
        )


def _in_running_order(file: _File, where: str) -> list[_Node]:
    number = {node.name: i for i, node in enumerate(file.nodes)}
    sorter: TopologicalSorter[int] = TopologicalSorter(dict.fromkeys(number.values(), ()))
    for edge in file.edges:
        if edge.producer is not None:
            for name in edge.consumers:
                sorter.add(number[name], number[edge.producer])
    try:
        sorter.prepare()
    except CycleError as error:
        loop = " -> ".join(_short(file.nodes[i].name) for i in error.args[1][:6])
        raise BadInput(
            expected=f"a network without cycles in {where}", found=loop, remedy="break the cycle"
        ) from None
    ready: list[int] = []
    order = []
    while sorter.is_active():
        for i in sorter.get_ready():
            heapq.heappush(ready, i)
        order.append(heapq.heappop(ready))  # the earliest of the file that can run
        sorter.done(order[-1])
    return [file.nodes[i] for i in order]


def _short(name: str) -> str:
    return ascii(name) if len(name) <= 60 else ascii(name[:60]) + "..."
