"""How commands talk: one JSON object or a table on stdout, progress and notes on stderr."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgewise.errors import MissingExtra
from edgewise.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

Commands = Any  # argparse keeps the type of sub-parsers private

_PIPE_COLUMNS = 160
_FEWEST_BYTES = 100_000


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option that every command has."""
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def print_json(value: object) -> None:
    """One object on stdout."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    print(text, flush=True)


def note(text: str) -> None:
    """A line for a person, on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Text without what a terminal would obey; names and labels come from strangers' files.

    >>> printable("cat" + chr(27) + "[31m")
    'cat\ufffd[31m'
    """
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def aligned(rows: Sequence[Sequence[str]], *, names: int = 1) -> str:
    """Texts as columns, where no studio is needed to draw a table.

    Args:
        rows: of the same length.
        names: columns that are set to the left; quantities follow, to the right.

    >>> print(aligned([("route", "#"), ("local", "12")]))
    route   #
    local  12
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = zip(row, widths, strict=True)
        padded = (c.ljust(w) if i < names else c.rjust(w) for i, (c, w) in enumerate(cells))
        lines.append("  ".join(padded).rstrip())
    return printable("\n".join(lines))


def console() -> Console:
    """The terminal for tables; it honours ``NO_COLOR``.

    Raises:
        MissingExtra: without the studio.
    """
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        raise MissingExtra(extra="studio", purpose="to make and show plans") from None

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # main knows what to do; rich would end with exit code 1

    # Tables in a file or pipe must not be folded at 80 columns.
    return Screen(width=None if sys.stdout.isatty() else _PIPE_COLUMNS)


@contextlib.contextmanager
def progress_bar(*, lines: bool = False) -> Iterator[Progress]:
    """A callback that draws a bar on a terminal.

    Args:
        lines: elsewhere, a line on stderr for each thing that begins; without it, silence.
    """
    if not sys.stderr.isatty():
        yield _tell_beginnings() if lines else _tell_nobody
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars
    except ModuleNotFoundError:  # on a device there is no studio
        yield _tell_one_line
        print("\r\033[K", end="", file=sys.stderr, flush=True)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[extent]}"))
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def tell(text: str, done: int, total: int) -> None:
            if text not in tasks:
                tasks[text] = bars.add_task(text, total=total, extent="")
            bars.update(tasks[text], completed=done, total=total, extent=_extent(done, total))

        yield tell


def _extent(done: int, total: int) -> str:
    """Steps as they are; what is too much to be steps is bytes.

    >>> _extent(2, 7), _extent(1_500_000, 83_506_384)
    ('2/7', '1.5/83.5 MB')
    """
    if total < _FEWEST_BYTES:
        return f"{done}/{total}"
    return f"{done / 1e6:.1f}/{total / 1e6:.1f} MB"


def _tell_beginnings() -> Progress:
    told: set[str] = set()

    def tell(text: str, done: int, total: int) -> None:
        if text not in told:
            told.add(text)
            note(text)

    return tell


def _tell_one_line(text: str, done: int, total: int) -> None:
    print(
        f"\r\033[K{printable(text)}  {_extent(done, total)}", end="", file=sys.stderr, flush=True
    )


def _tell_nobody(text: str, done: int, total: int) -> None:
    pass
