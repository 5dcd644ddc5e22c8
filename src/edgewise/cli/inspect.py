"""``edgewise inspect``: what a network is, and where it can be cut."""

from __future__ import annotations

import argparse

from edgewise.cli.console import (
    Commands,
    add_json,
    console,
    note,
    print_json,
    printable,
)
from edgewise.cli.models import add_model, open_model
from edgewise.cli.options import add_html


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("inspect", help="what a network is, and where it can be cut")
    add_model(parser)
    add_html(parser)
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Print inputs, operators, MACs, bytes, peak memory and legal cuts."""
    model = open_model(args.model)
    from edgewise.graphs import find_cuts
    from edgewise.profiling import count
    from edgewise.reporting import (
        cuts_table,
        inspection_facts,
        inspection_json,
        terminal_table,
        write_report,
    )

    profile, cuts = count(model), find_cuts(model)
    facts, sheet = inspection_facts(model, profile), cuts_table(cuts, profile)
    if args.html is not None:
        write_report(args.html, title=model.name, facts=facts, sheets=[sheet])
    if args.json:
        print_json(inspection_json(model, profile, cuts))
        return 0
    for name, text in facts.items():
        print(f"{name:8} {printable(text)}")
    console().print(terminal_table(sheet))
    if args.html is not None:
        note(f"wrote {args.html}")
    note(
        f"next: edgewise plan {args.model} --device slow-phone --link lte --data PHOTOS -o BUNDLE"
    )
    return 0
