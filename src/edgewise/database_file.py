"""SQLite files: opened whole or set aside, and never taken from under another process."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgewise.errors import BadInput

if sys.platform != "win32":  # which refuses to rename a file that anybody has open
    import fcntl

_BUSY_S = 10.0
_LOG_PAGES = 64  # SQLite's own 1000 would let the log take as much room as the rows
_SPARE_BYTES = 131_072
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_log = logging.getLogger("edgewise")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseForm:
    """What a file holds.

    Args:
        noun: what people call it.
        application: SQLite's own mark of who wrote a file.
        schema: the version of its tables.
        tables: the statements that make them.
        survives_power_loss: sync each commit; without it a power cut may take the last ones.
    """

    noun: str
    application: int
    schema: int
    tables: tuple[str, ...]
    survives_power_loss: bool = True


class Unusable(BadInput):
    """A file cannot be made or used."""


class DatabaseFile:
    """One SQLite database in WAL mode.

    Args:
        path: made when it is not there; a damaged one is renamed, and a new one begun.
        form: what it holds.

    Raises:
        BadInput: when it belongs to something else, or to a later edgewise.
        Unusable: when the file cannot be made or used.
    """

    def __init__(self, path: Path, form: DatabaseForm) -> None:
        self.path = path
        self.damaged: Path | None = None
        self._form = form
        self._users = self._open_lock()
        try:
            self.db = self._open_whole()
            self._keep_spare()
        except BaseException:
            self._users.close()
            raise

    def close(self) -> None:
        """Let others have the file."""
        self.db.close()
        self._keep_spare()
        self._users.close()

    def make_room(self, *, spare: bool) -> bool:
        """Shrink the log, on a disk that is full; whether that may help.

        Args:
            spare: give up the room that is kept for taking rows out.
        """
        if spare:
            self._give_up_spare()
        with contextlib.suppress(sqlite3.Error):
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return True
        return spare

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is done inside, or nothing of it."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
            self.db.execute("COMMIT")
        finally:
            if self.db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self.db.execute("ROLLBACK")

    def _keep_spare(self) -> None:
        """Room to open the file, and to take rows out of it, when the disk is full."""
        with contextlib.suppress(OSError), open(self._spare, "ab") as file:
            file.write(bytes(max(0, _SPARE_BYTES - file.tell())))

    def _give_up_spare(self) -> None:
        with contextlib.suppress(OSError):
            os.truncate(self._spare, 0)

    def _connect_with_room(self) -> sqlite3.Connection:
        """Open the file even on a full disk, so that what is in it can be used."""
        try:
            return self._connect()
        except sqlite3.Error as error:
            if not is_full(error) and _code(error) != sqlite3.SQLITE_CANTOPEN:
                raise
        self._give_up_spare()
        return self._connect()

    @property
    def _spare(self) -> str:
        return f"{self.path}.spare"

    def _open_whole(self) -> sqlite3.Connection:
        # Shared by all users, and alone for whoever sets the file aside: a process that still
        # wrote into the renamed file would lose what it was given.
        self._lock("LOCK_SH", "")
        db = self._unless_damaged(self._connect_with_room)
        if db is not None:
            return db
        self._lock("LOCK_EX", "another process that uses the damaged file")
        # Somebody else may have set it aside meanwhile.
        db = self._unless_damaged(self._connect)
        if db is None:
            self._set_aside()
            db = self._new()
        self._lock("LOCK_SH", "")
        return db

    def _unless_damaged(
        self, connect: Callable[[], sqlite3.Connection]
    ) -> sqlite3.Connection | None:
        try:
            return connect()
        except sqlite3.Error as error:
            if is_damage(error):
                return None
            raise unusable(self._form.noun, self.path, error) from None

    def _new(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise unusable(self._form.noun, self.path, error) from None

    def _set_aside(self) -> None:
        number = 1
        while (target := Path(f"{self.path}.damaged-{number}")).exists():
            number += 1
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self.path}{suffix}", f"{target}{suffix}")
        self.damaged = target
        _log.warning(
            "the %s %s is damaged: set aside as %s, a new one begun",
            self._form.noun,
            self.path.name,
            target.name,
        )

    def _lock(self, kind: str, found: str) -> None:
        if sys.platform == "win32":
            return
        block = 0 if not found else fcntl.LOCK_NB
        try:
            fcntl.flock(self._users, getattr(fcntl, kind) | block)
        except OSError:
            raise Unusable(
                expected=f"to be alone with the {self._form.noun} {self.path}, to set it aside",
                found=found,
                remedy="end that process first",
            ) from None

    def _open_lock(self) -> IO[bytes]:
        try:
            return open(f"{self.path}.lock", "ab")
        except (OSError, ValueError) as error:
            raise Unusable(
                expected=f"a place for the {self._form.noun} at {self.path}",
                found=getattr(error, "strerror", None) or "no such path",
                remedy="check that its folder exists and is writable",
            ) from None

    def _connect(self) -> sqlite3.Connection:
        if self._is_emptied():
            raise _damage("the file is empty, and its log is not")  # SQLite would drop the log
        db = sqlite3.connect(
            self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            # Before anything else: a file of another program stays as it is.
            begun = is_ours(db, self.path, self._form)
            self._set_up(db)
            if not begun:
                _begin(db, self._form)
            (health,) = db.execute("PRAGMA quick_check(1)").fetchone()
        except BaseException:
            db.close()
            raise
        if health != "ok":
            db.close()
            raise _damage(health)
        return db

    def _is_emptied(self) -> bool:
        """Whether what there is stands in the log alone; nobody begins a file so."""
        try:
            return self.path.stat().st_size == 0 < os.stat(f"{self.path}-wal").st_size
        except OSError:
            return False

    def _set_up(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA journal_mode = WAL")
        # In WAL mode less than FULL would lose what was said kept.
        level = "FULL" if self._form.survives_power_loss else "NORMAL"
        db.execute(f"PRAGMA synchronous = {level}")
        db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        db.execute("PRAGMA secure_delete = ON")


def is_full(error: sqlite3.Error) -> bool:
    """Whether the disk does not take what should be written."""
    return _code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file, rather than its use, is at fault."""
    return _code(error) in _DAMAGED


