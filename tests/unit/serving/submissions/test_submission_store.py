"""The server's table of submissions."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgewise.errors import BadInput
from edgewise.serving.submissions.stored import KeyTaken, Stored, StoreFailed
from edgewise.serving.submissions.submission_store import SubmissionStore
from edgewise.submission import Submission


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/s.db"


@pytest.fixture
def store(url: str) -> Iterator[SubmissionStore]:
    with SubmissionStore(url) as opened:
        yield opened


def keep(store: SubmissionStore, key: str, value: int = 1, *, model: str = "m") -> object:
    submission = Submission(key=key, record={"value": value}, bundle="b")
    frame = submission.frame()
    return store.store(model, submission, frame.body, frame.header_bytes)


def test_each_key_is_stored_once(url: str) -> None:
    times = iter([5.0, 6.0, 7.0, 8.0])
    with SubmissionStore(url, clock=lambda: next(times)) as store:
        first, known = keep(store, "a")
        assert not known
        assert keep(store, "a") == (first, True)
        assert first.stored_s == 5.0
        with pytest.raises(KeyTaken, match="expected for the key 'a' what was submitted under"):
            keep(store, "a", 2)
        assert keep(store, "a", 2, model="n")[1] is False  # another model's keys are its own
        assert [(row.model, row.key) for row in store.rows()] == [("m", "a"), ("n", "a")]


def test_what_was_stored_is_read_after_a_restart(url: str) -> None:
    logits = np.array([[1.5, -2]], np.float32)
    submission = Submission(key="a", tensors={"logits": logits}, record={"seen": "cat"})
    frame = submission.frame()
    with SubmissionStore(url) as store:
        store.store("m", submission, frame.body, frame.header_bytes)
    with SubmissionStore(url) as store:
        read = store.read("m", "a")
        assert read.record == {"seen": "cat"}
        np.testing.assert_array_equal(read.tensors["logits"], logits)
        with pytest.raises(BadInput, match="expected a key of a submission to 'm', found 'b'"):
            store.read("m", "b")


def test_all_rows_come_in_order_however_many(url: str) -> None:
    seconds = iter(range(1000))
    with SubmissionStore(url, clock=lambda: float(next(seconds))) as store:
        for i in range(230):
            keep(store, f"k{i}")
        rows = list(store.rows())
        assert [row.key for row in rows] == [f"k{i}" for i in range(230)]
        assert isinstance(rows[0], Stored)
        assert [row.key for row in store.rows(since_s=227.0)] == ["k227", "k228", "k229"]


def test_threads_with_one_key_store_it_once(store: SubmissionStore) -> None:
    outcomes: list[object] = []
    gate = threading.Barrier(6)

    def work() -> None:
        gate.wait()
        outcomes.append(keep(store, "a"))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(known for _, known in outcomes) == [False] + [True] * 5
    assert len({row for row, _ in outcomes}) == 1
    assert len(list(store.rows())) == 1


def test_processes_make_the_table_together(url: str) -> None:
    script = (
        "import sys\n"
        "from edgewise.serving import SubmissionStore\n"
        "from edgewise.submission import Submission\n"
        "store = SubmissionStore(sys.argv[1])\n"
        "for i in range(10):\n"
        "    one = Submission(key=str(i), record={'i': i})\n"
        "    frame = one.frame()\n"
        "    store.store('m', one, frame.body, frame.header_bytes)\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", script, url]) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    with SubmissionStore(url) as store:
        assert sorted(int(row.key) for row in store.rows()) == list(range(10))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "expected the address of a database as SQLAlchemy writes it, found 'nonsens"),
        ("frob://me:secret@host/db", "expected the address of a database .* found 'host/db'"),
        ("mysql+pymysql://me:secret@h/d", "found the module 'pymysql' not installed; install"),
        ("sqlite://", "expected a database that outlives the server, found one in memory"),
        ("sqlite:///:memory:", "expected a database that outlives the server"),
        ("sqlite:///file::memory:?uri=true", "expected the address of .* found the option 'uri'"),
        ("sqlite:///s.db?mode=ro", "an SQLite file without options, found the option 'mode'"),
    ],
)
def test_addresses_that_are_none(url: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        SubmissionStore(url)
    assert "secret" not in str(caught.value)


def test_a_database_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match=r"expected the database sqlite:///.* to be usable"):
        SubmissionStore(f"sqlite:///{tmp_path}/nowhere/s.db")
    (tmp_path / "garbage").write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreFailed, match="found: file is not a database"):
        SubmissionStore(f"sqlite:///{tmp_path}/garbage")


def test_a_failed_write_is_said_and_names_no_payload(url: str, store: SubmissionStore) -> None:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as db:
        db.execute("DROP TABLE edgewise_submissions")
    db.close()
    with pytest.raises(StoreFailed, match="no such table") as caught:
        keep(store, "a", 4711)
    assert "4711" not in str(caught.value)
