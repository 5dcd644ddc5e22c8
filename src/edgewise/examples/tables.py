"""Tables of examples, CSV or TSV: bounded, UTF-8, every cell accounted for."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edgewise.errors import BadInput
from edgewise.examples.example_set import Label
from edgewise.records import read_start

LABEL_COLUMNS = ("label", "class_index", "group", "score")
SUFFIXES = (".csv", ".tsv")
_MAX_TABLE_BYTES = 64_000_000
_MARKS = ",;\t|"

Row: TypeAlias = tuple[int, dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with a line of column names.

    Args:
        path: where it is.
        columns: their names.
        label_column: the column of labels, if there is one.
        text: all of it.
    """

    path: Path
    columns: tuple[str, ...]
    label_column: str | None
    text: str

    def rows(self, *wanted: str) -> Iterator[Row]:
        """The number of each line and its cells by column.

        Args:
            wanted: columns whose cells must not be empty.

        Raises:
            BadInput: naming the line that has too many cells or too few, or an empty one.
        """
        lines = _lines(self.text, self.path)
        next(lines, None)  # the names
        for line, cells in lines:
            if cells:
                yield line, self._row(cells, line, wanted)

    def label(self, cell: str, line: int) -> Label:
        """What a cell of the column of labels says.

        A score is a number, a group is a name; any other label of digits is a class index.

        Raises:
            BadInput: when a score is no finite number.
        """
        if self.label_column == "group":
            return cell
        return self._score(cell, line) if self.label_column == "score" else read_label(cell)

    def refuse(self, line: int, found: str) -> BadInput:
        """The error for one line."""
        return BadInput(
            expected=f"an example and its label in line {line} of {self.path}"
            if self.label_column
            else f"an example in line {line} of {self.path}",
            found=found,
            remedy="correct or remove the line",
        )

    def _row(self, cells: list[str], line: int, wanted: tuple[str, ...]) -> dict[str, str]:
        if len(cells) > len(self.columns):
            raise self.refuse(line, f"{len(cells)} cells for {len(self.columns)} columns")
        row = dict(zip(self.columns, cells, strict=False))
        empty = next((name for name in wanted if not row.get(name, "").strip()), None)
        if empty is not None:
            raise self.refuse(line, f"an empty cell in the column {empty!r}")
        return row

    def _score(self, cell: str, line: int) -> float:
        try:
            score = float(cell)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise self.refuse(line, f"the score {cell[:40]!r}, which is no number")
        return score


def open_table(path: Path) -> Table:
    """Read a table; cells are parted by tabs in ``.tsv`` (without quotes), else by commas.

    The first line names the columns: a label is in ``label``, ``class_index``, ``group`` or
    ``score``, the first of these that is there. Source of the forms: RFC 4180 for commas, IANA
    text/tab-separated-values for tabs.

    Raises:
        BadInput: when it is no UTF-8 text of at most 64 MB with different column names.
    """
    text = _decode(read_start(path, what="table", max_bytes=_MAX_TABLE_BYTES), path)
    _line, cells = next(_lines(text, path), (1, []))
    columns = tuple(cell.strip() for cell in cells)
    if len(columns) == 1 and any(mark in columns[0] for mark in _MARKS):
        raise BadInput(
            expected=f"column names parted by {'tabs' if _by_tabs(path) else 'commas'} in the "
            f"first line of {path}",
            found=repr(columns[0])[:80],
            remedy="save it as CSV with commas, or as .tsv with tabs",
        )
    repeated = next((name for name in columns if columns.count(name) > 1), None)
    if repeated is not None:
        raise BadInput(
            expected=f"different column names in the first line of {path}",
            found=f"{repeated[:40]!r} twice",
            remedy="rename one of them",
        )
    label_column = next((name for name in LABEL_COLUMNS if name in columns), None)
    return Table(path=path, columns=columns, label_column=label_column, text=text)


def read_label(text: str) -> Label:
    """A class index if it is one, else a class name.

    >>> read_label("7"), read_label("cat")
    (7, 'cat')
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else text


def _lines(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    by_tabs = _by_tabs(path)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter="\t" if by_tabs else ",",
        quoting=csv.QUOTE_NONE if by_tabs else csv.QUOTE_MINIMAL,
        strict=True,
    )
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise BadInput(
            expected=f"cells parted by {'tabs' if by_tabs else 'commas'} in line "
            f"{reader.line_num} of {path}",
            found=str(error),
            remedy="correct or remove the line",
        ) from None


def _by_tabs(path: Path) -> bool:
    return path.suffix.lower() == ".tsv"


def _decode(raw: bytes, path: Path) -> str:
    if len(raw) > _MAX_TABLE_BYTES:
        raise BadInput(
            expected=f"at most {_MAX_TABLE_BYTES // 10**6} MB in {path}",
            found="more",
            remedy="use fewer examples",
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_text(raw, error.start, path) from None
    if "\0" in text:
        raise _no_text(raw, raw.index(b"\0"), path)
    return text


def _no_text(raw: bytes, at: int, path: Path) -> BadInput:
    line = raw.count(b"\n", 0, at) + 1
    return BadInput(
        expected=f"UTF-8 text in {path}",
        found=f"the byte 0x{raw[at]:02x} in line {line}",
        remedy="save it as UTF-8",
    )
