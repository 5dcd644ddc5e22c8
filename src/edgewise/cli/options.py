"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edgewise.bundle import MANIFEST, MAX_VERSION
from edgewise.errors import BadInput
from edgewise.units import parse_duration

T = TypeVar("T")
_LARGEST_AXIS = 1_000_000_000


def reads(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Turn a reader of ours into one that argparse reports errors of."""

    def read(text: str) -> T:
        try:
            return parse(text)
        except BadInput as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _share(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise BadInput(expected="a share from 0 to 1", found=repr(text), remedy="try 0.95 or 95%")
    return value


duration = reads(parse_duration)
share = reads(_share)


def _version(text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text) or not 1 <= int(text) <= MAX_VERSION:
        raise BadInput(
            expected=f"a version from 1 to {MAX_VERSION}",
            found=repr(text[:80]),
            remedy="use a whole number, such as 2",
        )
    return int(text)


bundle_version = reads(_version)


def _axis(text: str) -> tuple[str, int]:
    name, _, size = text.rpartition("=")
    if not name or not _is_size(size):
        raise BadInput(
            expected="an axis with its size, such as sequence=64",
            found=repr(text[:80]),
            remedy=f"use a whole number from 1 to {_LARGEST_AXIS}",
        )
    return name, int(size)


def _batch(text: str) -> int:
    if not _is_size(text):
        raise BadInput(
            expected="a batch of at least 1",
            found=repr(text[:80]),
            remedy=f"use a whole number from 1 to {_LARGEST_AXIS}",
        )
    return int(text)


def _is_size(text: str) -> bool:
    return re.fullmatch("[0-9]{1,10}", text) is not None and 1 <= int(text) <= _LARGEST_AXIS


def add_axes(parser: argparse.ArgumentParser, *, otherwise: str) -> None:
    """The option that gives open axes a size."""
    parser.add_argument(
        "--axis",
        type=reads(_axis),
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="the size of an axis, other than the batch, that the network leaves open "
        f"({otherwise}); repeatable",
    )


def add_batch(parser: argparse.ArgumentParser) -> None:
    """The option that says how many inputs come at once."""
    parser.add_argument(
        "--batch",
        type=reads(_batch),
        default=1,
        metavar="N",
        help="how many inputs at once, where the first axis is open (1)",
    )


def _file(what: str, example: str) -> Callable[[str], Path]:
    def read(text: str) -> Path:
        path = Path(text)
        if not text or path.is_dir():
            raise BadInput(
                expected=f"a file to write {what} to",
                found=f"the folder {text}" if text else "no name",
                remedy=f"name one, such as {example}",
            )
        return path

    return reads(read)


def add_html(parser: argparse.ArgumentParser) -> None:
    """The option that writes what is shown as a page too."""
    parser.add_argument(
        "--html",
        type=_file("the page", "report.html"),
        metavar="FILE",
        help="write a one-file report too",
    )


def add_node_data(parser: argparse.ArgumentParser) -> None:
    """The option that writes what another program lays over its drawing of the graph."""
    parser.add_argument(
        "--node-data",
        type=_file("the node data", "node-data.json"),
        metavar="FILE",
        help="write costs that model-explorer lays over its graph too",
    )


def check_bundle_folder(folder: Path) -> None:
    """Refuse before the work what could not be replaced after it.

    Raises:
        BadInput: when something that is no bundle is there.
    """
    if folder.is_dir():
        entries = sorted(entry.name for entry in folder.iterdir())
        found = "" if not entries or MANIFEST in entries else f"a folder with {entries[0]!r}"
    else:
        found = "a file" if folder.exists() else ""
    if found:
        raise BadInput(
            expected=f"a bundle or nothing at {folder}",
            found=found,
            remedy="give -o another folder",
        )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """What a chosen route must keep."""
    parser.add_argument(
        "--min-agreement",
        type=share,
        default=0.95,
        metavar="SHARE",
        help="examples decided as the full network does (0.95)",
    )
    parser.add_argument(
        "--max-latency", type=duration, default=None, metavar="TIME", help="such as 200ms"
    )
    parser.add_argument(
        "--raw-input-stays", action="store_true", help="never send the input itself"
    )
