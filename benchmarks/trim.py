"""Does trimming leave as few nodes as the best trimmers do, and every output as it was?

Run: python benchmarks/trim.py [--only NAME ...] [--graphs 200] [--json FILE] [--md FILE]

The zoo's networks and ONNX files that other packages ship, trimmed by edgewise, OnnxSlim and
onnxsim, each in a process of its own; then random graphs, and a pass made wrong on purpose.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.foreign_networks import FOREIGN
from support.report import Findings, Goal, Table, in_a_cell, main
from support.subjects import Subject, subjects
from support.trim_outputs import count_nodes, has_bodies
from support.trim_peers import Outcome, run_jobs
from support.trim_random import random_findings, sabotage_findings

PEERS = ("onnxslim", "onnxsim", "onnxsim, bodies too")
TIME_OUT_S = 180
LOADING_S = 3.0
SEEN_SEEDS = (100, 101)
VICTIMS = 20  # random graphs that the wrong passes are tried on too
SWOLLEN = 1.2
GOAL_SHARE, GOAL_REL = 0.8, 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One network after one trimmer (or none)."""

    state: str
    reason: str = ""
    nodes: int = 0
    all_nodes: int = 0
    bytes: int = 0
    seconds: float = 0.0
    max_rel: float = 0.0
    load: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


Results = dict[str, Result]


# --- networks ---------------------------------------------------------------------------------


def try_all(subject: Subject, folder: Path) -> Results:
    """Trim with everybody, compare with the original, and time the loading of all that equal."""
    results = {"original": weigh(subject.path, noise(subject, folder))}
    files = {"original": str(subject.path)}
    for at, trimmer in enumerate(("edgewise", *PEERS)):
        if trimmer.endswith("bodies too") and not has_bodies(subject.path):
            continue
        target = folder / f"{at}.onnx"
        results[trimmer] = trim_and_compare(subject, trimmer, target, folder)
        if target.is_file() and results[trimmer].state in ("done", "differs"):
            files[trimmer] = str(target)
    [timed] = run_jobs(
        "time", [{"files": files, "budget_s": LOADING_S}], folder=folder, time_out_s=TIME_OUT_S
    )
    for path in folder.glob("*.onnx"):
        path.unlink()
    return {name: with_load(one, timed.facts.get(name, {})) for name, one in results.items()}


def trim_and_compare(subject: Subject, trimmer: str, target: Path, folder: Path) -> Result:
    job = subject.job(target=str(target), seeds=SEEN_SEEDS)
    [made] = run_jobs(trimmer, [job], folder=folder, time_out_s=TIME_OUT_S)
    if made.state != "done":
        return Result(state=made.state, reason=made.reason)
    judged = subject.job(target=str(target), seeds=subject.seeds)
    [equal] = run_jobs("compare", [judged], folder=folder, time_out_s=TIME_OUT_S)
    if equal.state != "done":
        return Result(state="unusable", reason=equal.reason)
    return weigh(target, equal, made)


def noise(subject: Subject, folder: Path) -> Outcome:
    """How far the engine's own optimisations move the original's outputs."""
    job = subject.job(target=str(subject.path), seeds=subject.seeds, everything=True)
    return run_jobs("compare", [job], folder=folder, time_out_s=TIME_OUT_S)[0]


def weigh(path: Path, equal: Outcome, made: Outcome | None = None) -> Result:
    nodes, all_nodes = count_nodes(path)
    gap = equal.facts.get("max_rel", float("inf"))
    return Result(
        state="done",
        reason=equal.reason,
        nodes=nodes,
        all_nodes=all_nodes,
        bytes=path.stat().st_size,
        seconds=made.seconds if made else 0.0,
        max_rel=float("inf") if gap is None else gap,
        facts=made.facts if made else {},
    )


def with_load(result: Result, load: Mapping[str, float]) -> Result:
    return Result(**{**{name: getattr(result, name) for name in Result.__slots__}, "load": load})


# --- judging ----------------------------------------------------------------------------------


def is_equal(results: Results, trimmer: str) -> bool:
    """Outputs within the goal, or within what the engine's own optimisations do to them."""
    one = results.get(trimmer)
    limit = max(GOAL_REL, results["original"].max_rel)
    return one is not None and one.state == "done" and one.max_rel <= limit


