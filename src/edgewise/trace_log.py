"""Traces in one SQLite file: where the time and the bytes of requests went, and nothing else.

No inputs, no outputs, no names of hosts. Sessions of several threads and processes may write one
file at once; whoever fits costs from it reads it with :func:`read_traces`.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from edgewise.database_file import DatabaseFile, DatabaseForm, is_ours, unusable
from edgewise.errors import BadInput
from edgewise.records import read_record
from edgewise.trace import Trace

_FORM = DatabaseForm(
    noun="trace log",
    application=0x65647472,  # "edtr"
    schema=1,
    tables=(
        """CREATE TABLE requests (
    number INTEGER PRIMARY KEY, -- in the order of writing
    request_id TEXT NOT NULL,   -- unique within a session
    bundle_digest TEXT NOT NULL,
    route TEXT NOT NULL,        -- that answered
    kind TEXT NOT NULL,         -- of that route: local, split, cloud, ...
    reason TEXT NOT NULL,       -- why that route, without details in brackets
    at_s REAL NOT NULL,         -- when it was answered, seconds since 1970
    total_s REAL NOT NULL,      -- from the call to the answer
    deadline_s REAL,            -- from the call; NULL: none was set
    deadline_met INTEGER AS (total_s <= deadline_s),
    up_bytes INTEGER NOT NULL,
    down_bytes INTEGER NOT NULL
) STRICT""",
        """CREATE TABLE spans (
    request INTEGER NOT NULL,   -- its number
    position INTEGER NOT NULL,  -- in the order of their start, from 0
    kind TEXT NOT NULL,         -- prepare, device, encode, upload, queue, cloud, download, local
    start_s REAL NOT NULL,      -- from the call
    duration_s REAL NOT NULL,
    PRIMARY KEY (request, position)
) STRICT, WITHOUT ROWID""",
    ),
    survives_power_loss=False,
)
_FIELDS = (
    "request_id",
    "bundle_digest",
    "route",
    "kind",
    "reason",
    "at_s",
    "total_s",
    "deadline_s",
    "up_bytes",
    "down_bytes",
)
_INSERT = (
    f"INSERT INTO requests ({', '.join(_FIELDS)}) VALUES ({', '.join(f':{f}' for f in _FIELDS)})"
)
_MOST_WAITING = 10_000
_TRIM_EVERY = 256
# The oldest tenth goes at once, so that a clock that jumps ahead does not empty the log.
_TRIMMED_SHARE = 10
# A reason's details are other people's words: a server's, or a certificate's with its host.
_DETAILS = re.compile(r" ?\(.*\)", re.DOTALL)
_log = logging.getLogger("edgewise")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceLimits:
    """How much is kept; what is older goes first.

    Args:
        max_bytes: of the file; SQLite's own log beside it takes up to half a megabyte more.
        max_age_s: by the device's clock.

    >>> TraceLimits(max_bytes=1_000_000).max_age_s
    2592000.0
    """

    max_bytes: int = 16_777_216
    max_age_s: float = 30 * 86_400.0


class TraceLog:
    """A file that takes traces; see :func:`edgewise.running.connect`.

    ``append`` only hands over: a thread of the log's own writes at once, so that no request ever
    waits for the disk. A killed process loses what that thread had not written yet; a power cut
    may take the last seconds.

    Args:
        path: the SQLite file; made when it is not there, set aside when it is damaged.
        limits: how much and how long.
        clock: seconds since 1970; it may jump.

    Raises:
        BadInput: when the file cannot be used, or is something else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with TraceLog(Path(folder) / "t.db") as log:
    ...         log.append(Trace(request_id="1", bundle_digest="d", route="local",
    ...                          reason="fastest", total_s=0.5, spans=()))
    ...     [trace.route for trace in read_traces(Path(folder) / "t.db")]
    ['local']
    """

    def __init__(
        self,
        path: Path | str,
        *,
        limits: TraceLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits or TraceLimits()
        self._clock = clock
        self._file = DatabaseFile(Path(path), _FORM)
        self._waiting: deque[Trace] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._open = True
        self._lost = 0
        self._until_trim = 0
        self._writer = threading.Thread(target=self._write_on, name="edgewise-traces", daemon=True)
        self._writer.start()

    @property
    def damaged(self) -> Path | None:
        """Where the damaged file that was found here has been set aside."""
        return self._file.damaged

    @property
    def lost(self) -> int:
        """Traces that could not be kept: a full disk, say, or one that never answers."""
        return self._lost

    def append(self, trace: Trace) -> None:
        """Keep a trace, soon; it never fails and never waits for the disk.

        Args:
            trace: of an answered request; without ``at_s`` it was answered just now.
        """
        if trace.at_s is None:
            trace = replace(trace, at_s=self._clock())
        with self._changed:
            if not self._open or len(self._waiting) >= _MOST_WAITING:
                self._lost += 1
                return
            self._waiting.append(trace)
            self._changed.notify_all()

    def flush(self, *, timeout_s: float = 30.0) -> bool:
        """Wait until everything handed over was written, or lost; whether it was in that time."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._busy), timeout_s)

    def close(self) -> None:
        """Write what waits, and let others have the file."""
        with self._changed:
            was_open, self._open = self._open, False
            self._changed.notify_all()
        self._writer.join()
        if was_open:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_on(self) -> None:
        while batch := self._next_batch():
            try:
                self._write(batch)
            except (sqlite3.Error, UnicodeError) as error:
                self._lose(len(batch), error)
            with contextlib.suppress(sqlite3.Error):  # on a full disk, say; the next time, then
                self._trim_in_time(len(batch))

    def _next_batch(self) -> Sequence[Trace]:
        """What waits, or the first of it; nothing when the log is closed and all is written."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or not self._open)
            count = min(len(self._waiting), _TRIM_EVERY)
            batch = tuple(self._waiting.popleft() for _ in range(count))
            self._busy = bool(batch)
            return batch

    def _write(self, batch: Sequence[Trace]) -> None:
        with self._file.transaction() as db:
            for trace in batch:
                number = db.execute(_INSERT, _row(trace)).lastrowid
                db.executemany(
                    "INSERT INTO spans VALUES (?, ?, ?, ?, ?)",
                    [
                        (number, position, span.kind.value, span.start_s, span.duration_s)
                        for position, span in enumerate(trace.spans)
                    ],
                )

    def _lose(self, count: int, error: Exception) -> None:
        if not self._lost:  # once: a device that lives for months must not fill its log
            refusal = unusable(_FORM.noun, self._file.path, error)
            _log.warning("traces are lost: %s", refusal)
        self._lost += count

    def _trim_in_time(self, written: int) -> None:
        self._until_trim -= written
        if self._until_trim <= 0:
            self._until_trim = _TRIM_EVERY
            self._trim_aged()
            self._trim_large()

    def _trim_aged(self) -> None:
        with self._file.transaction() as db:
            (last,) = db.execute(
                "SELECT max(number) FROM requests WHERE number <= ? AND at_s < ?",
                (_oldest_share(db), self._clock() - self._limits.max_age_s),
            ).fetchone()
            if last is not None:
                _forget(db, last)

    def _trim_large(self) -> None:
        while _used_bytes(self._file.db) > self._limits.max_bytes:
            with self._file.transaction() as db:
                last = _oldest_share(db)
                if last is None:
                    return
                _forget(db, last)


def read_traces(path: Path | str, *, since_s: float | None = None) -> Iterator[Trace]:
    """The traces in a file, in the order of their writing; sessions may go on writing.

    Args:
        path: that a :class:`TraceLog` wrote.
        since_s: seconds since 1970; nothing that was answered earlier.

    Raises:
        BadInput: when there is none, or the file is damaged or something else.
    """
    path = Path(path)
    try:
        with contextlib.closing(_look(path)) as db:
            earliest_s = float("-inf") if since_s is None else since_s
            for number, *values in db.execute(
                f"SELECT number, {', '.join(_FIELDS)} FROM requests"
                " WHERE at_s >= ? ORDER BY number",
                (earliest_s,),
            ):
                yield _read(db, number, dict(zip(_FIELDS, values, strict=True)), path)
    except sqlite3.Error as error:
        raise unusable(_FORM.noun, path, error) from None


def _look(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise _no_log(path, "nothing" if not path.exists() else "no regular file")
    # For writing where that is allowed, or SQLite's own files would be left beside it.
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    try:
        db.execute("PRAGMA query_only = ON")
        db.execute("PRAGMA trusted_schema = OFF")  # whoever made the file may have meant harm
        begun = is_ours(db, path, _FORM)
    except BaseException:
        db.close()
        raise
    if not begun:
        db.close()
        raise _no_log(path, "an empty file")
    return db


def _no_log(path: Path, found: str) -> BadInput:
    return BadInput(
        expected=f"a {_FORM.noun} at {path}",
        found=found,
        remedy="write one: edgewise run BUNDLE INPUT --traces FILE",
    )


def _row(trace: Trace) -> dict[str, Any]:
    row = {field: getattr(trace, field) for field in _FIELDS}
    return row | {"reason": _DETAILS.sub("", trace.reason)}


def _read(db: sqlite3.Connection, number: int, fields: dict[str, Any], path: Path) -> Trace:
    spans = [
        dict(zip(("kind", "start_s", "duration_s"), row, strict=True))
        for row in db.execute(
            "SELECT kind, start_s, duration_s FROM spans WHERE request = ? ORDER BY position",
            (number,),
        )
    ]
    return read_record(Trace, fields | {"spans": spans}, where=f"{path}, request {number}")


def _used_bytes(db: sqlite3.Connection) -> int:
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    return int(pages - free) * int(page_bytes)


def _oldest_share(db: sqlite3.Connection) -> int | None:
    """The last of the numbers that may go at once."""
    first, last = db.execute("SELECT min(number), max(number) FROM requests").fetchone()
    return None if first is None else int(first + (last - first) // _TRIMMED_SHARE)


def _forget(db: sqlite3.Connection, last: int) -> None:
    db.execute("DELETE FROM requests WHERE number <= ?", (last,))
    db.execute("DELETE FROM spans WHERE request <= ?", (last,))
