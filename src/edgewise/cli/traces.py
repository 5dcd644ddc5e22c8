"""``edgewise traces``: what requests took, from the file that a session kept."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgewise.cli.console import Commands, add_json, aligned, note, print_json
from edgewise.cli.options import add_since
from edgewise.errors import BadInput
from edgewise.records import write_record
from edgewise.trace_log import TraceLog, read_traces
from edgewise.trace_summary import RouteSummary, summarise
from edgewise.units import format_bytes, format_duration, format_share

_DATABASE = b"SQLite format 3\0"


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("traces", help="what requests took, route by route")
    parser.add_argument("file", metavar="FILE", type=Path, help="that run --traces wrote")
    add_since(parser)
    add_json(parser)
    parser.set_defaults(execute=execute)


def add_traces(parser: argparse.ArgumentParser) -> None:
    """The option that keeps what requests took."""
    parser.add_argument(
        "--traces",
        type=Path,
        metavar="FILE",
        help="keep there what each request took, without inputs and outputs (SQLite)",
    )


@contextlib.contextmanager
def open_traces(path: Path | None, *, quiet: bool) -> Iterator[TraceLog | None]:
    """The log that ``--traces`` names, and at the end how to read it."""
    if path is None:
        yield None
        return
    _check_place(path)
    with TraceLog(path) as log:
        yield log
    if log.lost:
        note(f"{log.lost} traces could not be kept")
    if not quiet:
        note(f"next: edgewise traces {path}")


def _check_place(path: Path) -> None:
    """Refuse what never was a database: a damaged log is set aside, a photo is not."""
    if path.is_dir() or _never_was_one(path):
        raise BadInput(
            expected=f"a trace log or nothing at {path}",
            found="a folder" if path.is_dir() else "another file",
            remedy="name another place with --traces",
        )


def _never_was_one(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(len(_DATABASE))
    except OSError:  # not there yet, or the log itself says what is wrong
        return False
    return bool(start) and start != _DATABASE


def execute(args: argparse.Namespace) -> int:
    """Print what requests took."""
    if args.file.is_file() and _never_was_one(args.file):
        raise BadInput(
            expected=f"a trace log at {args.file}",
            found="another file",
            remedy="name the file that edgewise run --traces wrote",
        )
    routes = summarise(read_traces(args.file, since_s=args.since))
    if args.json:
        requests = sum(route.requests for route in routes)
        print_json({"requests": requests, "routes": write_record(routes)})
        return 0
    if not routes:
        note("no traces there; next: edgewise run BUNDLE INPUT --traces FILE")
        return 0
    print(aligned(_route_rows(routes)))
    print()
    print(aligned(_time_rows(routes), names=2))
    note("next: edgewise plan MODEL --data DIR --device D --link L, and compare")
    return 0


def _route_rows(routes: Sequence[RouteSummary]) -> list[tuple[str, ...]]:
    return [
        ("route", "requests", "in time", "sent each", "received each"),
        *(
            (
                route.route,
                str(route.requests),
                format_share(route.deadlines_met, route.deadlines) if route.deadlines else "-",
                format_bytes(route.up_bytes),
                format_bytes(route.down_bytes),
            )
            for route in routes
        ),
    ]


def _time_rows(routes: Sequence[RouteSummary]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("route", "part", "p50", "p95")]
    for route in routes:
        for part, times in {"total": route.total, **route.spans}.items():
            shown = format_duration(times.p50_s), format_duration(times.p95_s)
            rows.append((route.route, part, *shown))
    return rows
