"""``edgewise zoo``: real networks to try."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.cli.console import Commands, add_json, console, note, print_json, progress_bar
from edgewise.cli.models import check_name, require_studio
from edgewise.errors import BadInput
from edgewise.preparation import write_preparation
from edgewise.units import format_bytes

if TYPE_CHECKING:
    from edgewise.zoo import ZooEntry


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("zoo", help="real networks to try")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="every network with licence and source")
    add_json(listing)
    listing.set_defaults(execute=execute_list)
    getting = verbs.add_parser("get", help="fetch one as an ONNX file")
    getting.add_argument("name", metavar="NAME")
    getting.add_argument("-o", "--output", type=Path, metavar="FILE", help="copy it there")
    add_json(getting)
    getting.set_defaults(execute=execute_get)


def execute_list(args: argparse.Namespace) -> int:
    """Print every entry."""
    require_studio()
    from edgewise.reporting import Sheet, terminal_table
    from edgewise.zoo import entries

    if args.json:
        print_json({"entries": [_entry_json(entry) for entry in entries()]})
        return 0
    rows = [(e.name, e.kind, format_bytes(e.size_bytes), e.licence, e.figures) for e in entries()]
    columns = ["name", "kind", "size", "licence", "figures may be used for"]
    console().print(terminal_table(Sheet.of("Networks to try", columns, rows)))
    note("next: edgewise zoo get efficientnet-lite0")
    return 0


def execute_get(args: argparse.Namespace) -> int:
    """Fetch one entry and say where it is."""
    require_studio()
    from edgewise.zoo import entries, get

    known = {entry.name: entry for entry in entries()}
    check_name(args.name, kind="one of the zoo's networks", names=list(known))
    with progress_bar(lines=True) as progress:
        path = get(args.name, progress=progress)
    if args.output is not None:
        path = _copy(path, args.output)
    if args.json:
        print_json({**_entry_json(known[args.name]), "path": str(path)})
        return 0
    print(path)
    note(f"next: edgewise inspect {path}")
    return 0


def _copy(source: Path, target: Path) -> Path:
    """Byte for byte, whole or not at all."""
    if target.is_dir():
        target = target / source.name
    if target.suffix != ".onnx":
        target = target.with_name(target.name + ".onnx")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as folder:
            os.replace(shutil.copyfile(source, Path(folder) / "file"), target)
    except OSError as error:
        raise BadInput(
            expected=f"a place to write {target}",
            found=error.strerror or "an error",
            remedy="check that the folder exists, is writable and has room",
        ) from None
    return target


def _entry_json(entry: ZooEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "size_bytes": entry.size_bytes,
        "licence": entry.licence,
        "licence_evidence": entry.licence_evidence,
        "licence_file": entry.licence_file,
        "source": entry.source,
        "preparation": None
        if entry.preparation is None
        else json.loads(write_preparation(entry.preparation)),
        "classes": len(entry.labels),
        "trained": entry.trained,
        "figures": entry.figures,
    }
