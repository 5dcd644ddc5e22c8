"""``edgewise run``: the device half on files, folders and streams."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewise.bundle import Bundle, open_bundle
from edgewise.catalog import load_link
from edgewise.cli.answers import answer_json, error_about, top_words
from edgewise.cli.console import Commands, add_json, note, print_json, printable
from edgewise.cli.credentials import add_credentials, read_api_key
from edgewise.cli.options import duration
from edgewise.cli.reports import read_reports, report_lines, reports_json
from edgewise.cli.streams import add_stream_options, check_stream_options, run_stream
from edgewise.cli.texts import TEXT_FILES, named_texts, refuse_photo, texts_in
from edgewise.cli.traces import add_traces, open_traces
from edgewise.errors import BadInput, LinkFailed
from edgewise.tensors import Array
from edgewise.units import format_bytes, format_duration

if TYPE_CHECKING:
    from edgewise.running import (
        Answer,
        Input,
        Options,
        Session,
        ShadowOptions,
    )

# The words of edgewise.running.Policy, which loads the engine; --help should not.
POLICIES = ("auto", "prefer_on_device", "only_on_device", "prefer_in_cloud", "only_in_cloud")
_PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".gif")
_ARRAYS = (".npy", ".npz")


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("run", help="the device half of a bundle, on files")
    parser.add_argument("bundle", metavar="BUNDLE", type=Path)
    inputs = parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",  # "*" would be satisfied by nothing before the first option, and take no more
        default=[],
        type=Path,
        help="photos, .npy, .npz, folders; texts by line: .txt, .csv, .tsv",
    )
    inputs.required = False  # --text will do
    parser.add_argument(
        "--text", action="append", default=[], help="a text, if the network reads texts"
    )
    parser.add_argument("--server", metavar="URL", help="where the cloud half listens")
    add_credentials(parser)
    parser.add_argument("--link", help="what the link is like: name, TOML file, or up=...,rtt=...")
    parser.add_argument("--policy", choices=POLICIES, default=POLICIES[0])
    parser.add_argument("--raw-input-stays", action="store_true", help="never send the input")
    parser.add_argument("--timeout", type=duration, metavar="TIME", help="for the cloud")
    parser.add_argument(
        "--deadline", type=duration, metavar="TIME", help="per input; late ones are told"
    )
    parser.add_argument("--route", help="take this route, whatever the policy would choose")
    parser.add_argument("--slowdown", type=float, default=1.0, help="emulate a slower device")
    add_traces(parser)
    add_stream_options(parser)
    parser.add_argument(
        "--shadow", type=float, metavar="SHARE", help="compare this share with the other side"
    )
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Answer every input."""
    from edgewise.running import connect, named_route

    check_stream_options(args)
    options = _options(args)
    bundle = open_bundle(args.bundle)
    inputs = _inputs(args, bundle)
    key = read_api_key(args.api_key_file, server=args.server)
    with (
        open_traces(args.traces, quiet=args.json) as traces,
        connect(
            bundle, args.server, options=options, traces=traces, api_key=key, ca_path=args.ca
        ) as session,
    ):
        if args.route is not None:
            named_route(session.routes, args.route)  # before an input could be blamed for it
        _tell_conditions(args, session)
        run = _run_files if args.fps is None else run_stream
        return run(args, bundle, session, inputs)


def _run_files(
    args: argparse.Namespace,
    bundle: Bundle,
    session: Session,
    inputs: Iterator[tuple[str, Input]],
) -> int:
    results = []
    for name, answer in _answers(args, session, inputs):
        results.append((name, answer))
        if not args.json:
            print(_line(name, answer, bundle), flush=True)
    reports = read_reports(args, session)
    if args.json:
        every = [answer_json(name, answer, bundle) for name, answer in results]
        print_json({**reports_json(bundle, session, reports), "results": every})
        return 0
    if len(results) > 1:
        print(_summary([answer for _, answer in results]))
    for line in report_lines(reports):
        print(line)
    return 0


def _inputs(args: argparse.Namespace, bundle: Bundle) -> Iterator[tuple[str, Input]]:
    files = list(_find_files(args.inputs))
    if not files and not args.text:
        raise BadInput(
            expected="an INPUT to answer",
            found="none",
            remedy="name files or a folder, or pass --text TEXT",
        )
    return chain(named_texts(args.text, bundle), _read_inputs(files, bundle))


def _tell_conditions(args: argparse.Namespace, session: Session) -> None:
    for part, why in session.distrusted.items():
        note(f"not used on this machine: {part}: {why}")
    if args.slowdown > 1:
        note(f"emulating a device {args.slowdown:g} times slower than this machine")


