"""``edgewise run``: the device half on files and folders."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle import Bundle, open_bundle
from edgewise.catalog import load_link
from edgewise.cli.console import Commands, add_json, note, print_json
from edgewise.cli.options import duration
from edgewise.errors import BadInput
from edgewise.records import write_record
from edgewise.running import Answer, Options, Policy, Session, connect
from edgewise.tensors import Array
from edgewise.units import format_bytes, format_duration

_PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".gif")


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("run", help="the device half of a bundle, on files")
    parser.add_argument("bundle", metavar="BUNDLE", type=Path)
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", type=Path, help="photos, .npy, folders"
    )
    parser.add_argument("--server", metavar="URL", help="where the cloud half listens")
    parser.add_argument("--link", help="what the link is like: name, TOML file, or up=...,rtt=...")
    parser.add_argument("--policy", choices=[p.value for p in Policy], default=Policy.AUTO.value)
    parser.add_argument("--raw-input-stays", action="store_true", help="never send the input")
    parser.add_argument("--timeout", type=duration, metavar="TIME", help="for the cloud")
    parser.add_argument("--deadline", type=duration, metavar="TIME", help="reported, per input")
    parser.add_argument("--route", help="take this route, whatever the policy would choose")
    parser.add_argument("--slowdown", type=float, default=1.0, help="emulate a slower device")
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Answer every input."""
    bundle = open_bundle(args.bundle)
    inputs = list(_find_inputs(args.inputs))
    with connect(bundle, args.server, options=_options(args)) as session:
        if args.json:
            results = [
                _result_json(path, a, bundle) for path, a in _answers(args, session, inputs)
            ]
            print_json({"bundle": bundle.digest, "results": results})
            return 0
        if args.slowdown > 1:
            note(f"emulating a device {args.slowdown:g} times slower than this machine")
        for path, answer in _answers(args, session, inputs):
            print(_line(path, answer, bundle), flush=True)
    return 0


def _options(args: argparse.Namespace) -> Options:
    if not 1 <= args.slowdown < 10_000:
        raise BadInput(
            expected="--slowdown of at least 1", found=str(args.slowdown), remedy="try 10"
        )
    return Options(
        link=None if args.link is None else load_link(args.link),
        policy=Policy(args.policy),
        raw_input_stays=args.raw_input_stays,
        timeout_s=args.timeout,
        slowdown=args.slowdown,
    )


def _answers(
    args: argparse.Namespace, session: Session, inputs: list[Path]
) -> Iterator[tuple[Path, Answer]]:
    for path in inputs:
        value = _read_array(path) if path.suffix == ".npy" else path
        yield path, session.run(value, deadline_s=args.deadline, route=args.route)


def _find_inputs(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        found = sorted(p for p in path.iterdir() if _is_input(p)) if path.is_dir() else [path]
        if not found:
            raise BadInput(
                expected=f"photos ({', '.join(_PHOTOS)}) or .npy files in {path}",
                found="none",
                remedy="name files or a folder that holds some",
            )
        yield from found


def _is_input(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (*_PHOTOS, ".npy")


def _read_array(path: Path) -> Array:
    try:
        # Mapped first, so that a header that promises too much allocates nothing.
        array: Array = np.load(path, allow_pickle=False, mmap_mode="r")
        return np.array(array)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(
            expected=f"an array in {path}",
            found=str(error).splitlines()[0][:200],
            remedy="write it with numpy.save",
        ) from None


def top_label(answer: Answer, bundle: Bundle) -> str:
    """The class that an answer names, or the shape of what it gives."""
    output: Array = next(iter(answer.outputs.values()))
    labels = bundle.manifest.labels
    index = int(np.argmax(output))
    if labels and output.size == len(labels):
        return labels[index]
    return f"class {index}" if output.ndim <= 2 else f"{output.dtype}{list(output.shape)}"


def _line(path: Path, answer: Answer, bundle: Bundle) -> str:
    trace, source = answer.trace, answer.inference_source
    late = "" if answer.deadline_met is not False else "  LATE"
    sent = f"sent {format_bytes(trace.up_bytes)}" if trace.up_bytes else "sent nothing"
    return (
        f"{path.name:28} {top_label(answer, bundle):24} {source.route:22} "
        f"{format_duration(trace.total_s):>9}  {sent:14} {source.reason}{late}"
    )


def _result_json(path: Path, answer: Answer, bundle: Bundle) -> Mapping[str, Any]:
    return {
        "input": str(path),
        "label": top_label(answer, bundle),
        "outputs": {name: _array_json(array) for name, array in answer.outputs.items()},
        "inference_source": write_record(answer.inference_source),
        "deadline_met": answer.deadline_met,
        "total_s": answer.trace.total_s,
        "up_bytes": answer.trace.up_bytes,
        "down_bytes": answer.trace.down_bytes,
        "spans": write_record(answer.trace.spans),
    }


def _array_json(array: Array) -> Any:
    # JSON has no NaN: a network that gives one is shown as null.
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        return np.where(np.isfinite(array), array, np.array(None)).tolist()
    return array.tolist()
