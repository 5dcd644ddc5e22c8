"""Options that say who asks and whom to trust."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from edgewise.cli.console import note
from edgewise.errors import BadInput
from edgewise.records import read_start

KEY_VARIABLE = "EDGEWISE_API_KEY"
_MAX_KEY_BYTES = 4096
_UNENCRYPTED_ELSEWHERE = re.compile(
    r"http://(?!(?:127(?:\.[0-9]{1,3}){3}|localhost|\[::1\])(?:[:/]|$))", re.IGNORECASE
)


def add_credentials(parser: argparse.ArgumentParser) -> None:
    """The options of commands that ask a server."""
    parser.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help=f"holds the key to show to the server (or set {KEY_VARIABLE})",
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="trust these certificates (PEM), not the system's"
    )


def read_api_key(path: Path | None, *, server: str | None) -> str | None:
    """The key from the file, else from the environment; ``None`` without either.

    Args:
        path: a file with the key on its one line.
        server: where it goes; a warning is given where others could read it on the way.

    Raises:
        BadInput: when the file holds none.
    """
    key = os.environ.get(KEY_VARIABLE) or None
    if path is not None:
        raw = read_start(path, what="API key", max_bytes=_MAX_KEY_BYTES)
        key = raw.decode(errors="replace").strip()
        if not key or len(key.split()) != 1:
            raise BadInput(
                expected=f"one API key in {path}",
                found="nothing" if not key else "more than a key",
                remedy="write the key alone into it, as 'edgewise keys new' printed it",
            )
    if key and server and _UNENCRYPTED_ELSEWHERE.match(server):
        note("warning: the API key travels unencrypted; serve with --tls-cert and use https")
    return key
