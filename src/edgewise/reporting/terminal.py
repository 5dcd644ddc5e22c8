"""Sheets on a terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from edgewise.reporting.sheet import Sheet


def terminal_table(sheet: Sheet) -> Table:
    """The sheet as rich draws it.

    >>> terminal_table(Sheet.of("sizes", ["name", "#bytes"], [("a", "1")])).row_count
    1
    """
    table = Table(
        title=_text(sheet.title),
        title_justify="left",
        title_style="bold",
        caption=_text(sheet.remark) if sheet.remark else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column in sheet.columns:
        # Quantities are never folded, only their headings; names are, rather than cut short.
        heading = column.name.replace(" ", "\n", 1) if column.number else column.name
        table.add_column(
            _lines(heading),
            justify="right" if column.number else "left",
            no_wrap=column.number or not column.name,
            overflow="fold",
        )
    for row in sheet.rows:
        table.add_row(*map(_text, row))
    return table


def _lines(heading: str) -> Text:
    return Text("\n").join(map(_text, heading.split("\n")))


def _text(cell: str) -> Text:
    # Never markup; and nothing that a terminal would obey, for names come from strangers' files.
    return Text("".join(c if c.isprintable() else "\ufffd" for c in cell))
