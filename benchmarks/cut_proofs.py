"""Are the two halves equal to the whole, for every legal cut of the shipped networks?

Run: python benchmarks/cut_proofs.py [--json FILE] [--md FILE]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from edgewise.engines import Optimisation
from edgewise.graphs import Model, Proof, find_cuts, load, prove_cuts, random_feeds
from edgewise.profiling import count
from edgewise.zoo import entries, get
from support.report import Findings, Goal, Table, main

GOALS = {Optimisation.NONE: 0.0, Optimisation.EXTENDED: 0.0, Optimisation.ALL: 1e-5}


def measure(args: argparse.Namespace) -> Findings:
    del args
    rows, goals, data = [], [], []
    for entry in entries():
        model = load(get(entry.name))
        cuts = find_cuts(model)
        feeds = [random_feeds(model, np.random.default_rng(seed)) for seed in range(2)]
        folded = folded_across(model)
        for level, limit in GOALS.items():
            proved = list(prove_cuts(model, cuts, feeds, optimisation=level))
            proofs = [proof for _, proof in proved]
            worst = max(proof.max_rel for proof in proofs)
            rows.append(row(entry.name, level, proofs, worst))
            goals.append(
                goal(f"{entry.name}: {len(cuts)} cuts, {level} optimisations", proofs, limit)
            )
            data.append({"model": entry.name, "optimisation": level, "worst_relative": worst})
            if not goals[-1].met:
                inside = [proof for at, proof in proved if at.content[0].name in folded]
                outside = [proof for at, proof in proved if at.content[0].name not in folded]
                goals.append(goal(f"… the {len(outside)} not between Conv and BN", outside, limit))
                goals.append(goal(f"… the {len(inside)} between Conv and BN", inside, 1e-5))
    columns = ("network", "optimisations", "cuts", "bit-equal", "worst relative", "runs each")
    return Findings(
        title="tail(head(x)) = model(x) for every legal cut",
        goals=goals,
        tables=[Table(title="By network", columns=columns, rows=rows)],
        notes=(
            "between a Conv and its BatchNormalization the engine cannot fold one into the other "
            "when they are cut apart, and folding rounds the weights anew; without optimisations "
            "these cuts are bit for bit too",
            "onnxruntime, one thread; random inputs, raw tensors crossing",
            "relative: the largest difference over the largest output",
        ),
        data={"proofs": data},
    )


def goal(what: str, proofs: list[Proof], limit: float) -> Goal:
    worst = max(proof.max_rel for proof in proofs)
    return Goal(
        what=what,
        goal="bit for bit" if limit == 0 else f"within {limit:g} relative",
        measured="bit for bit" if equal(proofs) else f"{worst:.1e}",
        met=equal(proofs) if limit == 0 else worst <= limit,
    )


def folded_across(model: Model) -> set[str]:
    """Tensors that a Conv gives and a BatchNormalization alone reads."""
    profile = count(model)
    ops = {node.name: node.op for node in profile.nodes}
    return {
        edge.name
        for edge in profile.edges
        if edge.producer is not None
        and ops[edge.producer] == "Conv"
        and [ops[name] for name in edge.consumers] == ["BatchNormalization"]
    }


def equal(proofs: list[Proof]) -> bool:
    return all(proof.bit_equal for proof in proofs)


def row(name: str, level: Optimisation, proofs: list[Proof], worst: float) -> tuple[str, ...]:
    same = sum(proof.bit_equal for proof in proofs)
    runs = str(proofs[0].runs)
    return (name, level.value, str(len(proofs)), str(same), f"{worst:.1e}", runs)


if __name__ == "__main__":
    sys.exit(main(measure, packages=("onnxruntime", "onnx-ir", "numpy")))
