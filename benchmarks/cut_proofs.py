"""Are the two halves equal to the whole, for every legal cut of the networks in the zoo?

Every cut through one content tensor, and 50 through two or three, chosen by seed; of the networks
trimmed, so that the engine finds little left to fuse across a cut.

Run: python benchmarks/cut_proofs.py [NAME ...] [--untrimmed] [--json FILE] [--md FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.engines import Optimisation
from edgewise.errors import EdgewiseError
from edgewise.graphs import (
    Cut,
    Model,
    Proof,
    find_cuts,
    find_frontiers,
    load,
    prove_cuts,
    random_feeds,
    trim,
)
from edgewise.profiling import count
from edgewise.tensors import Array
from edgewise.zoo import entries, get
from support.report import Findings, Goal, Table, main

LIMITS = {Optimisation.EXTENDED: 0.0, Optimisation.ALL: 1e-5}
FRONTIERS = 50
HEAVY_MACS = 5_000_000_000  # from here on, one input instead of two
AXIS = 16  # the size of symbolic axes other than the batch
COLUMNS = ("network", "cuts", "optimisations", "proved", "bit-equal", "worst relative", "runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network with the inputs to try it with, and its cuts by kind."""

    name: str
    model: Model
    feeds: Sequence[dict[str, Array]]
    cuts: dict[str, Sequence[Cut]]


def measure(args: argparse.Namespace) -> Findings:
    rows: list[tuple[str, ...]] = []
    goals: list[Goal] = []
    data = []
    for name in args.names or [entry.name for entry in entries()]:
        subject = prepare(name, untrimmed=args.untrimmed)
        for kind, level, proofs in prove_all(subject):
            rows.append(row(name, kind, level, proofs))
            goals.extend(judge(subject, kind, level, proofs))
            worst = max((proof.max_rel for _, proof in proofs), default=0.0)
            data.append(
                {"model": name, "cuts": kind, "proved": len(proofs), "optimisation": level}
                | {"worst_relative": worst}
            )
    return Findings(
        title="tail(head(x)) = model(x) for every legal cut",
        goals=goals,
        tables=[Table(title="By network", columns=COLUMNS, rows=rows)],
        notes=(
            "single: every cut through one content tensor; several: "
            f"{FRONTIERS} through two or three, chosen by seed 0",
            "what the engine fuses (a residual sum with its LayerNormalization, say) it "
            "cannot where a cut parts it, and then rounds otherwise; without optimisations these "
            "cuts are bit for bit too",
            "onnxruntime, one thread; random inputs, raw tensors crossing; symbolic axes other "
            f"than the batch at {AXIS}",
            "relative: the largest difference over the largest output",
        ),
        data={"proofs": data},
    )


def prepare(name: str, *, untrimmed: bool) -> Subject:
    model = load(get(name))
    if not untrimmed:
        model = trim(model, [feed(model, 0)]).model
    singles, frontiers = find_cuts(model), find_frontiers(model).cuts
    chosen = np.random.default_rng(0).permutation(len(frontiers))[:FRONTIERS]
    try:
        heavy = count(model, axes=sizes(model)).macs >= HEAVY_MACS
    except EdgewiseError:
        heavy = False
    return Subject(
        name=name,
        model=model,
        feeds=[feed(model, seed) for seed in range(1 if heavy else 2)],
        cuts={"single": singles, "several": [frontiers[index] for index in sorted(chosen)]},
    )


def feed(model: Model, seed: int) -> dict[str, Array]:
    return random_feeds(model, np.random.default_rng(seed), axes=sizes(model))


def sizes(model: Model) -> dict[str, int]:
    loose = {dim for spec in model.inputs for dim in spec.shape[1:] if isinstance(dim, str)}
    return dict.fromkeys(loose, AXIS)


def prove_all(
    subject: Subject,
) -> Iterator[tuple[str, Optimisation, list[tuple[Cut, Proof]]]]:
    for kind, cuts in subject.cuts.items():
        for level in LIMITS:
            proofs = []
            proving = prove_cuts(subject.model, cuts, subject.feeds, optimisation=level)
            for done, pair in enumerate(proving if cuts else (), start=1):
                proofs.append(pair)
                if done % 10 == 0 or done == len(cuts):
                    print(f"{subject.name}: {kind}, {level}: {done} of {len(cuts)}",
                          file=sys.stderr, flush=True)  # fmt: skip
            yield kind, level, proofs


def judge(
    subject: Subject, kind: str, level: Optimisation, proofs: Sequence[tuple[Cut, Proof]]
) -> Iterator[Goal]:
    what = f"{subject.name}: {len(proofs)} {kind} cuts, {level} optimisations"
    if not proofs:
        yield Goal(what=what, goal="none is wrong", measured="none is offered", met=True)
        return
    parted = [at for at, proof in proofs if not proof.bit_equal]
    if LIMITS[level] > 0 or not parted:
        yield goal(what, [proof for _, proof in proofs], LIMITS[level])
        return
    worst = max(proof.max_rel for _, proof in proofs)
    yield Goal(
        what=what,
        goal="bit for bit",
        measured=f"{len(proofs) - len(parted)} of {len(proofs)}; the others within {worst:.1e}",
        met=False,
    )
    # Where the engine fuses operators on both sides of a cut, halves round otherwise: the graphs
    # themselves are equal when nothing is fused at all.
    plain = prove_cuts(subject.model, parted, subject.feeds, optimisation=Optimisation.NONE)
    yield goal(f"… those {len(parted)} without optimisations", [p for _, p in plain], 0.0)


def goal(what: str, proofs: Sequence[Proof], limit: float) -> Goal:
    worst = max(proof.max_rel for proof in proofs)
    return Goal(
        what=what,
        goal="bit for bit" if limit == 0 else f"within {limit:g} relative",
        measured="bit for bit" if equal(proofs) else f"{worst:.1e}",
        met=equal(proofs) if limit == 0 else worst <= limit,
    )


def equal(proofs: Sequence[Proof]) -> bool:
    return all(proof.bit_equal for proof in proofs)


def row(
    name: str, kind: str, level: Optimisation, proofs: Sequence[tuple[Cut, Proof]]
) -> tuple[str, ...]:
    worst = max((proof.max_rel for _, proof in proofs), default=0.0)
    same = sum(proof.bit_equal for _, proof in proofs)
    runs = str(proofs[0][1].runs) if proofs else "0"
    return (name, kind, level.value, str(len(proofs)), str(same), f"{worst:.1e}", runs)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", help="networks of the zoo; all unless given")
    parser.add_argument("--untrimmed", action="store_true", help="cut the networks as they ship")


if __name__ == "__main__":
    sys.exit(main(measure, packages=("onnxruntime", "onnx-ir", "numpy"), configure=configure))
