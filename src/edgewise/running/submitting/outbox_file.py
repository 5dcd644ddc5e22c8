"""The outbox's tables, and what it says when its file does not take something."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from edgewise.database_file import DatabaseFile, DatabaseForm, Unusable, unusable
from edgewise.errors import BadInput

_FORM = DatabaseForm(
    noun="outbox",
    application=0x65646765,  # "edge"
    schema=1,
    tables=(
        """CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'aside', 'delivered')),
    nbytes INTEGER NOT NULL,
    header_bytes INTEGER NOT NULL,
    accepted_s REAL NOT NULL,
    aged_s REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    sealed INTEGER NOT NULL,
    digest BLOB NOT NULL,
    body BLOB
)""",
        "CREATE INDEX items_by_state ON items (state, model, id)",
        "CREATE TABLE ages (seen_s REAL NOT NULL, elapsed_s REAL NOT NULL)",
        "CREATE TABLE seal (proof BLOB NOT NULL)",
    ),
)


class NotStored(BadInput):
    """What was handed over is not kept, and whoever handed it over still has to."""


def open_file(path: Path) -> DatabaseFile:
    """The outbox's file.

    Args:
        path: made when it is not there; a damaged one is renamed, and a new one begun.

    Raises:
        BadInput: when it belongs to something else, or to a later edgewise.
        NotStored: when the file cannot be made or used.
    """
    try:
        return DatabaseFile(path, _FORM)
    except Unusable as error:
        raise NotStored(expected=error.expected, found=error.found, remedy=error.remedy) from None


def not_stored(path: Path, error: sqlite3.Error) -> NotStored:
    """The refusal that a database error becomes.

    >>> print(not_stored(Path("out.db"), sqlite3.OperationalError("odd")))
    expected the outbox out.db to be usable, found odd; nothing was stored: wait a moment, \
then submit again under the same key
    """
    known = unusable(_FORM.noun, path, error)
    return NotStored(
        expected=known.expected,
        found=known.found,
        remedy=f"nothing was stored: {known.remedy}, then submit again under the same key",
    )
