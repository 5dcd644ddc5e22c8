"""What does the server cost beside the engine, and what does joining requests gain?

Run: python benchmarks/serving.py [--json FILE] [--md FILE] [--peers PYTHON] [--seconds 2]

Peers: FastAPI as most people write it, and LitServe; `--peers` names a Python that has them.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.report import Findings, Goal, Table, main
from support.serving_load import (
    Load,
    at_concurrency,
    at_rate,
    cpu_s,
    one_by_one,
    percentile,
    resident_bytes,
    settle,
)
from support.serving_servers import BATCH, Server, edgewise, has_peers, peers
from support.serving_subjects import Subject, engine_s, fashion, minilm, passing

CLIENTS = (4, 8, 16, 32)
BASE_CLIENTS = 16  # enough to keep every engine busy and a batch waiting
BATCHES = (1, 2, 4, 8)
OVERLOAD = 3.0
DEADLINE_S = 0.5
AT_ONCE_S = 0.05
TURNS = 4
OURS, SINGLE, ALONE = "edgewise", "edgewise, each request its own run", "the same, one at a time"
Loads = Mapping[str, Mapping[int, Load]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """One server under overload.

    Args:
        load: the second half; the first has brought it there.
        grown_bytes: memory after it, less memory before it.
    """

    load: Load
    grown_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Everything."""

    overhead_s: Mapping[str, float]
    per_core: Mapping[str, float]
    engine_s: Mapping[str, Mapping[int, Mapping[int, float]]]
    joined: Mapping[str, Loads]
    flood: Mapping[str, Mapping[str, Flood]]
    rate_per_s: Mapping[str, float]


# --- measurements -----------------------------------------------------------------------------


def overhead(folder: Path, python: str) -> dict[str, float]:
    """Median seconds of a round trip beyond the engine's own, 50 kB each; interleaved."""
    it = passing(folder, "wide", 12_800)
    own_s = engine_s(it)
    with edgewise(it) as ours, peers(it, python) as found:
        times: dict[str, list[float]] = {OURS: [], **{name: [] for name in found}}
        for _ in range(5):
            for name, server in {OURS: ours, **found}.items():
                times[name] += one_by_one(server.port, server.request, count=200)
    return {name: statistics.median(runs) - own_s for name, runs in times.items()}


def echo(folder: Path, python: str, seconds: float) -> dict[str, float]:
    """Requests per second of CPU time, 1 kB, 8 clients."""
    it = passing(folder, "small", 256)
    with edgewise(it) as ours, peers(it, python) as found:
        loads = closed_loops({OURS: ours, **found}, (8,), seconds)
    return {name: by[8].per_cpu_s for name, by in loads.items()}


def engine_costs(it: Subject) -> dict[int, dict[int, float]]:
    """Seconds per item of the engine alone, by threads and batch."""
    return {
        threads: {n: engine_s(it, items=n, threads=threads) / n for n in BATCHES}
        for threads in sorted({1, os.cpu_count() or 1})
    }


def batching(it: Subject, python: str, seconds: float) -> Loads:
    """Closed loops at several concurrencies."""
    cores = os.cpu_count() or 1
    with contextlib.ExitStack() as stack:
        found = {
            SINGLE: stack.enter_context(edgewise(it, "--max-batch=1")),
            ALONE: stack.enter_context(edgewise(it, "--max-batch=1", threads=cores)),
            OURS: stack.enter_context(edgewise(it, f"--max-batch={BATCH}")),
            **stack.enter_context(peers(it, python)),
        }
        return closed_loops(found, CLIENTS, seconds)


def closed_loops(found: Mapping[str, Server], clients: Sequence[int], seconds: float) -> Loads:
    """The servers take turns, so that whatever else the machine does hits them alike."""
    loads = {name: {n: Load(0.0) for n in clients} for name in found}
    for n, _, (name, server) in itertools.product(clients, range(TURNS), found.items()):
        before = cpu_s(server.pid)
        load = at_concurrency(server.port, server.request, clients=n, seconds=seconds / TURNS)
        load.cpu_s = cpu_s(server.pid) - before
        loads[name][n].add(load)
    return loads


def overload(it: Subject, python: str, per_s: float, seconds: float) -> dict[str, Flood]:
    """Three times what the server does at most."""
    with (
        edgewise(it, deadline_s=DEADLINE_S) as ours,
        peers(it, python, deadline_s=DEADLINE_S) as found,
    ):
        return {
            name: flooded(server, OVERLOAD * per_s, seconds)
            for name, server in {OURS: ours, **found}.items()
        }


def flooded(server: Server, per_s: float, seconds: float) -> Flood:
    at_rate(server.port, server.request, per_s=per_s, seconds=seconds / 2)
    settle(server.port, server.request, within_s=DEADLINE_S)
    before = resident_bytes(server.pid)
    load = at_rate(server.port, server.request, per_s=per_s, seconds=seconds)
    return Flood(load=load, grown_bytes=resident_bytes(server.pid) - before)


