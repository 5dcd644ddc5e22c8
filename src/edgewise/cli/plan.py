"""``edgewise plan``: what runs where, on which link, and why."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.catalog import load_cloud, load_device, load_link
from edgewise.cli.console import Commands, add_json, console, note, print_json, progress_bar
from edgewise.cli.models import add_model, open_model, preparation_of, require_studio
from edgewise.cli.options import add_limits
from edgewise.errors import BadInput, LimitNotMet

if TYPE_CHECKING:
    from edgewise.graphs import Model
    from edgewise.planning import Plan, Samples
    from edgewise.shrinking import Variant


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("plan", help="what runs where, and why")
    add_model(parser, optional=True)
    parser.add_argument("--profile", type=Path, metavar="FILE", help="plan from given times")
    parser.add_argument("--device", default="this-machine", help="name or TOML file")
    parser.add_argument(
        "--link",
        action="append",
        default=[],
        help="name, TOML file, or up=5.85Mbit/s,rtt=50ms; repeat to plan for several",
    )
    parser.add_argument("--cloud", default="this-machine", help="name or TOML file")
    parser.add_argument("--data", type=Path, metavar="DIR", help="examples: photos or .npz")
    parser.add_argument("-o", "--output", type=Path, metavar="BUNDLE", help="write a bundle")
    parser.add_argument("--int8", action="store_true", help="consider onnxruntime's INT8 too")
    parser.add_argument("--measure", action="store_true", help="try the chosen routes for real")
    add_limits(parser)
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Plan from a profile, or from a model and examples."""
    if (args.profile is None) == (args.model is None):
        raise BadInput(
            expected="either MODEL or --profile FILE",
            found="both" if args.model else "neither",
            remedy="edgewise plan MODEL --link lte --data PHOTOS, or "
            "edgewise plan --profile FILE --link up=5.85Mbit/s,rtt=0",
        )
    require_studio()
    return _plan_given(args) if args.profile is not None else _plan_model(args)


def _plan_given(args: argparse.Namespace) -> int:
    from edgewise.planning import plan_given, read_profile
    from edgewise.records import write_record
    from edgewise.reporting import given_table

    plans = plan_given(read_profile(args.profile), [load_link(text) for text in args.link])
    if args.json:
        every = [write_record(plan) for plan in plans]
        print_json({**every[0], "plans": every})
        return 0
    console().print(given_table(plans))
    return 0


def _plan_model(args: argparse.Namespace) -> int:
    from edgewise.planning import build_bundle, routes_of

    model = open_model(args.model)
    samples = read_samples(model, args.data)
    variants = {"full": model}
    if args.int8:
        variant = int8_variant(model, samples, args.min_agreement)
        if variant.rejected is None:
            variants["int8"] = variant.model
        note(describe_variant(variant))
    plans = _make_plans(args, variants, samples)
    _show(args, plans)
    if args.output is not None:
        bundle = build_bundle(args.output, routes_of(plans), variants, samples)
        if args.measure:
            _measure(args, bundle.path, samples)
        note(f"wrote {bundle.path}\nnext: edgewise serve {bundle.path}")
    return 0


def read_samples(model: Model, data: Path | None) -> Samples:
    """Examples for ranges and for judging, from ``--data``."""
    from edgewise.examples import load_examples
    from edgewise.planning import take_samples

    if data is None:
        raise BadInput(
            expected="examples to calibrate and judge with",
            found="no --data",
            remedy="pass --data DIR, a folder of photos or an .npz file",
        )
    examples = load_examples(data, preparation_of(model))
    if len(examples) < _FEWEST_EXAMPLES:
        raise BadInput(
            expected=f"at least {_FEWEST_EXAMPLES} examples in {data}",
            found=str(len(examples)),
            remedy="add some: a part calibrates, another part judges",
        )
    return take_samples(examples.split(calibrate=0.35, select=0.35))


_FEWEST_EXAMPLES = 6


def int8_variant(model: Model, samples: Samples, min_agreement: float) -> Variant:
    """Onnxruntime's INT8, judged on examples that did not calibrate it."""
    from edgewise.shrinking import judge, quantize

    int8, step = quantize(model, [sample.feeds for sample in samples.calibrate])
    select = [sample.feeds for sample in samples.select]
    return judge(model, int8, [step], select, min_agreement=min_agreement)


def describe_variant(variant: Variant) -> str:
    """What became of a variant, in one line."""
    measured = variant.measured
    facts = (
        f"{measured.bytes / measured.parent_bytes:.2f}× the size, {measured.speedup:.2f}× as "
        f"fast here, decides alike on {variant.agreement}"
    )
    verdict = "kept" if variant.rejected is None else f"not used: {variant.rejected}"
    return f"INT8 by onnxruntime's recommended setting: {facts}; {verdict}"


def _make_plans(
    args: argparse.Namespace, variants: dict[str, Model], samples: Samples
) -> tuple[Plan, ...]:
    from edgewise.planning import Limits, Settings, Target, plan

    limits = Limits(
        min_agreement=args.min_agreement,
        max_latency_s=args.max_latency,
        raw_input_stays=args.raw_input_stays,
    )
    device, cloud = load_device(args.device), load_cloud(args.cloud)
    targets = [
        Target(device=device, link=load_link(text), cloud=cloud) for text in args.link or ["lte"]
    ]
    with progress_bar() as progress:
        plans = plan(
            variants,
            samples,
            targets,
            preparation=preparation_of(variants["full"]),
            settings=Settings(limits=limits),
            progress=progress,
        )
    if not plans:
        raise LimitNotMet("no route keeps the limits")
    return plans


def _show(args: argparse.Namespace, plans: Sequence[Plan]) -> None:
    from edgewise.reporting import candidates_table, plans_json, plans_table

    if args.json:
        print_json(plans_json(plans))
        return
    screen = console()
    for one in plans:
        screen.print(candidates_table(one))
    screen.print(plans_table(plans))


def _measure(args: argparse.Namespace, bundle: Path, samples: Samples) -> None:
    from edgewise.reporting import trials_table
    from edgewise.trials import measure_routes

    inputs = [s.feeds if s.pixels is None else s.pixels for s in samples.select]
    with progress_bar() as progress:
        trials = measure_routes(
            bundle,
            [load_link(text) for text in args.link or ["lte"]],
            inputs,
            slowdown=load_device(args.device).slowdown,
            progress=progress,
        )
    if not args.json:
        console().print(trials_table(trials))
