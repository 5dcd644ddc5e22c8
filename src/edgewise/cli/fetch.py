"""``edgewise fetch``: download the device's side of a bundle from its server."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.console import Commands, add_json, note, print_json, printable, progress_bar
from edgewise.cli.credentials import add_credentials, read_api_key
from edgewise.errors import BadInput, LinkFailed
from edgewise.records import write_record
from edgewise.units import format_bytes

if TYPE_CHECKING:
    from edgewise.bundle import Bundle
    from edgewise.running import Download, Fetched


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("fetch", help="download the device half of a bundle")
    parser.add_argument("url", metavar="URL", nargs="?", help="where the cloud half listens")
    parser.add_argument(
        "-o", "--output", metavar="BUNDLE", type=Path, required=True, help="folder of the bundle"
    )
    parser.add_argument("--model", metavar="NAME", help="when the server has several")
    parser.add_argument("--digest", metavar="SHA256", help="refuse any other bundle")
    parser.add_argument(
        "--allow-older", action="store_true", help="let a lower version replace a higher one"
    )
    parser.add_argument(
        "--back", action="store_true", help="no download: change places with the former bundle"
    )
    add_credentials(parser)
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Download, or go back."""
    if (args.url is None) != args.back:
        raise BadInput(
            expected="the address of a server, or --back",
            found="both" if args.back else "neither",
            remedy="run: edgewise fetch URL -o BUNDLE",
        )
    if args.back:
        return _go_back(args)
    download = _download(args)
    if args.json:
        print_json(_json(download))
        return 0
    for file in download.files:
        print(_line(file))
    print(printable(_summary(download)))
    note(f"next: {_next(args)} INPUT")
    return 0


def _next(args: argparse.Namespace) -> str:
    trusted = [] if args.ca is None else ["--ca", str(args.ca)]
    known = [] if args.api_key_file is None else ["--api-key-file", str(args.api_key_file)]
    words = ["edgewise", "run", str(args.output), "--server", args.url, *trusted, *known]
    return shlex.join(words)


def _download(args: argparse.Namespace) -> Download:
    try:
        return _downloaded(args)
    except LinkFailed as error:
        raise BadInput(
            expected=f"a server to talk to at {args.url}",
            found=error.reason,
            remedy=error.remedy or "check the server and the way to it",
        ) from None


def _downloaded(args: argparse.Namespace) -> Download:
    from edgewise.running import download_bundle

    key = read_api_key(args.api_key_file, server=args.url)
    with progress_bar() as progress:
        return download_bundle(
            args.url,
            args.output,
            model=args.model,
            api_key=key,
            ca_path=args.ca,
            digest=args.digest,
            allow_older=args.allow_older,
            progress=progress,
        )


def _go_back(args: argparse.Namespace) -> int:
    from edgewise.running import roll_back

    bundle = roll_back(args.output)
    if args.json:
        print_json(_identity(bundle))
    else:
        print(printable(f"{args.output} is {_words(bundle)} again"))
    return 0


def _line(file: Fetched) -> str:
    if not file.sent_bytes:
        how = "was there"
    elif file.sent_bytes < file.bytes:
        how = f"went on, {format_bytes(file.sent_bytes)} sent"
    else:
        how = "sent"
    return printable(f"{file.path:32}  {format_bytes(file.bytes):>9}  {how}")


def _summary(download: Download) -> str:
    total = format_bytes(sum(file.bytes for file in download.files))
    former = f"; the former bundle is in {download.previous}" if download.previous else ""
    sent = format_bytes(download.sent_bytes) if download.sent_bytes else "nothing"
    return f"{_words(download.bundle)}: {total}, {sent} of it sent{former}"


def _words(bundle: Bundle) -> str:
    manifest = bundle.manifest
    return f"{manifest.name}, version {manifest.version} ({bundle.digest[:12]})"


def _identity(bundle: Bundle) -> dict[str, object]:
    return {
        "bundle": bundle.digest,
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "path": str(bundle.path),
    }


def _json(download: Download) -> dict[str, object]:
    return {
        **_identity(download.bundle),
        "files": write_record(download.files),
        "sent_bytes": download.sent_bytes,
        "previous": None if download.previous is None else str(download.previous),
    }
