"""Predicted beside measured for every way of answering of EfficientNet-Lite0, on three links.

A real server process, a real proxy process for each link, the device emulated by a stated
factor. Run: python benchmarks/lite0_links.py [--json FILE] [--md FILE] [--quick]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgewise.catalog import load_cloud, load_device, load_link
from edgewise.examples import demo_photos, load_examples
from edgewise.graphs import PREPARATION_KEY, Model, load
from edgewise.planning import (
    Candidate,
    Limits,
    Plan,
    Samples,
    Target,
    begin_study,
    build_bundle,
    take_samples,
)
from edgewise.preparation import read_preparation
from edgewise.shrinking import quantize
from edgewise.specs import LinkSpec
from edgewise.trials import Trial, measure_routes
from edgewise.units import format_bytes, format_duration
from edgewise.zoo import get
from support.report import Findings, Goal, Table, main

DEVICE = "slow-phone"
# How often each candidate is run: transfers over 3G take minutes, and repeat well.
REPEATS = {"wifi": 5, "lte": 2, "3g": 1}
GOAL = 0.10
ROUTES_PER_BUNDLE = 16


def measure(args: argparse.Namespace) -> Findings:
    model = load(get("efficientnet-lite0"))
    preparation = read_preparation(model.metadata[PREPARATION_KEY])
    split = load_examples(demo_photos()[0].parent, preparation).split(calibrate=0.27, select=0.33)
    samples = take_samples(split)
    int8, _ = quantize(model, [sample.feeds for sample in samples.calibrate])
    variants = {"full": model, "int8": int8}
    study = begin_study(variants, samples, preparation=preparation)
    device, cloud = load_device(DEVICE), load_cloud("this-machine")
    links = [load_link(name) for name in REPEATS]
    limits = (Limits(), Limits(raw_input_stays=True))
    plans = study.plans(
        [
            (Target(device=device, link=link, cloud=cloud), limit)
            for link in links
            for limit in limits
        ]
    )
    trials = list(run_all(plans, links, variants, samples, quick=args.quick))
    return find(plans, trials, args)


def run_all(
    plans: Sequence[Plan],
    links: Sequence[LinkSpec],
    variants: dict[str, Model],
    samples: Samples,
    *,
    quick: bool,
) -> Iterator[Trial]:
    """Every candidate on every link, a bundle of some routes at a time."""
    candidates = [c for c in plans[0].candidates if worth_running(c, quick=quick)]
    pixels = [s.pixels for s in samples.select if s.pixels is not None]
    groups = [
        candidates[at : at + ROUTES_PER_BUNDLE]
        for at in range(0, len(candidates), ROUTES_PER_BUNDLE)
    ]
    with tempfile.TemporaryDirectory() as folder:
        for number, group in enumerate(groups):
            bundle = build_bundle(Path(folder) / "bundle", group, variants, samples)
            for link in links:
                print(f"group {number + 1} of {len(groups)}, {link.name}", file=sys.stderr)
                yield from measure_routes(
                    bundle,
                    [link],
                    pixels,
                    slowdown=plans[0].target.device.slowdown,
                    repeats=REPEATS[link.name],
                )


def worth_running(candidate: Candidate, *, quick: bool) -> bool:
    return not quick or candidate.payload_bytes < 70_000


def find(plans: Sequence[Plan], trials: Sequence[Trial], args: argparse.Namespace) -> Findings:
    goals, rows = [], []
    for plan in plans:
        link = plan.target.link.name
        allowed = [t for t in trials if t.link == link and may_be_chosen(t, plan)]
        best = min(allowed, key=seconds)
        chosen = next(t for t in allowed if t.route == plan.chosen.sketch.name)
        regret = seconds(chosen) / seconds(best) - 1
        limit = "raw input stays" if plan.limits.raw_input_stays else "no limit"
        goals.append(
            Goal(
                what=f"chosen route against the best of the sweep, {link}, {limit}",
                goal=f"within {GOAL:.0%}",
                measured=f"{regret:+.1%}",
                met=regret <= GOAL,
            )
        )
        rows.append((link, limit, *describe(chosen), *describe(best)))
    columns = ("link", "limit", "chosen", "predicted", "measured", "best", "predicted", "measured")
    every = [
        (t.link, *describe(t), f"{t.error:+.1%}", format_bytes(t.up_bytes))
        for t in sorted(trials, key=lambda t: (list(REPEATS).index(t.link), seconds(t)))
    ]
    return Findings(
        title="EfficientNet-Lite0 on a slow device: predicted beside measured",
        goals=goals,
        tables=[
            Table(title="What was chosen", columns=columns, rows=rows),
            Table(
                title="Errors of the prediction",
                columns=("link", "candidates", "median |error|", "90th percentile", "worst"),
                rows=[errors(link, trials) for link in REPEATS],
            ),
            Table(
                title="Every candidate",
                columns=("link", "route", "predicted", "measured", "error", "sent"),
                rows=every,
            ),
        ],
        notes=(
            f"device: every run stretched to {plans[0].target.device.slowdown:g} times its time "
            "on this machine, which stretches this machine's noise as well; cloud: this machine",
            "links: a proxy process each, " + ", ".join(map(describe_link, plans[::2])),
            f"counted runs of each candidate: {REPEATS}; one run before, unshaped, was dropped",
            "the photo is opened, cropped and resized before the clock starts, on every route",
            "among the routes that a plan may choose are only those that decide as the full "
            "network on at least 95 % of the examples that judged them",
            *(["quick: payloads of 70 kB and more were left out"] if args.quick else []),
        ),
        data={"trials": [as_json(t) for t in trials]},
    )


def may_be_chosen(trial: Trial, plan: Plan) -> bool:
    candidate = next(c for c in plan.candidates if c.sketch.name == trial.route)
    quality = candidate.route.quality
    faithful = quality is None or quality.value >= plan.limits.min_agreement
    return faithful and not (plan.limits.raw_input_stays and trial.kind == "cloud")


def seconds(trial: Trial) -> float:
    return trial.measured.mid.latency_s


def describe(trial: Trial) -> tuple[str, str, str]:
    return (
        trial.route,
        format_duration(trial.predicted.mid.latency_s),
        format_duration(seconds(trial)),
    )


def describe_link(plan: Plan) -> str:
    link = plan.target.link
    rates = [rate * 8 / 1e6 for rate in (link.up_bytes_per_s, link.down_bytes_per_s)]
    return f"{link.name} {rates[0]:g} up / {rates[1]:g} down Mbit/s, {link.rtt_s * 1e3:g} ms"


def errors(link: str, trials: Sequence[Trial]) -> tuple[str, ...]:
    found = sorted(abs(t.error) for t in trials if t.link == link)
    tenth = found[int(len(found) * 0.9)]
    return (
        link,
        str(len(found)),
        f"{statistics.median(found):.1%}",
        f"{tenth:.1%}",
        f"{found[-1]:.1%}",
    )


def as_json(trial: Trial) -> dict[str, object]:
    return {
        "link": trial.link,
        "route": trial.route,
        "predicted_s": trial.predicted.mid.latency_s,
        "measured_s": seconds(trial),
        "measured_low_s": trial.measured.low.latency_s,
        "measured_high_s": trial.measured.high.latency_s,
        "up_bytes": trial.up_bytes,
        "runs": trial.runs,
    }


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="only payloads below 70 kB")


if __name__ == "__main__":
    sys.exit(main(measure, packages=("onnxruntime", "numpy", "pillow"), configure=configure))
