"""``edgewise keys``: who may ask a server."""

from __future__ import annotations

import argparse
import secrets
import sys

from edgewise.cli.console import Commands, add_json, note, print_json


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("keys", help="API keys for a server")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    new = verbs.add_parser("new", help="make a key: its entry on stdout, the key on stderr")
    new.add_argument("name", metavar="NAME", help="whose key it is, for you")
    new.add_argument("--items-per-s", type=float, metavar="N", help="inputs per second")
    new.add_argument(
        "--compute-ms-per-s", type=float, metavar="MS", help="time of the engine per second"
    )
    new.add_argument("--concurrent", type=int, metavar="N", help="requests at once")
    add_json(new)
    new.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Make a key; the entry goes to stdout, so that ``>> FILE`` keeps it and not the key."""
    from edgewise.serving import new_key, write_entry

    made = new_key(
        args.name,
        random=secrets.token_bytes,
        items_per_s=args.items_per_s,
        compute_ms_per_s=args.compute_ms_per_s,
        concurrent=args.concurrent,
    )
    entry = write_entry(made.entry)
    if args.json:
        print_json({"name": made.entry.name, "key": made.key, "entry": entry})
        return 0
    sys.stdout.write(entry)
    note(f"the key of {made.entry.name}, shown this once: {made.key}")
    if sys.stdout.isatty():
        note("next: put the lines above into FILE, and: edgewise serve BUNDLE --api-keys FILE")
    return 0
