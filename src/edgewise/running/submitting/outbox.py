"""What waits for the cloud: on disk before anybody is told so, and there until it is delivered.

One SQLite file in WAL mode, synced at each commit. Several threads and processes may use one
outbox at once. Payloads are encrypted when the host gives a key, which is never written; keys of
items, names of models, sizes and times are readable.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from edgewise.database_file import is_full
from edgewise.errors import BadInput
from edgewise.running.submitting.outbox_file import NotStored, not_stored, open_file
from edgewise.running.submitting.outbox_items import Entry, OutboxLimits, Receipt, Waiting
from edgewise.running.submitting.sealing import AesSeal, NoSeal, Randomness, Seal, Unreadable
from edgewise.submission import Submission
from edgewise.wire import Frame

# An age grows by no more than this between two uses, so a clock that jumps ages nothing by more.
_LONGEST_GAP_S = 86_400.0
_PROOF = b"edgewise outbox"
_MAX_REASON = 300

T = TypeVar("T")
WallClock = Callable[[], float]


class Outbox:
    """Items that wait; see :func:`edgewise.running.connect`.

    Args:
        path: the SQLite file; made when it is not there, set aside when it is damaged.
        key: 32 bytes that encrypt what waits; without it sensitive items are refused.
        limits: how much and how long.
        clock: seconds since 1970; it may jump.
        randomness: gives that many random bytes.

    Raises:
        BadInput: when the key is not the one it was begun with, or the file is no outbox.
        NotStored: when the file cannot be used.
        MissingExtra: with a key and without the optional part ``signing``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Outbox(Path(folder) / "out.db") as outbox:
    ...     receipt = outbox.put(Submission(key="a", record={"seen": 3}), model="m")
    ...     [entry.state for entry in outbox.entries()]
    ['waiting']
    """

    def __init__(
        self,
        path: Path | str,
        *,
        key: bytes | None = None,
        limits: OutboxLimits | None = None,
        clock: WallClock = time.time,
        randomness: Randomness = os.urandom,
    ) -> None:
        self._seal: Seal = NoSeal() if key is None else AesSeal(key, randomness=randomness)
        self._limits = limits or OutboxLimits()
        self._clock = clock
        self._lock = threading.Lock()
        self._file = open_file(Path(path))
        self._open = True
        try:
            self._prove_key()
        except BaseException:
            self.close()
            raise

    @property
    def damaged(self) -> Path | None:
        """Where the damaged file that was found here has been set aside."""
        return self._file.damaged

    @property
    def encrypts(self) -> bool:
        """Whether payloads are unreadable on disk."""
        return self._seal.encrypts

    def put(self, submission: Submission, *, model: str, sensitive: bool = False) -> Receipt:
        """Store something; it is on disk when this returns.

        Args:
            submission: what.
            model: of the server that it is for.
            sensitive: refuse to write it unless it is encrypted.

        Raises:
            NotStored: when there is no room, in the outbox or on the disk.
            BadInput: when the key stands for something else, or sensitive data would lie open.
        """
        if sensitive and not self.encrypts:
            raise NotStored(
                expected="an outbox that encrypts, for data marked sensitive",
                found="one without a key",
                remedy="open it as Outbox(path, key=…) with 32 bytes from the system's key store",
            )
        frame, digest = submission.frame(), submission.digest
        about = submission.key
        row = {
            "key": submission.key,
            "model": model,
            "state": "waiting",
            "nbytes": len(frame.body),
            "header_bytes": frame.header_bytes,
            "sealed": int(self.encrypts),
            "digest": self._seal.close(digest.encode(), about=f"digest {about}"),
            "body": self._seal.close(frame.body, about=f"body {about}"),
        }
        return self._write(partial(self._insert, row=row, digest=digest))

    def oldest(self, model: str) -> Waiting | None:
        """The item for that model that has waited longest.

        An item that its seal no longer opens is set aside, and the next one is taken.
        """
        while True:
            with self._reading() as db:
                row = db.execute(
                    "SELECT * FROM items WHERE state = 'waiting' AND model = ?"
                    " ORDER BY id LIMIT 1",
                    (model,),
                ).fetchone()
            if row is None:
                return None
            try:
                body = self._unseal(row, "body")
                digest = self._unseal(row, "digest").decode()
            except Unreadable:
                self.set_aside(row["key"], "it was changed on disk: its seal is broken")
                continue
            frame = Frame(body=body, header_bytes=row["header_bytes"])
            return Waiting(key=row["key"], digest=digest, frame=frame)

    def delivered(self, key: str) -> None:
        """Forget the payload, and keep the receipt for as long as items may wait."""
        self._change(
            "UPDATE items SET state = 'delivered', body = NULL, reason = '' WHERE key = ?", key
        )

    def failed(self, key: str, reason: str) -> None:
        """Say why a delivery failed; the item goes on waiting."""
        self._change(
            "UPDATE items SET attempts = attempts + 1, reason = ? WHERE key = ?",
            reason[:_MAX_REASON],
            key,
        )

    def set_aside(self, key: str, reason: str) -> None:
        """Deliver an item no more, until somebody decides."""
        self._change(
            "UPDATE items SET state = 'aside', reason = ? WHERE key = ? AND state = 'waiting'",
            reason[:_MAX_REASON],
            key,
        )

    def set_aged_aside(self) -> None:
        """Set aside what has waited too long; drop receipts of the same age."""
        reason = f"it waited longer than {self._limits.max_age_s:g} s"

        def sweep(db: sqlite3.Connection) -> None:
            before_s = _grow_older(db, self._clock()) - self._limits.max_age_s
            db.execute(
                "UPDATE items SET state = 'aside', reason = ?"
                " WHERE state = 'waiting' AND aged_s < ?",
                (reason, before_s),
            )
            db.execute("DELETE FROM items WHERE state = 'delivered' AND aged_s < ?", (before_s,))

        self._write(sweep, frees=True)

    def restore(self, key: str) -> None:
        """Let an item that was set aside wait again, as if it were new."""
        changed = self._change(
            "UPDATE items SET state = 'waiting', attempts = 0, reason = '',"
            " aged_s = (SELECT elapsed_s FROM ages) WHERE key = ? AND state = 'aside'",
            key,
        )
        _check_found(changed, key)

    def discard(self, key: str) -> None:
        """Remove an item that was set aside, for good."""
        _check_found(self._change("DELETE FROM items WHERE key = ? AND state = 'aside'", key), key)

    def entries(self, *states: str) -> tuple[Entry, ...]:
        """What is there, the oldest first; of these states alone when any is named."""
        fields = "key, model, state, nbytes, accepted_s, attempts, reason"
        with self._reading() as db:
            rows = db.execute(f"SELECT {fields} FROM items ORDER BY id").fetchall()
        return tuple(Entry(**dict(row)) for row in rows if not states or row["state"] in states)

    def close(self) -> None:
        """Let others have the file; what waits goes on waiting."""
        with self._lock:
            if self._open:
                self._open = False
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _insert(self, db: sqlite3.Connection, *, row: Mapping[str, Any], digest: str) -> Receipt:
        now_s = self._clock()
        elapsed_s = _grow_older(db, now_s)
        known = db.execute("SELECT * FROM items WHERE key = ?", (row["key"],)).fetchone()
        if known is not None:
            return self._same(known, digest, row["model"])
        self._check_room(db, row["nbytes"])
        values = {**row, "accepted_s": now_s, "aged_s": elapsed_s}
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        db.execute(f"INSERT INTO items ({names}) VALUES ({marks})", values)
        return Receipt(key=row["key"], digest=digest, nbytes=row["nbytes"], accepted_s=now_s)

    def _same(self, row: sqlite3.Row, digest: str, model: str) -> Receipt:
        try:
            known = self._unseal(row, "digest").decode()
        except Unreadable:
            known = ""
        if (known, row["model"]) != (digest, model):
            raise NotStored(
                expected=f"for the key {row['key']!r} what was submitted under it before",
                found="other content",
                remedy="use a new key for something new",
            )
        return Receipt(
            key=row["key"], digest=digest, nbytes=row["nbytes"], accepted_s=row["accepted_s"]
        )

    def _check_room(self, db: sqlite3.Connection, nbytes: int) -> None:
        limits = self._limits
        if nbytes > limits.max_item_bytes:
            raise NotStored(
                expected=f"at most {limits.max_item_bytes} bytes to submit at once",
                found=f"{nbytes} bytes",
                remedy="submit less, or raise max_item_bytes",
            )
        items, total = db.execute(
            "SELECT count(*), coalesce(sum(nbytes), 0) FROM items"
            " WHERE state IN ('waiting', 'aside')"
        ).fetchone()
        if items >= limits.max_items or total + nbytes > limits.max_bytes:
            raise NotStored(
                expected=f"room in an outbox of {limits.max_items} items"
                f" and {limits.max_bytes} bytes",
                found=f"{items} items of {total} bytes in it",
                remedy="nothing was stored: flush it, or discard what was set aside",
            )

    def _unseal(self, row: sqlite3.Row, field: str) -> bytes:
        raw: bytes = row[field]
        return self._seal.open(raw, about=f"{field} {row['key']}") if row["sealed"] else raw

    def _prove_key(self) -> None:
        if self._write(self._is_key):
            return
        raise BadInput(
            expected=f"the key that encrypts the outbox {self._file.path}",
            found="another one" if self.encrypts else "none",
            remedy="pass the key it was begun with, or name another file; nothing was changed",
        )

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._check_open()
            self._file.db.row_factory = sqlite3.Row
            try:
                yield self._file.db
            except sqlite3.Error as error:
                raise not_stored(self._file.path, error) from None

    def _is_key(self, db: sqlite3.Connection) -> bool:
        row = db.execute("SELECT proof FROM seal").fetchone()
        if row is not None:
            with contextlib.suppress(Unreadable):
                return self._seal.open(row["proof"], about="proof") == _PROOF
            return False
        if self.encrypts:
            proof = self._seal.close(_PROOF, about="proof")
            db.execute("INSERT INTO seal VALUES (?)", (proof,))
        return True

    def _change(self, statement: str, *values: str) -> int:
        """How many items it changed."""
        return self._write(lambda db: db.execute(statement, values).rowcount, frees=True)

    def _write(self, work: Callable[[sqlite3.Connection], T], *, frees: bool = False) -> T:
        """Do work in one transaction, on disk when this returns.

        Args:
            work: done again when the disk was full and some room could be made.
            frees: may use the room that is kept for this, since it gives back more.
        """
        with self._reading():
            try:
                return self._transact(work)
            except sqlite3.Error as error:
                if not (is_full(error) and self._file.make_room(spare=frees)):
                    raise
            return self._transact(work)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._file.transaction() as db:
            return work(db)

    def _check_open(self) -> None:
        if not self._open:
            raise NotStored(expected="an open outbox", found="a closed one", remedy="open it anew")


def _grow_older(db: sqlite3.Connection, now_s: float) -> float:
    """Time that counts towards ages: forward only, and not far at once."""
    row = db.execute("SELECT seen_s, elapsed_s FROM ages").fetchone()
    if row is None:
        db.execute("INSERT INTO ages VALUES (?, 0)", (now_s,))
        return 0.0
    seen_s, elapsed_s = row
    elapsed_s += min(max(now_s - seen_s, 0.0), _LONGEST_GAP_S)
    db.execute("UPDATE ages SET seen_s = ?, elapsed_s = ?", (now_s, elapsed_s))
    return float(elapsed_s)


def _check_found(changed: int, key: str) -> None:
    if changed != 1:
        raise BadInput(
            expected="the key of an item that was set aside",
            found=repr(key)[:80],
            remedy="list them with entries('aside')",
        )
