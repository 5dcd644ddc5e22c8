"""``edgewise inspect``: what a network is, and where it can be cut."""

from __future__ import annotations

import argparse

from edgewise.cli.console import Commands, add_json, console, note, print_json
from edgewise.cli.models import add_model, open_model


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("inspect", help="what a network is, and where it can be cut")
    add_model(parser)
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Print inputs, operators, MACs, bytes, peak memory and legal cuts."""
    model = open_model(args.model)
    from edgewise.graphs import find_cuts
    from edgewise.profiling import count
    from edgewise.reporting import cuts_table, inspection_json, operator_counts
    from edgewise.units import format_bytes, format_count

    profile, cuts = count(model), find_cuts(model)
    if args.json:
        print_json(inspection_json(model, profile, cuts))
        return 0
    operators = ", ".join(f"{n} {op}" for op, n in operator_counts(profile).items())
    print(f"{model.name}  opset {model.opset}  digest {model.digest[:12]}")
    print(f"inputs   {', '.join(map(str, model.inputs))}")
    print(f"outputs  {', '.join(map(str, model.outputs))}")
    print(f"nodes    {len(profile.nodes)}: {operators}")
    print(f"MACs     {format_count(profile.macs)}")
    print(f"weights  {format_bytes(model.weight_bytes)}")
    print(f"peak     {format_bytes(profile.peak_activation_bytes)} of activations")
    console().print(cuts_table(cuts, profile))
    note(f"next: edgewise plan {args.model} --device slow-phone --link lte --data PHOTOS")
    return 0
