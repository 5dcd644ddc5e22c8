"""``edgewise submissions``: what devices handed in."""

from __future__ import annotations

import argparse
import datetime
import time
from typing import TYPE_CHECKING, Any

from edgewise.cli.console import Commands, add_json, note, print_json, printable
from edgewise.cli.options import reads
from edgewise.errors import BadInput
from edgewise.units import format_bytes, parse_duration

if TYPE_CHECKING:
    from edgewise.serving import Stored, SubmissionStore


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("submissions", help="what devices handed in")
    parser.add_argument("url", metavar="URL", help="such as sqlite:///submissions.db")
    parser.add_argument(
        "--since",
        type=reads(_since),
        metavar="TIME",
        help="nothing older: a date and time of UTC, or how long ago, such as 90s",
    )
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """List them, the oldest first."""
    from edgewise.serving import SubmissionStore

    with SubmissionStore(args.url, only_look=True) as store:
        if args.json:
            rows = [_json(store, row) for row in store.rows(since_s=args.since)]
            print_json({"submissions": rows})
            return 0
        count = 0
        for row in store.rows(since_s=args.since):
            print(
                printable(f"{row.stored_at}  {row.model}  {row.key}  {format_bytes(row.nbytes)}")
            )
            count += 1
    note(f"{count} submissions; --json shows what is in them")
    return 0


def _json(store: SubmissionStore, row: Stored) -> dict[str, Any]:
    submission = store.read(row.model, row.key)
    return {
        "model": row.model,
        "key": row.key,
        "stored_at": row.stored_at,
        "bundle": row.bundle,
        "digest": row.digest,
        "bytes": row.nbytes,
        "record": dict(submission.record),
        "tensors": [
            {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
            for name, array in submission.tensors.items()
        ],
    }


def _since(text: str) -> float:
    """Seconds since 1970.

    >>> _since("1970-01-01T00:00:05")
    5.0
    """
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return time.time() - _ago(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()


def _ago(text: str) -> float:
    try:
        return parse_duration(text)
    except BadInput:
        raise BadInput(
            expected="a date and time, or how long ago",
            found=repr(text[:80]),
            remedy="try 2026-11-22, 2026-11-22T08:30:00 or 90s",
        ) from None
