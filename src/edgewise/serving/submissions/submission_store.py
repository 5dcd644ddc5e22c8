"""What devices handed in, kept once under its key in any database that SQLAlchemy reaches.

A row holds the frame as it came, header and tensors, beside what an operator wants to ask for;
:func:`edgewise.submission.read_submission` reads it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sql
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from edgewise.errors import BadInput
from edgewise.serving.submissions.stored import KeyTaken, Stored, StoreFailed
from edgewise.submission import MAX_SUBMISSION_BYTES, Submission, read_submission

_PAGE = 100
_BUSY_S = 10
_EXAMPLE = "name one such as sqlite:///submissions.db"
# MySQL's BLOB ends at 65 535 bytes unless a length asks for a longer kind.
_BODY = sql.LargeBinary(length=MAX_SUBMISSION_BYTES + 1)
_TABLE = sql.Table(
    "edgewise_submissions",
    sql.MetaData(),
    sql.Column("id", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("model", sql.String(256), nullable=False),
    sql.Column("key", sql.String(128), nullable=False),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Column("bundle", sql.String(256), nullable=False),
    sql.Column("stored_s", sql.Float(53), nullable=False, index=True),
    sql.Column("nbytes", sql.Integer, nullable=False),
    sql.Column("header_bytes", sql.Integer, nullable=False),
    sql.Column("body", _BODY, nullable=False),
    sql.UniqueConstraint("model", "key", name="edgewise_submissions_once"),
)


class SubmissionStore:
    """A table of submissions; its methods may be called in any thread and process.

    Args:
        url: as SQLAlchemy writes it; the table is made when it is not there.
        only_look: make nothing; refuse a database without submissions.
        clock: seconds since 1970.

    Raises:
        BadInput: when it is no such address, forgets everything when the process ends, or is not
            there to be looked at.
        StoreFailed: when the database cannot be used.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with SubmissionStore(f"sqlite:///{folder}/s.db") as store:
    ...         once = Submission(key="a", record={"seen": 3})
    ...         frame = once.frame()
    ...         again = [store.store("m", once, frame.body, frame.header_bytes)[1] for _ in "12"]
    >>> again
    [False, True]
    """

    def __init__(
        self, url: str, *, only_look: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self._url = _read_url(url)
        self._clock = clock
        if only_look:
            _check_there(self._url)
        self._engine = _open(self._url, only_look=only_look)
        try:
            if not only_look:
                self._make_table()
            elif not sql.inspect(self._engine).has_table(_TABLE.name):
                self.close()
                raise _not_there(self._url, "none of ours")
        except SQLAlchemyError as error:
            self.close()
            raise self._failed(error) from None

    def store(
        self, model: str, submission: Submission, body: bytes, header_bytes: int
    ) -> tuple[Stored, bool]:
        """Keep a submission; it is committed when this returns.

        Args:
            model: that it was sent to.
            submission: what ``body`` says.
            body: its frame.
            header_bytes: length of the frame's header.

        Returns:
            What is in the database, and whether it was there before.

        Raises:
            KeyTaken: when the key stands for other content.
            StoreFailed: when the database did not take it.
        """
        stored = Stored(
            model=model,
            key=submission.key,
            digest=submission.digest,
            bundle=submission.bundle,
            stored_s=self._clock(),
            nbytes=len(body),
        )
        row = {name: getattr(stored, name) for name in Stored.__slots__}
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    _TABLE.insert().values(**row, header_bytes=header_bytes, body=body)
                )
        except IntegrityError as error:
            return self._known(stored, error), True
        except SQLAlchemyError as error:
            raise self._failed(error) from None
        return stored, False

    def read(self, model: str, key: str) -> Submission:
        """One submission whole.

        Raises:
            BadInput: when there is none of that key.
            StoreFailed: when the database does not answer.
        """
        wanted = sql.select(_TABLE.c.body, _TABLE.c.header_bytes).where(
            _TABLE.c.model == model, _TABLE.c.key == key
        )
        row = self._first(wanted)
        if row is None:
            raise BadInput(
                expected=f"a key of a submission to {model!r}",
                found=repr(key)[:80],
                remedy="list them with: edgewise submissions URL",
            )
        return read_submission(row.body, header_bytes=row.header_bytes)

    def rows(self, *, since_s: float | None = None) -> Iterator[Stored]:
        """What is there, in the order of its coming, however much it is.

        Args:
            since_s: seconds since 1970; nothing older.

        Raises:
            StoreFailed: when the database does not answer.
        """
        last = 0
        columns = [_TABLE.c.id, *(_TABLE.c[name] for name in Stored.__slots__)]
        page = sql.select(*columns).order_by(_TABLE.c.id).limit(_PAGE)
        if since_s is not None:
            page = page.where(_TABLE.c.stored_s >= since_s)
        while rows := self._all(page.where(_TABLE.c.id > last)):
            for row in rows:
                values = dict(row._mapping)
                last = values.pop("id")
                yield Stored(**values)

    def close(self) -> None:
        """Free the connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_table(self) -> None:
        try:
            _TABLE.metadata.create_all(self._engine)
        except SQLAlchemyError:
            # Another process may have made it between our look and our making.
            _TABLE.metadata.create_all(self._engine)

    def _known(self, stored: Stored, error: IntegrityError) -> Stored:
        columns = [_TABLE.c[name] for name in Stored.__slots__]
        row = self._first(
            sql.select(*columns).where(_TABLE.c.model == stored.model, _TABLE.c.key == stored.key)
        )
        if row is None:  # some other constraint
            raise self._failed(error)
        known = Stored(**row._mapping)
        if known.digest != stored.digest:
            raise KeyTaken(
                expected=f"for the key {stored.key!r} what was submitted under it before",
                found="other content",
                remedy="use a new key for something new",
            )
        return known

    def _first(self, query: sql.Select[Any]) -> sql.Row[Any] | None:
        rows = self._all(query)
        return rows[0] if rows else None

    def _all(self, query: sql.Select[Any]) -> list[sql.Row[Any]]:
        try:
            with self._engine.connect() as connection:
                return list(connection.execute(query).all())
        except SQLAlchemyError as error:
            raise self._failed(error) from None

    def _failed(self, error: SQLAlchemyError) -> StoreFailed:
        words = str(getattr(error, "orig", None) or type(error).__name__).splitlines()
        where = self._url.render_as_string(hide_password=True)
        return StoreFailed(
            f"expected the database {where} to be usable, found: {words[0][:200] if words else ''}"
            "; check address, permissions and free space"
        )


