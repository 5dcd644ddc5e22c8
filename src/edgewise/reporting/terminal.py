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
        pad_edge=False,
    )
    for column in sheet.columns:
        side = "right" if column.number else "left"
        table.add_column(_text(column.name), justify=side, no_wrap=column.number)  # type: ignore[arg-type]
    for row in sheet.rows:
        table.add_row(*map(_text, row))
    return table


def _text(cell: str) -> Text:
    # Never markup; and nothing that a terminal would obey, for names come from strangers' files.
    return Text("".join(c if c.isprintable() else "\ufffd" for c in cell))
