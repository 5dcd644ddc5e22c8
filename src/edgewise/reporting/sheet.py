"""A table before anyone has drawn it: once made, shown on a terminal or in a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a sheet.

    Args:
        name: its heading.
        number: whether it holds quantities, which are set to the right and never folded.
    """

    name: str
    number: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table of texts.

    Args:
        title: what it shows.
        columns: from left to right.
        rows: one text per column.
        remark: what a reader should know of it; empty for nothing.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    remark: str = ""

    @classmethod
    def of(
        cls, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], remark: str = ""
    ) -> Self:
        """A sheet whose columns are named in short: ``#`` before the name marks quantities.

        >>> sheet = Sheet.of("sizes", ["name", "#bytes"], [("a", "1")])
        >>> [(column.name, column.number) for column in sheet.columns], sheet.rows
        ([('name', False), ('bytes', True)], (('a', '1'),))
        """
        return cls(
            title=title,
            columns=tuple(
                Column(name=name.removeprefix("#"), number=name.startswith("#"))
                for name in columns
            ),
            rows=tuple(tuple(row) for row in rows),
            remark=remark,
        )

    def without_empty(self, name: str) -> Self:
        """The same without the column of this name when no row has a text there.

        >>> Sheet.of("sizes", ["name", "remark"], [("a", "")]).without_empty("remark").rows
        (('a',),)
        """
        at = [column.name for column in self.columns].index(name)
        if any(row[at] for row in self.rows):
            return self
        return replace(
            self,
            columns=self.columns[:at] + self.columns[at + 1 :],
            rows=tuple(row[:at] + row[at + 1 :] for row in self.rows),
        )