def p95_s(load: Load) -> float:
    return percentile(load.good_s, 0.95)


def at_p95(loads: Mapping[int, Load], budget_s: float) -> float:
    """The most answers per second within a p95; between two loads, on the line between them."""
    points = sorted((p95_s(load), load.per_s) for load in loads.values())
    within = [per_s for p95, per_s in points if p95 <= budget_s]
    for (low_s, low), (high_s, high) in itertools.pairwise(points):
        if low_s <= budget_s < high_s:
            within.append(low + (high - low) * (budget_s - low_s) / (high_s - low_s))
    return max(within, default=0.0)


def gain(loads: Loads, baseline: str) -> float:
    """Answers per second of joined requests over those of a baseline, at the p95 of that."""
    base = loads[baseline][BASE_CLIENTS]
    return at_p95(loads[OURS], p95_s(base)) / base.per_s


def bound(costs: Mapping[int, Mapping[int, float]]) -> float:
    """The most that joining could gain if the server itself cost nothing."""
    return costs[1][1] / min(costs[1].values())


# --- report -----------------------------------------------------------------------------------


def measure(args: argparse.Namespace) -> Findings:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        query = minilm(folder, "query", 6)
        listing = minilm(folder, "listing", 64)
        subjects = (query, listing, fashion(folder, "fashion-mobilenetv3"))
        joined = {it.title: batching(it, args.peers, args.seconds) for it in subjects}
        flooded_ones = (query, listing)
        rate_per_s = {
            it.title: max(load.per_s for load in joined[it.title][OURS].values())
            for it in flooded_ones
        }
        found = Measured(
            overhead_s=overhead(folder, args.peers),
            per_core=echo(folder, args.peers, args.seconds),
            engine_s={it.title: engine_costs(it) for it in subjects},
            joined=joined,
            flood={
                it.title: overload(it, args.peers, rate_per_s[it.title], 2 * args.seconds)
                for it in flooded_ones
            },
            rate_per_s=rate_per_s,
        )
    return Findings(
        title="The server beside its engine, and beside other servers",
        goals=[*cost_goals(found), *batching_goals(found), *overload_goals(found)],
        tables=[cost_table(found), engine_table(found), *load_tables(found), *flood_tables(found)],
        notes=notes(args),
        data=figures(found),
    )


def cost_goals(found: Measured) -> list[Goal]:
    own_s, per_core = found.overhead_s[OURS], found.per_core[OURS]
    return [
        Goal(
            what="round trip over the engine's own run, 50 kB, median",
            goal="at most 0.3 ms",
            measured=f"{own_s * 1e3:.2f} ms",
            met=own_s <= 3e-4,
        ),
        Goal(
            what="echo requests per second of one core, 1 kB",
            goal="at least 5000",
            measured=f"{per_core:.0f}",
            met=per_core >= 5000,
        ),
    ]


def batching_goals(found: Measured) -> list[Goal]:
    goals = []
    for title, loads in found.joined.items():
        strict, loose = gain(loads, SINGLE), gain(loads, ALONE)
        most = bound(found.engine_s[title])
        goals.append(
            Goal(
                what=f"{title}: joined over each request its own run, at equal p95",
                goal="at least 2 ×",
                measured=f"{strict:.2f} × (over one at a time {loose:.2f} ×; the engine's own"
                f" cost per item bounds it at {most:.2f} ×)",
                met=strict >= 2,
            )
        )
    return goals


def overload_goals(found: Measured) -> list[Goal]:
    return [
        goal for title, by in found.flood.items() for goal in overload_goals_of(title, by[OURS])
    ]


def overload_goals_of(title: str, flood: Flood) -> list[Goal]:
    load, statuses = flood.load, flood.load.statuses
    refused = sum(statuses.values()) - statuses[200] - statuses[0]
    p99_s, refusal_s = percentile(load.good_s, 0.99), statistics.median(load.refused_s or [0.0])
    return [
        Goal(
            what=f"{title}: overload at {OVERLOAD:g} ×: p99 of what was admitted",
            goal=f"within the deadline, {DEADLINE_S * 1e3:.0f} ms",
            measured=f"{p99_s * 1e3:.0f} ms",
            met=bool(load.good_s) and p99_s <= DEADLINE_S,
        ),
        Goal(
            what=f"{title}: overload at {OVERLOAD:g} ×: the rest",
            goal="429 with Retry-After, nobody without an answer",
            measured=f"{statuses[429]} × 429 of {refused} refusals, {load.retry_after} with it,"
            f" {statuses[0]} without an answer",
            met=statuses[429] == refused == load.retry_after and not statuses[0],
        ),
        Goal(
            what=f"{title}: overload at {OVERLOAD:g} ×: refusals come at once, median",
            goal=f"at most {AT_ONCE_S * 1e3:.0f} ms",
            measured=f"{refusal_s * 1e3:.1f} ms",
            met=refusal_s <= AT_ONCE_S,
        ),
        Goal(
            what=f"{title}: overload at {OVERLOAD:g} ×: memory",
            goal="flat: at most 8 MB more after the second half than before",
            measured=f"{flood.grown_bytes / 1e6:.1f} MB",
            met=flood.grown_bytes <= 8e6,
        ),
    ]


