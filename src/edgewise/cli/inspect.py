"""``edgewise inspect``: what a network is, what it costs, and where it can be cut."""

from __future__ import annotations

import argparse
import shlex
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.console import (
    Commands,
    add_json,
    console,
    note,
    print_json,
    printable,
)
from edgewise.cli.models import add_model, open_model, takes_photos
from edgewise.cli.options import add_axes, add_batch, add_html, add_node_data

if TYPE_CHECKING:
    from rich.console import Console

    from edgewise.profiling import Inspection

_COSTS = ("macs", "bytes", "weights")


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("inspect", help="what a network is, and where it can be cut")
    add_model(parser)
    add_axes(parser, otherwise="128")
    add_batch(parser)
    parser.add_argument(
        "--all", action="store_true", help="list every cut of one tensor, not only the best cuts"
    )
    parser.add_argument(
        "--by",
        choices=_COSTS,
        default="macs",
        help="what colours the graph in --html and --node-data (macs)",
    )
    parser.add_argument(
        "--no-trim",
        action="store_true",
        help="do not find out what can go, which runs the network a few times",
    )
    parser.add_argument(
        "--custom-ops",
        action="append",
        default=[],
        type=Path,
        metavar="LIB",
        help="a library with the network's own operators; runs native code, so only your own",
    )
    add_html(parser)
    add_node_data(parser)
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Print inputs, operators, MACs, bytes, peak memory, what can go and the best cuts."""
    model = open_model(args.model, custom_ops=args.custom_ops)
    from edgewise.profiling import inspect
    from edgewise.reporting import inspection_json, write_inspection, write_node_data

    found = inspect(model, batch=args.batch, axes=dict(args.axis), trimming=not args.no_trim)
    if args.html is not None:
        write_inspection(args.html, found, by=args.by)
    if args.node_data is not None:
        write_node_data(args.node_data, found, by=args.by)
    if args.json:
        print_json(inspection_json(found))
        return 0
    _show(found, every=args.all)
    for path in (args.html, args.node_data):
        if path is not None:
            note(f"wrote {path}")
    note(_next(args, found))
    return 0


def _show(found: Inspection, *, every: bool) -> None:
    from edgewise.reporting import (
        cuts_table,
        inspection_facts,
        operators_table,
        terminal_table,
        trim_table,
    )

    screen = console()
    for name, text in inspection_facts(found).items():
        print(_folded(name, printable(text), screen), flush=True)
    for sheet in (operators_table(found), trim_table(found), cuts_table(found, every=every)):
        if sheet is not None and sheet.rows:
            screen.print(terminal_table(sheet))
        elif sheet is not None:
            print(sheet.remark)


def _folded(name: str, text: str, screen: Console) -> str:
    """A fact under its name; only a terminal has an edge, a file or pipe gets one line."""
    line = f"{name:8} {text}"
    if not sys.stdout.isatty():
        return line
    return textwrap.fill(line, screen.width, subsequent_indent=" " * 9, break_on_hyphens=False)


def _next(args: argparse.Namespace, found: Inspection) -> str:
    from edgewise.profiling import open_axes

    words = ["edgewise", "plan", args.model, "--device", "slow-phone", "--link", "lte"]
    _, others = open_axes(found.model.inputs)
    for name in others:
        words += ["--axis", f"{name}={found.axes[name]}"]
    data = "PHOTOS" if takes_photos(found.model) and not others else "EXAMPLES.npz"
    return f"next: {shlex.join(words)} --data {data} -o BUNDLE"
