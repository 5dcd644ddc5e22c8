"""Any sequence of submit, delivery, lost reply and crash: each key once, and none lost."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edgewise.running import NotStored, Outbox, OutboxLimits
from edgewise.serving import SubmissionStore
from edgewise.submission import Submission, read_submission

KEYS = st.sampled_from([f"k{i}" for i in range(6)])
ROOM = 4
SEAL = b"k" * 32


class SubmitOnce(RuleBasedStateMachine):
    """A device and a server on real files, and a model of what each must have."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now_s = 1000.0
        self.promised: dict[str, int] = {}
        self.settled: set[str] = set()
        self.outbox = self.opened()
        self.store = SubmissionStore(f"sqlite:///{self.folder.name}/s.db")

    def opened(self) -> Outbox:
        path = Path(self.folder.name) / "outbox.db"
        limits = OutboxLimits(max_items=ROOM)
        return Outbox(path, key=SEAL, limits=limits, clock=lambda: self.now_s)

    @rule(key=KEYS, value=st.integers(0, 2))
    def submit(self, key: str, value: int) -> None:
        other = self.promised.get(key, value) != value
        full = key not in self.promised and len(set(self.promised) - self.settled) >= ROOM
        submission = Submission(key=key, record={"value": value})
        if other or full:
            with pytest.raises(NotStored, match="other content" if other else "expected room"):
                self.outbox.put(submission, model="m")
            return
        self.outbox.put(submission, model="m")
        self.promised[key] = value

    @rule(crash=st.sampled_from(["", "before", "after", "reply"]))
    def deliver(self, crash: str) -> None:
        item = self.outbox.oldest("m")
        if item is None:
            assert set(self.promised) == self.settled
            return
        first = next(key for key in self.promised if key not in self.settled)
        assert item.key == first  # the one that waited longest
        if crash == "before":
            return self.crash()
        body, start = item.frame.body, item.frame.header_bytes
        stored, _ = self.store.store("m", read_submission(body, header_bytes=start), body, start)
        assert stored.digest == item.digest
        if crash == "reply":  # lost on the way: the device only knows that it failed
            self.outbox.failed(item.key, "the connection broke")
            return None
        if crash == "after":
            return self.crash()
        self.outbox.delivered(item.key)
        self.settled.add(item.key)
        return None

    @rule()
    def crash(self) -> None:
        """Nothing but the files is left; processes killed for real are tested elsewhere."""
        self.outbox.close()
        self.outbox = self.opened()

    @rule()
    def restart_the_server(self) -> None:
        self.store.close()
        self.store = SubmissionStore(f"sqlite:///{self.folder.name}/s.db")

    @rule(jump_s=st.sampled_from([-1e9, -3600.0, 0.0, 3600.0, 1e9]))
    def jump(self, jump_s: float) -> None:
        self.now_s += jump_s

    @invariant()
    def nothing_is_lost_and_nothing_is_there_twice(self) -> None:
        rows = [row.key for row in self.store.rows()]
        assert len(rows) == len(set(rows))
        waiting = {entry.key for entry in self.outbox.entries("waiting")}
        assert set(self.promised) <= set(rows) | waiting
        assert self.settled <= set(rows)

    def teardown(self) -> None:
        until: Callable[[], object] = lambda: self.outbox.oldest("m")  # noqa: E731
        while until():
            self.deliver("")
        values = {
            row.key: self.store.read("m", row.key).record["value"] for row in self.store.rows()
        }
        assert values == self.promised
        self.outbox.close()
        self.store.close()
        self.folder.cleanup()


TestSubmitOnce = SubmitOnce.TestCase
TestSubmitOnce.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