def cost_table(found: Measured) -> Table:
    return Table(
        title="Overhead and cost of one request",
        columns=("server", "over the engine, 50 kB, median", "requests per CPU second, 1 kB"),
        rows=[
            (name, f"{seconds * 1e3:.2f} ms", f"{found.per_core[name]:.0f}")
            for name, seconds in found.overhead_s.items()
        ],
    )


def engine_table(found: Measured) -> Table:
    return Table(
        title="The engine alone: ms per item",
        columns=("network", "threads", *(f"batch {n}" for n in BATCHES)),
        rows=[
            (title, str(threads), *(f"{by[n] * 1e3:.2f}" for n in BATCHES))
            for title, costs in found.engine_s.items()
            for threads, by in costs.items()
        ],
    )


def load_tables(found: Measured) -> list[Table]:
    return [
        Table(
            title=f"Joining: {title}",
            columns=("server", *(f"{n} clients: per s, p95, per CPU s" for n in CLIENTS)),
            rows=[
                (
                    server,
                    *(
                        f"{x.per_s:.0f}, {p95_s(x) * 1e3:.1f} ms, {x.per_cpu_s:.0f}"
                        for x in by.values()
                    ),
                )
                for server, by in loads.items()
            ],
        )
        for title, loads in found.joined.items()
    ]


def flood_tables(found: Measured) -> list[Table]:
    return [flood_table(title, by, found.rate_per_s[title]) for title, by in found.flood.items()]


def flood_table(title: str, by: Mapping[str, Flood], per_s: float) -> Table:
    return Table(
        title=f"Overload, {title}: {OVERLOAD:g} × {per_s:.0f} per s",
        columns=("server", "in time per s", "p99 of all answers", "refused", "no answer"),
        rows=[
            (
                name,
                f"{flood.load.in_time_per_s(DEADLINE_S):.0f}",
                f"{percentile(flood.load.good_s, 0.99) * 1e3:.0f} ms",
                str(len(flood.load.refused_s)),
                str(flood.load.statuses[0]),
            )
            for name, flood in by.items()
        ],
    )


def figures(found: Measured) -> dict[str, Any]:
    return {
        "overhead_s": found.overhead_s,
        "requests_per_cpu_s": found.per_core,
        "engine_s_per_item": found.engine_s,
        "batching": {
            title: {
                server: {
                    n: {"per_s": x.per_s, "p95_s": p95_s(x), "per_cpu_s": x.per_cpu_s}
                    for n, x in by.items()
                }
                for server, by in loads.items()
            }
            for title, loads in found.joined.items()
        },
        "overload": {
            title: {
                name: {
                    "in_time_per_s": flood.load.in_time_per_s(DEADLINE_S),
                    "p99_s": percentile(flood.load.good_s, 0.99),
                    "statuses": {str(status): n for status, n in flood.load.statuses.items()},
                    "grown_bytes": flood.grown_bytes,
                }
                for name, flood in by.items()
            }
            for title, by in found.flood.items()
        },
    }


def notes(args: argparse.Namespace) -> Sequence[str]:
    found = [
        "Each server runs in processes of its own on the loopback interface of this machine and "
        "shares its cores with the clients. Engines have one thread, and as many run at once as "
        "there are cores; one at a time is one engine with a thread on each core.",
        "edgewise and FastAPI take raw tensors; LitServe takes JSON, so base64 text, and forms "
        f"batches of up to {BATCH} within 2 ms, as edgewise does without waiting.",
        f"Closed loops of {args.seconds:g} s, in {TURNS} turns of each server. Equal p95: that "
        f"of the baseline with {BASE_CLIENTS} clients.",
        f"Overload: requests at fixed instants, on connections that stay open, each wanted within "
        f"{DEADLINE_S:g} s of its instant. edgewise is told in the request; FastAPI has uvicorn's "
        "limit_concurrency at the number of its threads, LitServe its own time-out. Half a flood "
        "comes before, and what it left waiting is worked off.",
    ]
    if not has_peers(args.peers):
        found.append("Peers were skipped: fastapi and litserve are not installed.")
    return found


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--seconds", type=float, default=2.0)


if __name__ == "__main__":
    sys.exit(main(measure, packages=("onnxruntime", "uvicorn"), configure=configure))