def _options(args: argparse.Namespace) -> Options:
    from edgewise.running import Options, Policy

    if not 1 <= args.slowdown < 10_000:
        raise BadInput(
            expected="--slowdown of at least 1 and below 10000",
            found=str(args.slowdown),
            remedy="try 10",
        )
    return Options(
        link=None if args.link is None else load_link(args.link),
        policy=Policy(args.policy),
        raw_input_stays=args.raw_input_stays,
        timeout_s=args.timeout,
        slowdown=args.slowdown,
        refuse_late=False,
        shadow=_shadow_options(args.shadow),
    )


def _shadow_options(share: float | None) -> ShadowOptions | None:
    from edgewise.running import ShadowOptions

    if share is None:
        return None
    return ShadowOptions(share=share, rng=np.random.default_rng())


def _answers(
    args: argparse.Namespace, session: Session, inputs: Iterator[tuple[str, Input]]
) -> Iterator[tuple[str, Answer]]:
    for name, value in inputs:
        try:
            yield name, session.run(value, deadline_s=args.deadline, route=args.route)
        except BadInput as error:
            raise error_about(name, error) from None
        except LinkFailed as error:
            raise _unanswered(args, error) from None


def _unanswered(args: argparse.Namespace, error: LinkFailed) -> BadInput:
    """The cloud's failure, where nothing on the device answers in its place."""
    may_change = args.policy == "only_in_cloud"
    return BadInput(
        expected=f"an answer from the server at {args.server}, since the device has none of its"
        " own",
        found=error.reason,
        remedy="check the server and the way to it, or "
        + ("choose another --policy" if may_change else "plan a bundle with a fallback"),
    )


def _find_files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        found = sorted(p for p in path.iterdir() if _is_input(p)) if path.is_dir() else [path]
        if not found:
            raise BadInput(
                expected=f"inputs ({', '.join((*_PHOTOS, *_ARRAYS))}) in {path}",
                found="none",
                remedy="name files or a folder that holds some",
            )
        yield from found


def _is_input(path: Path) -> bool:
    shown = not path.name.startswith(".")
    return shown and path.is_file() and path.suffix.lower() in (*_PHOTOS, *_ARRAYS)


def _read_inputs(files: Sequence[Path], bundle: Bundle) -> Iterator[tuple[str, Input]]:
    for file in files:
        kind = file.suffix.lower()
        if kind == ".npz":
            yield from _read_rows(file, bundle)
        elif kind in TEXT_FILES:
            yield from texts_in(file, bundle)
        elif kind == ".npy":
            yield str(file), _read_array(file)
        else:
            refuse_photo(file, bundle)
            yield str(file), file


def _read_rows(file: Path, bundle: Bundle) -> Iterator[tuple[str, Input]]:
    """One input per row: arrays by the names of the model's inputs, labels left out."""
    from edgewise.examples import load_examples
    from edgewise.preparation import read_preparation

    manifest = bundle.manifest
    wanted = manifest.preparation
    preparation = None if wanted is None else read_preparation(json.dumps(wanted))
    examples = load_examples(file, preparation)
    for row in range(len(examples)):
        pixels = examples.pixels(row)
        name = str(file) if len(examples) == 1 else f"{file}[{row}]"
        yield name, examples.feeds(row) if pixels is None else pixels


def _read_array(path: Path) -> Array:
    try:
        # Mapped first, so that a header that promises too much allocates nothing.
        array: Any = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        text = getattr(error, "strerror", None) or str(error)
        raise _no_array(path, (text.splitlines() or ["nothing"])[0][:200].rstrip(".")) from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise _no_array(path, "an archive of arrays under the wrong name; call it .npz")
    return np.array(array)


def _no_array(path: Path, found: str) -> BadInput:
    return BadInput(expected=f"an array in {path}", found=found, remedy="write it with numpy.save")


def _line(name: str, answer: Answer, bundle: Bundle) -> str:
    trace, source = answer.trace, answer.inference_source
    late = "  LATE" if answer.deadline_met is False else ""
    sent = f"sent {format_bytes(trace.up_bytes)}" if trace.up_bytes else "sent nothing"
    lost = f"; {answer.note}" if answer.note else ""
    return printable(
        f"{Path(name).name:24}  {top_words(answer, bundle):20}  {source.route:18} "
        f"{format_duration(trace.total_s):>9}  {sent:14}  {source.reason}{lost}{late}"
    )


def _summary(answers: Sequence[Answer]) -> str:
    median_s = statistics.median(answer.trace.total_s for answer in answers)
    routes: dict[str, int] = {}
    for answer in answers:
        name = answer.inference_source.route
        routes[name] = routes.get(name, 0) + 1
    taken = ", ".join(f"{count} by {name}" for name, count in routes.items())
    late = sum(answer.deadline_met is False for answer in answers)
    after = f"; {late} late" if late else ""
    return printable(f"{len(answers)} answers: {taken}; median {format_duration(median_s)}{after}")
