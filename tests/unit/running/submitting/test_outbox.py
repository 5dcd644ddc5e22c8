"""The outbox: room, ages, keys, encryption, damage, and clocks that jump."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgewise.errors import BadInput
from edgewise.running.submitting.outbox import Outbox
from edgewise.running.submitting.outbox_file import NotStored
from edgewise.running.submitting.outbox_items import OutboxLimits
from edgewise.submission import Submission, read_submission

KEY, OTHER = b"k" * 32, b"o" * 32
DAY_S = 86_400.0


@dataclass(slots=True)
class Clock:
    now_s: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    with Outbox(path) as opened:
        yield opened


def item(key: str, value: object = 1) -> Submission:
    return Submission(key=key, record={"value": value})


def keys(outbox: Outbox, *states: str) -> list[str]:
    return [entry.key for entry in outbox.entries(*states)]


def test_what_is_stored_is_there_after_a_restart_in_order(path: Path) -> None:
    clock = Clock()
    with Outbox(path, clock=clock) as outbox:
        for key in "abc":
            clock.now_s -= 5  # the order is that of coming, whatever the clock says
            outbox.put(item(key, key), model="m")
    with Outbox(path) as outbox:
        assert keys(outbox, "waiting") == ["a", "b", "c"]
        waiting = outbox.oldest("m")
        assert waiting is not None
        read = read_submission(waiting.frame.body, header_bytes=waiting.frame.header_bytes)
        assert (read.key, read.record) == ("a", {"value": "a"})
        assert waiting.digest == item("a", "a").digest
        assert outbox.oldest("other") is None


def test_one_key_counts_once(outbox: Outbox) -> None:
    first = outbox.put(item("a"), model="m")
    assert outbox.put(item("a"), model="m") == first
    for submission, model in ((item("a", 2), "m"), (item("a"), "n")):
        with pytest.raises(NotStored) as caught:
            outbox.put(submission, model=model)
        assert str(caught.value) == (
            "expected for the key 'a' what was submitted under it before, found other content;"
            " use a new key for something new"
        )
    assert len(outbox.entries()) == 1


def test_a_delivered_key_keeps_its_receipt_and_loses_its_payload(path: Path) -> None:
    secret = "nobody keeps this"
    with Outbox(path) as outbox:
        first = outbox.put(item("a", secret), model="m")
        outbox.delivered("a")
        assert outbox.oldest("m") is None
        assert outbox.put(item("a", secret), model="m") == first
        assert keys(outbox, "delivered") == ["a"]
        with pytest.raises(NotStored, match="other content"):
            outbox.put(item("a", 2), model="m")
    assert secret.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (OutboxLimits(max_items=2), "expected room in an outbox of 2 items"),
        (OutboxLimits(max_bytes=500), "expected room in an outbox of 10000 items and 500 bytes"),
    ],
)
def test_a_full_outbox_says_so_and_keeps_what_it_has(
    path: Path, limits: OutboxLimits, message: str
) -> None:
    with Outbox(path, limits=limits) as outbox:
        outbox.put(item("a"), model="m")
        outbox.put(item("b"), model="m")
        with pytest.raises(NotStored) as caught:
            outbox.put(item("c"), model="m")
        assert str(caught.value).startswith(message)
        assert "nothing was stored: flush it" in str(caught.value)
        outbox.put(item("a"), model="m")  # it is there already
        outbox.set_aside("a", "a test says so")
        with pytest.raises(NotStored):  # that still takes room
            outbox.put(item("c"), model="m")
        outbox.delivered("b")
        outbox.put(item("c"), model="m")
        assert keys(outbox) == ["a", "b", "c"]


def test_one_item_that_is_too_large(path: Path) -> None:
    with Outbox(path, limits=OutboxLimits(max_item_bytes=1000)) as outbox:
        with pytest.raises(NotStored, match="expected at most 1000 bytes to submit at once"):
            outbox.put(Submission(key="a", tensors={"x": np.zeros(1000, np.uint8)}), model="m")
        assert outbox.entries() == ()


def test_aged_items_are_set_aside_listed_and_restored(path: Path) -> None:
    clock = Clock()
    with Outbox(path, limits=OutboxLimits(max_age_s=3600), clock=clock) as outbox:
        outbox.put(item("old"), model="m")
        outbox.put(item("sent"), model="m")
        outbox.delivered("sent")
        clock.now_s += 3000
        outbox.put(item("new"), model="m")
        clock.now_s += 1000
        outbox.set_aged_aside()
        (aside,) = outbox.entries("aside")
        assert (aside.key, aside.reason) == ("old", "it waited longer than 3600 s")
        assert keys(outbox, "waiting") == ["new"]
        assert keys(outbox, "delivered") == []
        outbox.restore("old")
        outbox.set_aged_aside()
        assert keys(outbox, "waiting") == ["old", "new"]
        outbox.set_aside("old", "")
        outbox.discard("old")
        assert keys(outbox) == ["new"]


@pytest.mark.parametrize("verb", ["restore", "discard"])
def test_only_what_was_set_aside_is_restored_or_discarded(outbox: Outbox, verb: str) -> None:
    outbox.put(item("a"), model="m")
    for key in ("a", "b"):
        with pytest.raises(BadInput, match="expected the key of an item that was set aside"):
            getattr(outbox, verb)(key)
    assert keys(outbox, "waiting") == ["a"]


@pytest.mark.parametrize("jump_s", [3650 * DAY_S, -3650 * DAY_S])
def test_a_clock_that_jumps_ages_nothing(path: Path, jump_s: float) -> None:
    clock = Clock()
    limits = OutboxLimits(max_age_s=2 * DAY_S)
    with Outbox(path, limits=limits, clock=clock) as outbox:
        outbox.put(item("a"), model="m")
        clock.now_s += jump_s
        outbox.put(item("b"), model="m")
        outbox.set_aged_aside()
    with Outbox(path, limits=limits, clock=clock) as outbox:
        clock.now_s -= jump_s
        outbox.set_aged_aside()
        assert keys(outbox, "waiting") == ["a", "b"]
        for _ in range(5):  # days that pass one by one do count
            clock.now_s += DAY_S / 2
            outbox.set_aged_aside()
        assert keys(outbox, "aside") == ["a", "b"]


def test_encrypted_payloads_cannot_be_read_from_the_file(path: Path) -> None:
    secret = "a diagnosis that nobody may read"
    with Outbox(path, key=KEY) as outbox:
        outbox.put(item("a", secret), model="m", sensitive=True)
        everything = b"".join(file.read_bytes() for file in path.parent.iterdir())
    everything += path.read_bytes()
    assert secret.encode() not in everything
    assert KEY not in everything
    assert item("a", secret).digest.encode() not in everything
    with Outbox(path, key=KEY) as outbox:
        waiting = outbox.oldest("m")
        assert waiting is not None
        assert secret.encode() in waiting.frame.body


@pytest.mark.parametrize(("key", "found"), [(OTHER, "another one"), (None, "none")])
def test_a_wrong_key_is_refused_and_nothing_is_lost(
    path: Path, key: bytes | None, found: str
) -> None:
    with Outbox(path, key=KEY) as outbox:
        outbox.put(item("a"), model="m")
    with pytest.raises(BadInput, match=f"expected the key that encrypts .* found {found}; pass"):
        Outbox(path, key=key)
    with Outbox(path, key=KEY) as outbox:
        assert outbox.oldest("m") is not None


def test_a_key_may_come_later(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.put(item("a"), model="m")
    with Outbox(path, key=KEY) as outbox:
        outbox.put(item("b"), model="m")
        for key in "ab":
            waiting = outbox.oldest("m")
            assert waiting is not None
            assert waiting.key == key
            outbox.delivered(key)


def test_sensitive_data_needs_a_key(outbox: Outbox) -> None:
    with pytest.raises(NotStored, match="expected an outbox that encrypts, for data marked sens"):
        outbox.put(item("a"), model="m", sensitive=True)
    assert outbox.entries() == ()


def test_an_item_that_was_changed_on_disk_is_set_aside(path: Path) -> None:
    with Outbox(path, key=KEY) as outbox:
        for key in "ab":
            outbox.put(item(key), model="m")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE items SET body = (SELECT body FROM items WHERE key = 'b')")
    db.close()
    with Outbox(path, key=KEY) as outbox:
        waiting = outbox.oldest("m")
        assert waiting is not None
        assert waiting.key == "b"
        (aside,) = outbox.entries("aside")
        assert (aside.key, aside.reason) == ("a", "it was changed on disk: its seal is broken")


def _garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(5000))


def _overwritten(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[4096:] = random.Random(1).randbytes(len(raw) - 4096)
    path.write_bytes(raw)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:6000])


@pytest.mark.parametrize("damage", [_garbage, _overwritten, _truncated])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    with Outbox(path) as outbox:
        outbox.put(item("a"), model="m")
    for number in (1, 2):
        damage(path)
        broken = path.read_bytes()
        with caplog.at_level(logging.WARNING), Outbox(path) as outbox:
            aside = path.with_name(f"outbox.db.damaged-{number}")
            assert outbox.damaged == aside
            assert outbox.entries() == ()
            outbox.put(item("b"), model="m")
        assert aside.read_bytes() == broken
        assert f"set aside as {aside.name}, a new one begun" in caplog.text
        with Outbox(path) as outbox:
            assert outbox.damaged is None
            assert keys(outbox) == ["b"]


def test_the_log_of_a_file_that_was_emptied_is_set_aside_with_it(path: Path) -> None:
    _python(
        "import os, sys; from edgewise.running import Outbox;"
        "from edgewise.submission import Submission; outbox = Outbox(sys.argv[1]);"
        "outbox.put(Submission(key='a', record={'seen': 1}), model='m'); os._exit(0)",
        path,
    )
    log = path.with_name("outbox.db-wal").read_bytes()
    assert log
    path.write_bytes(b"")
    with Outbox(path) as outbox:
        assert outbox.damaged == path.with_name("outbox.db.damaged-1")
        assert path.with_name("outbox.db.damaged-1-wal").read_bytes() == log
        outbox.put(item("b"), model="m")
    with Outbox(path) as outbox:
        assert keys(outbox) == ["b"]


def test_a_damaged_file_is_not_taken_from_under_another_process(path: Path) -> None:
    with Outbox(path):
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        _garbage(path)
        other = _python(f"from edgewise.running import Outbox; Outbox({str(path)!r})")
    assert "found another process that uses the damaged file; end that process" in other.stderr
    assert not list(path.parent.glob("*.damaged*"))


@pytest.mark.parametrize("version", [0, 99])
def test_files_of_others_stay_as_they_are(path: Path, version: int) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
        db.execute(f"PRAGMA user_version = {version}")
        if version:
            db.execute(f"PRAGMA application_id = {0x65646765}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(
        BadInput, match=r"expected the outbox of this edgewise at .*; name another"
    ):
        Outbox(path)
    assert path.read_bytes() == before


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(NotStored, match=r"expected a place for the outbox at .*No such file"):
        Outbox(tmp_path / "nowhere" / "outbox.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotStored, match="no way to open it"):
        Outbox(tmp_path / "folder")


def test_a_closed_outbox_says_so(path: Path) -> None:
    outbox = Outbox(path)
    outbox.close()
    outbox.close()
    with pytest.raises(NotStored, match="expected an open outbox, found a closed one"):
        outbox.put(item("a"), model="m")


def test_a_failed_delivery_is_counted_and_waits(outbox: Outbox) -> None:
    outbox.put(item("a"), model="m")
    outbox.failed("a", "w" * 1000)
    (entry,) = outbox.entries("waiting")
    assert (entry.attempts, entry.reason) == (1, "w" * 300)


def test_two_processes_write_at_once_and_nothing_is_lost(path: Path) -> None:
    script = (
        "import sys\n"
        "from edgewise.running import Outbox\n"
        "from edgewise.submission import Submission\n"
        "outbox = Outbox(sys.argv[1])\n"
        "for i in range(60):\n"
        "    outbox.put(Submission(key=f'{sys.argv[2]}-{i}', record={'i': i}), model='m')\n"
        "    outbox.put(Submission(key=f'both-{i}', record={'i': i}), model='m')\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in "ab"]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    wanted = {f"{name}-{i}" for name, i in itertools.product(("a", "b", "both"), range(60))}
    with Outbox(path) as outbox:
        found = keys(outbox)
    assert len(found) == len(wanted)
    assert set(found) == wanted


FILLS = """
import resource, sys
from edgewise.running import NotStored, Outbox
from edgewise.submission import Submission
outbox = Outbox(sys.argv[1])
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
for i in range(1000):
    try:
        outbox.put(Submission(key=f"k-{i}", record={"text": "x" * 4000}), model="m")
    except NotStored as error:
        print(error)
        sys.exit(5)
    print(f"k-{i}", flush=True)
