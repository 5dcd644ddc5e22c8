"""Streams of any rate, sessions of any speed: every frame is accounted for."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from edgewise.errors import LinkFailed
from edgewise.running import Answer, InferenceSource, stream
from edgewise.trace import Trace

SOURCE = InferenceSource(route="local", kind="local", reason="", agreement=None)
TRACE = Trace(request_id="1", bundle_digest="d", route="local", reason="", total_s=0.0, spans=())
ANSWER = Answer(outputs={}, inference_source=SOURCE, deadline_met=None, trace=TRACE)
SOON_S = 1e-9  # as exact as sums of seconds are


@dataclass(slots=True)
class World:
    """A clock, and a session whose answers take the given times in turn."""

    takes_s: list[float]
    fails: list[bool]
    now_s: float = 0.0
    calls: int = 0

    def clock(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.now_s += seconds

    def run(self, value: int, *, deadline_s: float | None, route: str | None) -> Answer:
        number = self.calls
        self.calls += 1
        self.now_s += self.takes_s[number % len(self.takes_s)]
        if self.fails[number % len(self.fails)]:
            raise LinkFailed("gone")
        return ANSWER


@given(
    count=st.integers(0, 60),
    fps=st.floats(0.5, 200),
    takes_s=st.lists(st.floats(0, 2), min_size=1, max_size=8),
    fails=st.lists(st.booleans(), min_size=1, max_size=5),
    max_age_s=st.none() | st.floats(0.001, 3),
    deadline_s=st.none() | st.floats(0.001, 3),
    stop_after=st.none() | st.integers(0, 10),
)
def test_every_frame_is_accounted_for(
    count: int,
    fps: float,
    takes_s: list[float],
    fails: list[bool],
    max_age_s: float | None,
    deadline_s: float | None,
    stop_after: int | None,
) -> None:
    world = World(takes_s, fails)
    pulled = iter(range(count))
    with stream(
        world,
        pulled,
        fps=fps,
        max_age_s=max_age_s,
        deadline_s=deadline_s,
        clock=world.clock,
        pause=world.pause,
    ) as frames:
        results = []
        for result in frames:
            results.append(result)
            newest_due = int((world.now_s - result.delay_s + result.age_s) * fps + SOON_S)
            assert result.number >= min(newest_due, count - 1)  # at its turn none was newer
            if len(results) == stop_after:
                break
    summary = frames.summary()

    assert summary.offered == count - len(list(pulled))
    assert summary.offered == (
        summary.answered + summary.unanswered + summary.dropped + summary.waiting
    )
    assert summary.answered == sum(result.answer is not None for result in results)
    assert summary.unanswered == sum(result.error is not None for result in results)
    assert summary.waiting in (0, 1)

    tried = [result.number for result in results]
    assert tried == sorted(set(tried))
    limit_s = min(max_age_s or 1 / fps, deadline_s or 1 / SOON_S)
    for number, result in enumerate(results):
        assert -SOON_S <= result.age_s <= limit_s + SOON_S
        assert result.delay_s <= limit_s + takes_s[number % len(takes_s)] + SOON_S
        if deadline_s is not None and result.answer is not None:
            assert result.in_time is (result.delay_s <= deadline_s)
    assert summary.late == sum(result.in_time is False for result in results)
    assert summary.answers_per_s <= fps * (1 + SOON_S)
