"""Predicted beside measured for every way of answering of EfficientNet-Lite0, on three links.

A real server process, a real proxy process for each link, the device emulated by a stated
factor. Run: python benchmarks/lite0_links.py [--json FILE] [--md FILE] [--below BYTES]
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
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
from edgewise.preparation import Pixels, read_image_preparation
from edgewise.shrinking import quantize
from edgewise.specs import LinkSpec
from edgewise.trials import Trial, measure_routes
from edgewise.units import format_bytes, format_duration
from edgewise.zoo import get
from support.report import Findings, Goal, Table, main

DEVICE = "slow-phone"
# Every candidate is run once on each link; then the best of that sweep, and whatever was chosen,
# are run again, in turn: the least of many single runs is partly luck.
LINKS = ("wifi", "lte", "3g")
FINALISTS = 8
FINAL_RUNS = 9
GOAL = 0.10
ROUTES_PER_BUNDLE = 16


def measure(args: argparse.Namespace) -> Findings:
    model = load(get("efficientnet-lite0"))
    preparation = read_image_preparation(model.metadata[PREPARATION_KEY])
    split = load_examples(demo_photos()[0].parent, preparation).split(calibrate=0.27, select=0.33)
    samples = take_samples(split)
    int8, _ = quantize(model, [sample.feeds for sample in samples.calibrate])
    variants = {"full": model, "int8": int8}
    study = begin_study(variants, samples, preparation=preparation)
    device, cloud = load_device(DEVICE), load_cloud("this-machine")
    links = [load_link(name) for name in LINKS]
    limits = (Limits(), Limits(raw_input_stays=True))
    plans = study.plans(
        [
            (Target(device=device, link=link, cloud=cloud), limit)
            for link in links
            for limit in limits
        ]
    )
    runner = Runner(variants=variants, samples=samples, slowdown=device.slowdown)
    swept = runner.sweep(plans[0].candidates, links, below=args.below)
    finals = [trial for link in links for trial in runner.final(link, plans, swept)]
    return find(plans, swept, finals, args)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs candidates for real."""

    variants: dict[str, Model]
    samples: Samples
    slowdown: float

    @property
    def pixels(self) -> list[Pixels]:
        return [s.pixels for s in self.samples.report if s.pixels is not None]

    def sweep(
        self, candidates: Sequence[Candidate], links: Sequence[LinkSpec], *, below: float
    ) -> list[Trial]:
        """Each candidate once on each link. Transfers mostly wait, so the slowest link has a
        process of its own beside the others."""
        wanted = [c for c in candidates if worth_running(c, below=below)]
        with (
            tempfile.TemporaryDirectory() as folder,
            ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool,
        ):
            bundles = [
                build_bundle(Path(folder) / str(at), group, self.variants, self.samples).path
                for at, group in enumerate(batched(wanted, ROUTES_PER_BUNDLE))
            ]
            jobs = [
                pool.submit(run_bundles, bundles, some, self.pixels, self.slowdown)
                for some in (links[-1:], links[:-1])
            ]
            return [trial for job in jobs for trial in job.result()]

    def final(
        self, link: LinkSpec, plans: Sequence[Plan], swept: Sequence[Trial]
    ) -> tuple[Trial, ...]:
        """The best of the sweep and the chosen ones, several times in turn."""
        names: list[str] = []
        for plan in (p for p in plans if p.target.link == link):
            here = [t for t in swept if t.link == link.name and may_be_chosen(t, plan)]
            names += [t.route for t in sorted(here, key=seconds)[:FINALISTS]]
            names.append(plan.chosen.sketch.name)
        chosen = [c for c in plans[0].candidates if c.sketch.name in names]
        with tempfile.TemporaryDirectory() as folder:
            bundle = build_bundle(Path(folder) / "b", chosen, self.variants, self.samples)
            return measure_routes(
                bundle, [link], self.pixels, slowdown=self.slowdown, repeats=FINAL_RUNS
            )


def batched(items: Sequence[Candidate], size: int) -> list[Sequence[Candidate]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def run_bundles(
    bundles: Sequence[Path], links: Sequence[LinkSpec], pixels: list[Pixels], slowdown: float
) -> list[Trial]:
    trials: list[Trial] = []
    for number, bundle in enumerate(bundles):
        trials += measure_routes(bundle, links, pixels, slowdown=slowdown, repeats=1)
        names = ", ".join(link.name for link in links)
        print(f"bundle {number + 1} of {len(bundles)} on {names}", file=sys.stderr)
    return trials


def worth_running(candidate: Candidate, *, below: float) -> bool:
    return candidate.payload_bytes < below


def find(
    plans: Sequence[Plan],
    swept: Sequence[Trial],
    finals: Sequence[Trial],
    args: argparse.Namespace,
) -> Findings:
    goals, rows = [], []
    for plan in plans:
        link = plan.target.link.name
        allowed = [t for t in finals if t.link == link and may_be_chosen(t, plan)]
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
        for t in sorted(swept, key=lambda t: (LINKS.index(t.link), seconds(t)))
    ]
    return Findings(
        title="EfficientNet-Lite0 on a slow device: predicted beside measured",
        goals=goals,
        tables=[
            Table(title="What was chosen", columns=columns, rows=rows),
            Table(
                title="Errors of the prediction",
                columns=("link", "candidates", "median error", "90th percentile", "worst"),
                rows=[errors(link, swept) for link in LINKS],
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
            "every candidate ran once on each link, after a dropped run on an unshaped one; the "
            f"best {FINALISTS} of that and the chosen ones ran again, {FINAL_RUNS} times in turn, "
            "and these medians are compared",
            "the photo is opened, cropped and resized before the clock starts, on every route",
            "the photos that ran are those that the candidates were judged on, and JPEG and WebP "
            "sizes were predicted from; none of them calibrated INT8 or its payload ranges",
            "WebP is encoded at its default effort (method 4), which a slow device pays for; a "
            "quicker effort might serve WebP better",
            "among the routes that a plan may choose are only those that decide as the full "
            "network on at least 95 % of the examples that judged them",
            *(left_out(args.below)),
        ),
        data={
            "sweep": [as_json(t) for t in swept],
            "finals": [as_json(t) for t in finals],
        },
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


def left_out(below: float) -> list[str]:
    return [] if below == math.inf else [f"payloads of {below:g} bytes and more were left out"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--below", type=float, default=math.inf, metavar="BYTES", help="leave larger payloads out"
    )


if __name__ == "__main__":
    sys.exit(main(measure, packages=("onnxruntime", "numpy", "pillow"), configure=configure))
