"""Streams on a virtual clock, and frames that come by themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from edgewise.errors import BadInput, LinkFailed
from edgewise.running import Answer, InferenceSource, Stream, stream
from edgewise.trace import Trace

SOURCE = InferenceSource(route="local", kind="local", reason="", agreement=None)
TRACE = Trace(request_id="1", bundle_digest="d", route="local", reason="", total_s=0.0, spans=())
ANSWER = Answer(outputs={}, inference_source=SOURCE, deadline_met=None, trace=TRACE)


@dataclass(slots=True)
class Time:
    """A clock that goes on when somebody waits or works."""

    now_s: float = 50.0

    def __call__(self) -> float:
        return self.now_s

    def pass_by(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass(slots=True)
class Busy:
    """Answers as a session does, so many seconds after each call."""

    time: Time
    takes_s: Callable[[int], float] = lambda number: 0.0
    fails: Callable[[int], Exception | None] = lambda number: None
    seen: list[tuple[int, float | None]] = field(default_factory=list)

    def run(self, value: int, *, deadline_s: float | None, route: str | None) -> Answer:
        self.seen.append((value, deadline_s))
        self.time.pass_by(self.takes_s(value))
        error = self.fails(value)
        if error is not None:
            raise error
        return ANSWER


def paced(busy: Busy, frames: object, **settings: object) -> Stream:
    return stream(busy, frames, clock=busy.time, pause=busy.time.pass_by, **settings)


def numbers(results: Stream) -> list[int]:
    return [result.number for result in results]


def test_a_session_that_keeps_up_answers_every_frame_when_it_is_due() -> None:
    busy = Busy(Time(), takes_s=lambda _: 0.0625)
    begun_s = busy.time.now_s
    frames = paced(busy, range(8), fps=8)
    for result in frames:
        assert (result.age_s, result.delay_s, result.in_time) == (0.0, 0.0625, None)
        assert busy.time.now_s == begun_s + result.number / 8 + 0.0625
    summary = frames.summary()
    assert (summary.offered, summary.answered, summary.dropped) == (8, 8, 0)
    assert (summary.elapsed_s, summary.answers_per_s) == (1.0, 8.0)
    assert summary.delay is not None
    assert summary.delay.p99_s == 0.0625
    assert summary.routes == {"local": 8}


def test_a_slow_session_answers_the_newest_frame_each_time() -> None:
    frames = paced(Busy(Time(), takes_s=lambda _: 0.3125), range(9), fps=8)
    assert numbers(frames) == [0, 2, 5, 7]
    summary = frames.summary()
    assert (summary.superseded, summary.too_old, summary.waiting) == (4, 1, 0)
    assert summary.answers_per_s == pytest.approx(4 / summary.elapsed_s)


def test_a_frame_that_is_too_old_when_its_turn_comes_is_dropped() -> None:
    """The last one waits for no newer one: at its turn it is older than a period."""
    busy = Busy(Time(), takes_s=lambda _: 1.0)
    assert numbers(paced(busy, range(3), fps=8)) == [0]
    frames = paced(busy, range(3), fps=8, max_age_s=2.0)
    assert [(result.number, result.age_s) for result in frames] == [(0, 0.0), (2, 0.75)]
    assert (frames.summary().superseded, frames.summary().too_old) == (1, 0)


def test_no_pause_is_longer_than_the_system_allows() -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    frames = stream(Busy(Time()), [0, 1], fps=1e-320, clock=lambda: 0.0, pause=pause)
    with pytest.raises(KeyboardInterrupt):
        list(frames)
    assert pauses == [3600.0] * 3


def test_the_deadline_counts_from_when_the_frame_was_due() -> None:
    busy = Busy(Time(), takes_s=lambda number: 0.375 if number else 0.1875)
    frames = paced(busy, range(3), fps=8, deadline_s=0.25, max_age_s=1.0)
    assert [(result.number, result.in_time) for result in frames] == [(0, True), (1, False)]
    assert busy.seen == [(0, 0.25), (1, 0.1875)]  # what is left of it
    assert frames.summary().late == 1
    assert frames.summary().too_old == 1  # the deadline is over when its turn comes


def test_a_frame_without_an_answer_is_told_and_the_next_one_answered() -> None:
    errors = {
        1: LinkFailed("the connection was refused"),
        2: BadInput(expected="a photo", found="noise", remedy="try another"),
    }
    frames = paced(Busy(Time(), fails=errors.get), range(4), fps=8)
    results = list(frames)
    assert [result.error for result in results] == [None, errors[1], errors[2], None]
    assert [result.answer for result in results] == [ANSWER, None, None, ANSWER]
    summary = frames.summary()
    assert (summary.offered, summary.answered, summary.unanswered) == (4, 2, 2)
    assert summary.reason == "expected a photo, found noise; try another"
    assert summary.error == ""


def _breaks_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise OSError("the camera was unplugged")


@pytest.mark.parametrize("fps", [8.0, None])
def test_a_source_that_raises_ends_the_stream_and_the_answers_are_kept(
    fps: float | None,
) -> None:
    frames = paced(Busy(Time()), _breaks_after(1), fps=fps)
    assert numbers(frames) == [0]
    assert frames.summary().error == "OSError: the camera was unplugged"
    assert frames.summary().answered == 1
    assert list(frames) == []


def test_a_source_slower_than_its_rate_ends_all_the_same() -> None:
    time = Time()

    def slow() -> Iterator[int]:
        for i in range(20):
            time.pass_by(1.0)
            yield i

    frames = paced(Busy(time), slow(), fps=8)
    list(frames)
    summary = frames.summary()
    assert summary.offered == summary.answered + summary.dropped == 20


@pytest.mark.parametrize("fps", [8.0, None])
def test_nothing_to_answer(fps: float | None) -> None:
    frames = paced(Busy(Time()), [], fps=fps)
    assert list(frames) == []
    summary = frames.summary()
    assert (summary.offered, summary.answers_per_s, summary.delay) == (0, 0.0, None)


def test_a_closed_stream_takes_no_more() -> None:
    with paced(Busy(Time()), range(100), fps=8) as frames:
        next(frames)
    assert list(frames) == []
    assert frames.summary().offered == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fps": 0}, "expected a rate above 0 and up to 1000 frames a second, found 0; try 30"),
        ({"fps": float("nan")}, "expected a rate above 0 .* found nan"),
        ({"fps": 1e9}, "expected a rate above 0 .* found 1e"),
        ({"fps": 8, "max_age_s": 0}, "expected max_age_s above 0 and finite, found 0; try 0.1"),
        ({"deadline_s": float("inf")}, "expected deadline_s above 0 and finite, found inf"),
    ],
)
def test_rates_and_times_that_are_none(settings: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        paced(Busy(Time()), [], **settings)


# Frames that come by themselves


@dataclass(slots=True)
class Camera:
    """Gives a frame when it is told to, and says when all of them were taken."""

    told: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    released: threading.Event = field(default_factory=threading.Event)

    def frames(self) -> Iterator[int]:
        number = 0
        try:
            while True:
                self.asked.release()
                assert self.told.acquire(timeout=60)
                yield number
                number += 1
        finally:
            self.released.set()

    def give(self, count: int) -> None:
        """So many frames, until the stream asks for one more."""
        for _ in range(count):
            assert self.asked.acquire(timeout=60)
            self.told.release()
        assert self.asked.acquire(timeout=60)
        self.asked.release()


def test_frames_that_come_while_the_session_is_busy_take_each_other_s_place() -> None:
    camera, time = Camera(), Time()

    def takes_s(number: int) -> float:
        if number == 0:
            camera.give(4)  # 1, 2, 3 and 4
        return 0.0

    with paced(Busy(time, takes_s=takes_s), camera.frames()) as frames:
        camera.give(1)
        assert [next(frames).number, next(frames).number] == [0, 4]
        summary = frames.summary()
        assert (summary.offered, summary.superseded, summary.answered) == (5, 3, 2)
        camera.give(1)
        assert frames.summary().waiting == 1
        camera.told.release()  # lets the camera see that nobody takes frames any more
    assert camera.released.wait(60)


def test_a_frame_that_waited_too_long_for_its_turn_is_dropped() -> None:
    camera, time = Camera(), Time()

    def takes_s(number: int) -> float:
        if number == 0:
            camera.give(1)
            time.pass_by(0.5)  # longer than 0.1 s, the default
        return 0.0

    with paced(Busy(time, takes_s=takes_s), camera.frames()) as frames:
        camera.give(1)
        assert next(frames).number == 0
        threading.Timer(0.05, camera.told.release).start()
        assert next(frames).number == 2
        assert frames.summary().too_old == 1
        camera.told.release()


def test_arrays_are_frames() -> None:
    time = Time()
    seen: list[object] = []

    class Looks:
        def run(self, value: object, **_: object) -> Answer:
            seen.append(value)
            return ANSWER

    values = [np.zeros(3), np.ones(3)]
    assert len(list(stream(Looks(), values, fps=8, clock=time, pause=time.pass_by))) == 2
    assert seen == values