"""


def test_a_disk_that_refuses_to_write_is_told_and_loses_nothing(path: Path) -> None:
    done = _python(FILLS, path, "limit")
    assert done.returncode == 5, done.stderr
    *told, error = done.stdout.splitlines()
    assert error.startswith(f"expected the outbox {path} to be usable, found ")
    assert "nothing was stored: free space, then submit again under the same key" in error
    assert len(told) > 5
    with Outbox(path) as outbox:
        assert keys(outbox) == told


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine may not mount a small disk")
    try:
        path = disk / "outbox.db"
        done = _python(FILLS, path)
        *told, error = done.stdout.splitlines()
        assert done.returncode == 5, done.stderr
        assert "found no space left on its disk; nothing was stored: free space" in error
        assert len(told) > 5
        with Outbox(path) as outbox:
            assert keys(outbox) == told
            for key in told:
                outbox.delivered(key)  # and room comes back
            outbox.put(item("after"), model="m")
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(512))
        with Outbox(path) as outbox:  # opened on a disk that has been full before
            outbox.delivered("after")
            assert keys(outbox, "waiting") == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


KILLED = """
import os, random, signal, sys, time
from edgewise.running import Outbox
from edgewise.submission import Submission, read_submission

path, rounds = sys.argv[1], int(sys.argv[2])
chance = random.Random(7)
told = []
for number in range(rounds):
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        os.close(reads)
        outbox = Outbox(path)
        i = 0
        while True:
            key = f"{number}-{i}"
            outbox.put(Submission(key=key, record={"key": key, "x": "x" * 3000}), model="m")
            os.write(writes, f"{key}\\n".encode())
            i += 1
    os.close(writes)
    begun = os.read(reads, 4096) if number % 2 else b""  # or while it opens the file
    time.sleep(chance.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reads) as pipe:
        said = (begun.decode() + pipe.read()).split()
    told += said
    with Outbox(path) as outbox:
        assert outbox.damaged is None
        found = [entry.key for entry in outbox.entries()]
        missing = set(told) - set(found)
        assert not missing, missing
        assert len(found) - len(told) <= number + 1  # the one under way may be there or not
        assert len(found) == len(set(found))
with Outbox(path) as outbox:
    while waiting := outbox.oldest("m"):
        read = read_submission(waiting.frame.body, header_bytes=waiting.frame.header_bytes)
        assert read.record["key"] == waiting.key and read.digest == waiting.digest
        outbox.delivered(waiting.key)
print(len(told))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be killed")
def test_a_process_killed_at_any_moment_loses_nothing_that_it_was_told_is_stored(
    path: Path,
) -> None:
    done = _python(KILLED, path, 40)
    assert done.returncode == 0, done.stderr
    told = int(done.stdout)
    assert told >= 20


def _python(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