def best_peer(results: Results) -> int | None:
    """The fewest nodes of a peer whose outputs are those of the original."""
    return min((results[name].nodes for name in PEERS if is_equal(results, name)), default=None)


def goals_of(tried: Mapping[str, Results]) -> list[Goal]:
    ours = {name: one["edgewise"] for name, one in tried.items()}
    done = {name: one for name, one in ours.items() if one.state == "done"}
    beaten = [
        name for name, one in done.items() if (best_peer(tried[name]) or sys.maxsize) >= one.nodes
    ]
    beyond = [name for name, one in done.items() if one.max_rel > GOAL_REL]
    broken = [name for name, one in ours.items() if one.state not in ("done", "refused")]
    return [
        Goal(
            what="nodes, ours against the better peer with equal outputs",
            goal=f"at most as many on {GOAL_SHARE:.0%} of all networks",
            measured=f"{len(beaten)} of {len(ours)} ({len(beaten) / len(ours):.0%})",
            met=len(beaten) >= GOAL_SHARE * len(ours),
        ),
        Goal(
            what="outputs of the trimmed network against the original",
            goal=f"within {GOAL_REL:g} relative on every network",
            measured=f"{len(done) - len(beyond)} of {len(done)}"
            + "".join(
                f"; {name} {done[name].max_rel:.1e} (the engine's own optimisations: "
                f"{tried[name]['original'].max_rel:.1e})"
                for name in beyond
            ),
            met=not beyond,
        ),
        Goal(
            what="figures or a clear refusal, never a crash",
            goal="0 crashes",
            measured=f"{len(done)} trimmed, {len(ours) - len(done) - len(broken)} refused, "
            f"{len(broken)} crashed{': ' if broken else ''}{', '.join(broken)}",
            met=not broken,
        ),
    ]


# --- tables -----------------------------------------------------------------------------------


def node_table(tried: Mapping[str, Results]) -> Table:
    rows = []
    for name, results in tried.items():
        best, ours = best_peer(results), results["edgewise"]
        verdict = "-" if ours.state != "done" or best is None else verdict_of(results, best)
        cells = [nodes_cell(results, which) for which in ("original", "edgewise", *PEERS)]
        rows.append((name, *cells, verdict))
    return Table(
        title="Nodes without Constant (all nodes)",
        columns=("network", "original", "edgewise", *PEERS, "ours against the better peer"),
        rows=rows,
    )


def verdict_of(results: Results, best: int) -> str:
    ours, before = results["edgewise"].nodes, results["original"].bytes
    size = min(results[one].bytes for one in PEERS if is_best(results, one, best))
    swollen = (
        f", its file {size / before:.1f} times the original" if size > SWOLLEN * before else ""
    )
    return f"equal{swollen}" if ours == best else f"{ours - best:+d}{swollen}"


def is_best(results: Results, which: str, best: int) -> bool:
    return is_equal(results, which) and results[which].nodes == best


def nodes_cell(results: Results, which: str) -> str:
    one = results.get(which)
    if one is None:
        return "-"
    if one.state != "done":
        return one.state
    wrong = "" if which == "original" or is_equal(results, which) else " **wrong**"
    return f"{one.nodes} ({one.all_nodes}){wrong}"


def cost_table(tried: Mapping[str, Results]) -> Table:
    which = ("original", "edgewise", "onnxslim", "onnxsim")
    rows = []
    for name, results in tried.items():
        sizes = [f"{results[one].bytes:,}" if results[one].bytes else "-" for one in which]
        loads = [load_cell(results[one].load) for one in which]
        rows.append((name, *sizes, *loads))
    return Table(
        title="Bytes on disk, and ms to load (median, 10th to 90th percentile)",
        columns=("network", *(f"{one} bytes" for one in which), *(f"{one} ms" for one in which)),
        rows=rows,
    )


def load_cell(load: Mapping[str, float]) -> str:
    if not load:
        return "-"
    mid, low, high = (1e3 * load[key] for key in ("median_s", "low_s", "high_s"))
    return f"{mid:.1f} ({low:.1f} to {high:.1f})"


