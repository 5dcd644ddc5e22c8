"""Trim random graphs with everybody, and real ones with a pass that is wrong on purpose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import onnx

from support.random_networks import random_network
from support.report import Findings, Goal, Table
from support.subjects import Subject, subjects
from support.trim_outputs import count_nodes
from support.trim_peers import Outcome, run_jobs
from support.trim_sabotage import MISTAKES

TRIMMERS = ("edgewise", "onnxslim", "onnxsim", "onnxsim, bodies too")
VICTIMS = ("fashion-resnet20", "efficientnet-lite0", "romanizer-decoder", "silero-half")
TIME_OUT_S = 60
GOAL_REL = 1e-5

Rows = list[tuple[str, ...]]


def random_findings(count: int, folder: Path) -> Findings:
    """Every trimmer on the same random graphs."""
    graphs = []
    for seed in range(count):
        path = folder / f"graph-{seed}.onnx"
        onnx.save(random_network(np.random.default_rng(seed)), path)
        graphs.append(Subject(name=str(seed), path=path))
    rows, data = [], {}
    for trimmer in TRIMMERS:
        verdicts, nodes = _try(trimmer, graphs, folder)
        tally = Counter(verdict.partition(":")[0] for verdict in verdicts.values())
        seen = mean(nodes) if nodes else 0.0
        why = ", ".join(f"{name} {verdict}" for name, verdict in _odd(verdicts)[:2])
        rows.append(
            (
                trimmer,
                *(str(tally[one]) for one in ("equal", "wrong", "crashed", "refused")),
                f"{seen:.1f}",
                why[:160].replace("|", "/"),
            )
        )
        data[trimmer] = {"verdicts": dict(tally), "odd": dict(_odd(verdicts)), "nodes": seen}
    ours = data["edgewise"]["verdicts"]
    before = mean(count_nodes(one.path)[0] for one in graphs) if graphs else 0.0
    return Findings(
        title="Random graphs",
        goals=[
            Goal(
                what=f"{count} random graphs",
                goal="0 crashes, 0 wrong outputs, 0 refused",
                measured=f"{ours.get('equal', 0)} equal, {ours.get('wrong', 0)} wrong, "
                f"{ours.get('crashed', 0)} crashed, {ours.get('refused', 0)} refused",
                met=ours.get("equal", 0) == count,
            )
        ],
        tables=[
            Table(
                title=f"{count} random graphs, {before:.1f} nodes on average",
                columns=(
                    "by",
                    "equal",
                    "wrong",
                    "crashed",
                    "refused",
                    "nodes left",
                    "for example",
                ),
                rows=rows,
            )
        ],
        data={"random_graphs": data},
    )


def _odd(verdicts: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(f"graph {name}", verdict) for name, verdict in verdicts.items() if verdict != "equal"]


def _try(
    trimmer: str, graphs: Sequence[Subject], folder: Path
) -> tuple[dict[str, str], list[int]]:
    """What came of each graph, and the nodes of those that came out equal."""
    jobs = [one.job(target=str(folder / f"{one.name}.trimmed"), seeds=(100,)) for one in graphs]
    made = run_jobs(trimmer, jobs, folder=folder, time_out_s=TIME_OUT_S, in_one=True)
    whole = [at for at, one in enumerate(made) if one.state == "done"]
    judged = [{**jobs[at], "seeds": (0, 1)} for at in whole]
    found = run_jobs("compare", judged, folder=folder, time_out_s=TIME_OUT_S, in_one=True)
    equal = dict(zip(whole, found, strict=True))
    verdicts = {graphs[at].name: _verdict(made[at], equal.get(at)) for at in range(len(graphs))}
    nodes = [
        count_nodes(jobs[at]["target"])[0] for at in whole if verdicts[graphs[at].name] == "equal"
    ]
    for job in jobs:
        Path(job["target"]).unlink(missing_ok=True)
    return verdicts, nodes


def _verdict(made: Outcome, found: Outcome | None) -> str:
    if found is None:
        state = made.state if made.state == "refused" else "crashed"
        return f"{state}: {' '.join(made.reason.split())}"
    if found.state != "done":
        return f"wrong: it does not run: {' '.join(found.reason.split())}"
    gap = found.facts["max_rel"]
    return "equal" if gap is not None and gap <= GOAL_REL else f"wrong: {gap} off"


def sabotage_findings(count: int, folder: Path) -> Findings:
    """A wrong pass among the right ones, on real networks and a few random ones."""
    victims = list(subjects(VICTIMS))
    for seed in range(count):
        path = folder / f"victim-{seed}.onnx"
        onnx.save(random_network(np.random.default_rng(seed)), path)
        victims.append(Subject(name=f"random {seed}", path=path))
    rows: Rows = []
    wrong, missed = 0, []
    for mistake in MISTAKES:
        caught, harmless, bad, reason = _spoil(mistake, victims, folder)
        rows.append((mistake, str(len(victims)), str(caught), str(harmless), str(bad), reason))
        wrong += bad
        missed += [mistake] if not caught else []
    return Findings(
        title="A wrong pass",
        goals=[
            Goal(
                what="a pass made wrong on purpose",
                goal="each mistake caught, no wrong output ever",
                measured=f"{len(MISTAKES) - len(missed)} of {len(MISTAKES)} mistakes caught, "
                f"{wrong} wrong outputs of {len(MISTAKES) * len(victims)}",
                met=not missed and not wrong,
            )
        ],
        tables=[
            Table(
                title="A pass made wrong on purpose",
                columns=("mistake", "networks", "caught", "without effect", "wrong", "it said"),
                rows=rows,
            )
        ],
        data={"sabotage": [list(row) for row in rows]},
    )


def _spoil(mistake: str, victims: Sequence[Subject], folder: Path) -> tuple[int, int, int, str]:
    """How often it was caught, had no effect, went through; and what was said first."""
    jobs = [
        one.job(target=str(folder / f"{at}.spoilt"), seeds=(0, 1), mistake=mistake)
        for at, one in enumerate(victims)
    ]
    made = run_jobs("sabotage", jobs, folder=folder, time_out_s=TIME_OUT_S, in_one=True)
    found = run_jobs("compare", jobs, folder=folder, time_out_s=TIME_OUT_S, in_one=True)
    verdicts = [_verdict(*pair) for pair in zip(made, found, strict=True)]
    bad = sum(verdict != "equal" for verdict in verdicts)
    caught: list[Any] = [one.facts for one in made if one.facts.get("caught")]
    reason = caught[0]["reason"][:120].replace("|", "/") if caught else "nothing"
    for job in jobs:
        Path(job["target"]).unlink(missing_ok=True)
    return len(caught), len(victims) - len(caught) - bad, bad, reason
