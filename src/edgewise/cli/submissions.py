"""``edgewise submissions``: what devices handed in."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edgewise.cli.console import Commands, add_json, note, print_json, printable
from edgewise.cli.options import add_since
from edgewise.units import format_bytes

if TYPE_CHECKING:
    from edgewise.serving import Stored, SubmissionStore


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("submissions", help="what devices handed in")
    parser.add_argument("url", metavar="URL", help="such as sqlite:///submissions.db")
    add_since(parser)
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
    note(f"{count} submission{'' if count == 1 else 's'}; --json shows what is in them")
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