def difference_table(tried: Mapping[str, Results]) -> Table:
    rows = []
    for name, results in tried.items():
        gaps = [gap_cell(results.get(one)) for one in ("original", "edgewise", *PEERS)]
        times = [seconds_cell(results[one]) for one in ("edgewise", "onnxslim", "onnxsim")]
        rows.append((name, *gaps, *times))
    return Table(
        title="Largest relative difference of an output, and seconds to trim",
        columns=(
            "network",
            "engine's own",
            "edgewise",
            *PEERS,
            "edgewise s",
            "onnxslim s",
            "onnxsim s",
        ),
        rows=rows,
    )


def gap_cell(one: Result | None) -> str:
    if one is None or one.state != "done":
        return "-"
    return "0" if one.max_rel == 0 else f"{one.max_rel:.1e}"


def seconds_cell(one: Result) -> str:
    return f"{one.seconds:.1f}" if one.state == "done" else "-"


def trouble_table(tried: Mapping[str, Results]) -> Table:
    rows = [
        (name, which, one.state, in_a_cell(one.reason))
        for name, results in tried.items()
        for which, one in results.items()
        if one.state != "done"
    ]
    rows += [
        (name, "edgewise", "undone", in_a_cell(f"{what}: {reason}"))
        for name, results in tried.items()
        for what, reason in results["edgewise"].facts.get("undone", ())
    ]
    return Table(
        title="What went wrong, and what was undone",
        columns=("network", "by", "", "why"),
        rows=rows,
    )


def measure(args: argparse.Namespace) -> Findings:
    tried: dict[str, Results] = {}
    with tempfile.TemporaryDirectory(prefix="trim-") as folder:
        for subject in subjects(args.only):
            tried[subject.name] = try_all(subject, Path(folder))
            print(f"{subject.name}: {nodes_cell(tried[subject.name], 'edgewise')}", flush=True)
        chance = random_findings(args.graphs, Path(folder))
        spoilt = sabotage_findings(VICTIMS, Path(folder))
    kinds = [(one.name, one.pin.requirement, one.kind, one.licence) for one in FOREIGN]
    return Findings(
        title="Trimming beside OnnxSlim and onnxsim",
        goals=[*goals_of(tried), *chance.goals, *spoilt.goals],
        tables=[
            node_table(tried),
            difference_table(tried),
            cost_table(tried),
            trouble_table(tried),
            *chance.tables,
            *spoilt.tables,
            Table(
                title="Files of other packages",
                columns=("network", "package", "what it is", "licence as stated"),
                rows=[row for row in kinds if row[0] in tried],
            ),
        ],
        notes=(
            "nodes: those in the bodies of If, Loop and Scan and in local functions included; "
            "Constant nodes hold weights and are counted for nobody, in brackets for everybody",
            "outputs: onnxruntime without optimisations, one thread, two sets or more of random "
            "inputs that the trimmer has not seen and one with other sizes where the original "
            "takes them; largest difference over largest number; text, shapes and NaN must be the "
            "same",
            "engine's own: the original with all of onnxruntime's optimisations against none; a "
            "peer within that counts as equal, edgewise is held to 1e-5",
            "peers: OnnxSlim as `onnxslim in out`, onnxsim as `onnxsim in out` and with "
            "`--include-subgraph` where there are bodies; both keep dynamic shapes",
            "load: onnxruntime, FP32 on the CPU, all optimisations, one thread, in turn",
            f"every trimmer in a process of its own: {TIME_OUT_S} s and 12 GiB at most",
        ),
        data={
            "networks": {
                name: {which: facts(one) for which, one in results.items()}
                for name, results in tried.items()
            },
            **chance.data,
            **spoilt.data,
        },
    )


def facts(one: Result) -> dict[str, Any]:
    return {
        "state": one.state,
        "reason": one.reason,
        "nodes": one.nodes,
        "all_nodes": one.all_nodes,
        "bytes": one.bytes,
        "trim_s": one.seconds,
        "max_rel": one.max_rel if one.max_rel < float("inf") else None,
        "load": dict(one.load),
    }


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME")
    parser.add_argument("--graphs", type=int, default=200)


if __name__ == "__main__":
    packages = ("onnxruntime", "onnx", "onnx-ir", "onnxscript", "onnxslim", "onnxsim", "numpy")
    sys.exit(main(measure, packages=packages, configure=configure))
