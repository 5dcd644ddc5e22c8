"""``edgewise plan``: what runs where, on which link, and why."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.catalog import load_cloud, load_device, load_link
from edgewise.cli.console import Commands, add_json, console, note, print_json, progress_bar
from edgewise.cli.models import (
    add_model,
    open_model,
    pictures_of,
    preparation_of,
    reads_text,
    require_studio,
)
from edgewise.cli.options import (
    add_axes,
    add_html,
    add_limits,
    bundle_version,
    check_bundle_folder,
)
from edgewise.errors import BadInput, LimitNotMet
from edgewise.specs import CloudSpec, DeviceSpec, LinkSpec

if TYPE_CHECKING:
    from edgewise.graphs import Model
    from edgewise.planning import Plan, Samples
    from edgewise.reporting import Sheet
    from edgewise.shrinking import Variant
    from edgewise.trials import Trial

_FEWEST_EXAMPLES = 6
_PROVING_EXAMPLES = 2  # each change of the network is run on these
_BASE = "this-machine"


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("plan", help="what runs where, and why")
    add_model(parser, optional=True)
    parser.add_argument("--profile", type=Path, metavar="FILE", help="plan from given times")
    parser.add_argument("--device", help=f"name or TOML file ({_BASE})")
    parser.add_argument(
        "--link",
        action="append",
        default=[],
        help="name, TOML file, or up=5.85Mbit/s,rtt=50ms; repeat to plan for several (lte)",
    )
    parser.add_argument("--cloud", help=f"name or TOML file ({_BASE})")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="examples: photos, .npz or a CSV of texts"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="BUNDLE", help="write a bundle")
    parser.add_argument(
        "--version",
        type=bundle_version,
        metavar="N",
        help="of the bundle, where a server has several of its name (1)",
    )
    parser.add_argument("--int8", action="store_true", help="consider onnxruntime's INT8 too")
    parser.add_argument("--measure", action="store_true", help="try the chosen routes for real")
    add_axes(parser, otherwise="must be stated")
    add_limits(parser)
    add_html(parser)
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
    from edgewise.reporting import given_json, given_table

    _refuse_with_profile(args)
    plans = plan_given(read_profile(args.profile), [load_link(text) for text in args.link])
    _write_page(args, f"Plans from {args.profile.name}", [given_table(plans)])
    if args.json:
        print_json(given_json(plans))
    else:
        _print_sheets([given_table(plans)])
    slowest_s = max(plan.chosen.total_s for plan in plans)
    if args.max_latency is not None and slowest_s > args.max_latency:
        raise LimitNotMet(
            f"the best plan takes {slowest_s:g} s, over the limit of {args.max_latency:g} s"
        )
    return 0


def _refuse_with_profile(args: argparse.Namespace) -> None:
    """Given times say nothing of these; leaving them out silently would mislead."""
    given = {
        "--device": args.device is not None,
        "--cloud": args.cloud is not None,
        "--data": args.data is not None,
        "-o": args.output is not None,
        "--version": args.version is not None,
        "--int8": args.int8,
        "--measure": args.measure,
        "--raw-input-stays": args.raw_input_stays,
        "--axis": bool(args.axis),
    }
    found = [option for option, is_given in given.items() if is_given]
    if found:
        raise BadInput(
            expected="only --link beside --profile",
            found=", ".join(found),
            remedy="leave it out, or give a MODEL instead of the profile",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Everything that names and paths of the command line stand for, read before any work."""

    device: DeviceSpec
    cloud: CloudSpec
    links: tuple[LinkSpec, ...]


def _find_places(args: argparse.Namespace) -> _Places:
    if args.output is not None:
        check_bundle_folder(args.output)
    return _Places(
        device=load_device(args.device or _BASE),
        cloud=load_cloud(args.cloud or _BASE),
        links=tuple(load_link(text) for text in args.link or ["lte"]),
    )


def _plan_model(args: argparse.Namespace) -> int:
    from edgewise.graphs import fix_axes
    from edgewise.planning import build_bundle, left_out, routes_of

    places = _find_places(args)
    model = open_model(args.model)
    if args.axis:
        model = fix_axes(model, dict(args.axis))
    _refuse_open_axes(model)
    samples = read_samples(model, args.data)
    model = trimmed(model, samples)
    variants = {"full": model}
    if args.int8:
        variant = int8_variant(model, samples, args.min_agreement)
        if variant.rejected is None:
            variants["int8"] = variant.model
        note(describe_variant(variant))
    plans = _make_plans(args, places, variants, samples)
    trials: Sequence[Trial] = ()
    with _bundle_folder(args) as folder:
        if folder is not None:
            build_bundle(folder, routes_of(plans), variants, samples, version=args.version or 1)
            note_left_out(left_out(plans))
        if folder is not None and args.measure:
            trials = _measure(folder, places, samples)
    _show(args, plans, trials)
    return 0


def _refuse_open_axes(model: Model) -> None:
    """Before examples are read, which might fit no single size."""
    from edgewise.profiling import open_axes

    _, others = open_axes(model.inputs)
    if others:
        sizes = " ".join(f"--axis {shlex.quote(name)}=SIZE" for name in others)
        raise BadInput(
            expected="a size for every axis but the batch",
            found=f"the open axes {', '.join(map(repr, others))}"
            if len(others) > 1
            else f"the open axis {others[0]!r}",
            remedy=f"add {sizes}, and {_sized_examples(model)}",
        )