def _read_url(text: str) -> URL:
    try:
        url = make_url(text)
        dialect = url.get_dialect().name
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise BadInput(
            expected="the address of a database as SQLAlchemy writes it",
            found=_without_password(text),
            remedy=_EXAMPLE,
        ) from None
    except ModuleNotFoundError as error:
        raise _no_driver(error) from None
    if dialect == "sqlite" and url.database in (None, "", ":memory:"):
        raise BadInput(
            expected="a database that outlives the server",
            found="one in memory",
            remedy=_EXAMPLE,
        )
    if dialect == "sqlite" and url.query:  # such as uri=true, with which a file may be memory
        raise BadInput(
            expected="the address of an SQLite file without options",
            found=f"the option {next(iter(url.query))[:80]!r}",
            remedy=_EXAMPLE,
        )
    return url


def _check_there(url: URL) -> None:
    if url.get_dialect().name == "sqlite" and not Path(url.database or "").is_file():
        raise _not_there(url, "no file")


def _not_there(url: URL, found: str) -> BadInput:
    return BadInput(
        expected=f"a database at {url.render_as_string(hide_password=True)}",
        found=found,
        remedy="check the path; edgewise serve --submissions makes one",
    )


def _without_password(text: str) -> str:
    return repr(text.rpartition("@")[2][:80])


def _no_driver(error: ModuleNotFoundError) -> BadInput:
    return BadInput(
        expected="the driver that this kind of database needs",
        found=f"the module {error.name!r} not installed",
        remedy=f"install it, or {_EXAMPLE}",
    )


def _open(url: URL, *, only_look: bool) -> sql.Engine:
    arguments = {"timeout": _BUSY_S} if url.get_dialect().name == "sqlite" else {}
    try:
        engine = sql.create_engine(url, connect_args=arguments, hide_parameters=True)
    except ModuleNotFoundError as error:
        raise _no_driver(error) from None
    if arguments and not only_look:
        sql.event.listen(engine, "connect", _keep_what_is_acknowledged)
    return engine


def _keep_what_is_acknowledged(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()