def unusable(noun: str, path: Path, error: Exception) -> Unusable:
    """The refusal that a database error becomes.

    >>> print(unusable("outbox", Path("out.db"), sqlite3.OperationalError("odd")))
    expected the outbox out.db to be usable, found odd; wait a moment
    """
    found, remedy = _CAUSES.get(_code(error), (str(error)[:120], "wait a moment"))
    return Unusable(expected=f"the {noun} {path} to be usable", found=found, remedy=remedy)


_CAUSES = {
    sqlite3.SQLITE_FULL: ("no space left on its disk", "free space"),
    sqlite3.SQLITE_IOERR: ("a disk that refuses to write", "free space"),
    sqlite3.SQLITE_BUSY: ("another process that holds it", "wait a moment"),
    sqlite3.SQLITE_CANTOPEN: ("no way to open it", "check that its folder exists and is writable"),
    sqlite3.SQLITE_READONLY: ("a file that may only be read", "check its permissions"),
    sqlite3.SQLITE_CORRUPT: ("a damaged file", "open it anew, which sets it aside"),
    sqlite3.SQLITE_NOTADB: ("a damaged file", "open it anew, which sets it aside"),
}


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # the rest is detail


def is_ours(db: sqlite3.Connection, path: Path, form: DatabaseForm) -> bool:
    """Whether a file has been begun in this form; it is empty otherwise.

    Raises:
        BadInput: when it belongs to something else, or to a later edgewise.
    """
    db.execute("BEGIN")  # one look, while another process may be making the tables
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    db.execute("COMMIT")
    if (application, version) == (form.application, form.schema):
        return True
    if application == form.application or tables:
        later = application == form.application and version > form.schema
        raise BadInput(
            expected=f"the {form.noun} of this edgewise at {path}",
            found="one of a later edgewise" if later else "another program's database",
            remedy="name another file",
        )
    return False


def _begin(db: sqlite3.Connection, form: DatabaseForm) -> None:
    db.execute("BEGIN IMMEDIATE")
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables:  # or another process was first
        for statement in form.tables:
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {form.application}")
        db.execute(f"PRAGMA user_version = {form.schema}")
    db.execute("COMMIT")


def _damage(words: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(words)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