def _sized_examples(model: Model) -> str:
    if reads_text(model):
        return "texts are padded or cut to that size"
    return "give examples of that size as .npz"


def note_left_out(names: Sequence[str]) -> None:
    """Say which chosen routes a bundle has no room for."""
    if names:
        note(f"left out of the bundle, which holds five routes: {', '.join(names)}")


def read_samples(model: Model, data: Path | None) -> Samples:
    """Examples for ranges and for judging, from ``--data``."""
    from edgewise.examples import load_examples
    from edgewise.planning import take_samples
    from edgewise.preparation import TOKENIZER_KEY

    if data is None:
        raise BadInput(
            expected="examples to calibrate and judge with",
            found="no --data",
            remedy=_data_words(model),
        )
    examples = load_examples(
        data,
        preparation_of(model),
        inputs=model.inputs,
        tokenizer=model.metadata.get(TOKENIZER_KEY),
    )
    if len(examples) < _FEWEST_EXAMPLES:
        raise BadInput(
            expected=f"at least {_FEWEST_EXAMPLES} examples in {data}",
            found=str(len(examples)),
            remedy="add some: a part calibrates, another part judges",
        )
    return take_samples(examples.split(calibrate=0.35, select=0.35))


def _data_words(model: Model) -> str:
    if pictures_of(model) is not None:
        return "pass --data PHOTOS, a folder of photos"
    if reads_text(model):
        return "pass --data TEXTS.csv, a table with a column of texts"
    return "pass --data EXAMPLES.npz, a file of tensors"


def trimmed(model: Model, samples: Samples) -> Model:
    """The network without what only training needed, proved on examples."""
    from edgewise.graphs import trim
    from edgewise.reporting import trim_summary

    with progress_bar() as progress:
        result = trim(
            model,
            [sample.feeds for sample in samples.calibrate[:_PROVING_EXAMPLES]],
            progress=progress,
        )
    note(f"trim: {trim_summary(result.step)}")
    return result.model


def int8_variant(model: Model, samples: Samples, min_agreement: float) -> Variant:
    """Onnxruntime's INT8, judged on examples that did not calibrate it."""
    from edgewise.shrinking import judge, quantize

    with progress_bar() as progress:
        progress("quantising and judging INT8", 0, 2)
        int8, step = quantize(model, [sample.feeds for sample in samples.calibrate])
        progress("quantising and judging INT8", 1, 2)
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
    args: argparse.Namespace, places: _Places, variants: Mapping[str, Model], samples: Samples
) -> tuple[Plan, ...]:
    from edgewise.planning import Limits, Settings, Target, plan

    limits = Limits(
        min_agreement=args.min_agreement,
        max_latency_s=args.max_latency,
        raw_input_stays=args.raw_input_stays,
    )
    with progress_bar() as progress:
        return plan(
            variants,
            samples,
            [Target(device=places.device, link=link, cloud=places.cloud) for link in places.links],
            preparation=pictures_of(variants["full"]),
            settings=Settings(limits=limits),
            progress=progress,
        )


@contextlib.contextmanager
def _bundle_folder(args: argparse.Namespace) -> Iterator[Path | None]:
    """Where the bundle goes: what is only measured is not kept."""
    if args.output is not None or not args.measure:
        yield args.output
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "bundle"


def _measure(bundle: Path, places: _Places, samples: Samples) -> tuple[Trial, ...]:
    from edgewise.trials import measure_routes

    unseen = samples.report or samples.select
    inputs = [s.feeds if s.pixels is None else s.pixels for s in unseen]
    with progress_bar() as progress:
        return measure_routes(
            bundle,
            places.links,
            inputs,
            slowdown=places.device.slowdown,
            progress=progress,
        )


def _show(args: argparse.Namespace, plans: Sequence[Plan], trials: Sequence[Trial]) -> None:
    from edgewise.reporting import (
        candidates_table,
        plans_json,
        plans_table,
        trial_json,
        trials_table,
    )

    measured = [trials_table(trials)] if trials else []
    sheets = [*map(candidates_table, plans), plans_table(plans), *measured]
    _write_page(args, f"What runs where: {args.model}", sheets)
    if args.json:
        print_json({**plans_json(plans), "trials": [trial_json(trial) for trial in trials]})
    else:
        _print_sheets(sheets)
    if args.output is not None:
        note(f"wrote {args.output}\nnext: edgewise serve {args.output}")
    else:
        note("next: the same command with -o BUNDLE writes what runs")


def _print_sheets(sheets: Sequence[Sheet]) -> None:
    from edgewise.reporting import terminal_table

    screen = console()
    for sheet in sheets:
        screen.print(terminal_table(sheet))


def _write_page(args: argparse.Namespace, title: str, sheets: Sequence[Sheet]) -> None:
    from edgewise.reporting import write_report

    if args.html is not None:
        write_report(args.html, title=title, sheets=sheets)
        note(f"wrote {args.html}")
