"""Answer a stream of frames: always the newest, never late without saying so.

The rule: while the session is busy, one frame waits, and a newer one takes its place; a frame
that is older than ``max_age_s`` (or its deadline) when its turn comes is dropped. Both are
counted. So an answer is never later than that age and the time of one request.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from edgewise.errors import BadInput, EdgewiseError
from edgewise.running.answer import Answer
from edgewise.running.content import Input
from edgewise.running.equipment import Clock
from edgewise.running.session import Session
from edgewise.running.streaming.frame_sources import FrameSource, LiveFrames, Offered, PacedFrames
from edgewise.trace_summary import Quantiles

MAX_FPS = 1000.0
_LIVE_AGE_S = 0.1
_KEPT_DELAYS = 100_000  # a stream may go on for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameResult:
    """What came of a frame whose turn it was.

    Args:
        number: of the frame, from 0; those that are left out were dropped.
        age_s: from when it was due to its turn.
        delay_s: from when it was due to the answer.
        answer: ``None`` when there is none.
        error: why there is none.
        in_time: whether the answer came within the deadline; ``None`` without one.
    """

    number: int
    age_s: float
    delay_s: float
    answer: Answer | None
    error: EdgewiseError | None
    in_time: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSummary:
    """What came of a stream: offered = answered + unanswered + dropped + waiting.

    Args:
        offered: frames that came.
        answered: frames with an answer.
        unanswered: frames whose turn came and that have none.
        superseded: dropped because a newer one came while the session was busy.
        too_old: dropped because of their age when their turn came.
        waiting: 1 when one waits still.
        late: answers that missed the deadline.
        elapsed_s: from when the first frame was due.
        answers_per_s: sustained over that time.
        delay: from due to answer, of the newest 100 000 answers; ``None`` without any.
        routes: answers by route.
        reason: why the last unanswered frame has no answer.
        error: what ended the source of frames early.
    """

    offered: int
    answered: int
    unanswered: int
    superseded: int
    too_old: int
    waiting: int
    late: int
    elapsed_s: float
    answers_per_s: float
    delay: Quantiles | None
    routes: Mapping[str, int]
    reason: str
    error: str

    @property
    def dropped(self) -> int:
        """Frames that were given up for newer ones, or for their age."""
        return self.superseded + self.too_old


class Stream:
    """An iterator over the frames whose turn came; made by :func:`stream`."""

    def __init__(
        self,
        run: Callable[[Input, float | None], Answer],
        source: FrameSource,
        *,
        max_age_s: float,
        deadline_s: float | None,
        clock: Clock,
    ) -> None:
        self._run = run
        self._source = source
        self._deadline_s = deadline_s
        self._limit_s = max_age_s if deadline_s is None else min(max_age_s, deadline_s)
        self._clock = clock
        self._begun_s: float | None = None
        self._elapsed_s = 0.0
        self._too_old = self._unanswered = self._late = 0
        self._routes: Counter[str] = Counter()
        self._delays_s: deque[float] = deque(maxlen=_KEPT_DELAYS)
        self._reason = ""
        self._open = True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> FrameResult:
        while self._open and (frame := self._source.newest()) is not None:
            age_s = self._seconds_since(frame)
            if age_s <= self._limit_s:
                return self._answered(frame, age_s)
            self._too_old += 1
        self.close()
        raise StopIteration

    def summary(self) -> StreamSummary:
        """What came of the stream so far."""
        counts, error = self._source.counts, self._source.error
        answered = self._routes.total()
        elapsed_s = max(self._elapsed_s, self._source.lasts_s)
        return StreamSummary(
            offered=counts.offered,
            answered=answered,
            unanswered=self._unanswered,
            superseded=counts.superseded,
            too_old=self._too_old,
            waiting=counts.waiting,
            late=self._late,
            elapsed_s=elapsed_s,
            answers_per_s=answered / elapsed_s if elapsed_s else 0.0,
            delay=Quantiles.of(self._delays_s) if self._delays_s else None,
            routes=dict(self._routes),
            reason=self._reason,
            error="" if error is None else f"{type(error).__name__}: {error}",
        )

    def close(self) -> None:
        """Take no more frames; the session stays open."""
        self._open = False
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _seconds_since(self, frame: Offered) -> float:
        now_s = self._clock()
        if self._begun_s is None:
            self._begun_s = frame.due_s
        self._elapsed_s = now_s - self._begun_s
        return now_s - frame.due_s

    def _answered(self, frame: Offered, age_s: float) -> FrameResult:
        answer, error = None, None
        left_s = None if self._deadline_s is None else self._deadline_s - age_s
        try:
            answer = self._run(frame.value, left_s)
        except EdgewiseError as refusal:  # the next frame may fare better
            error = refusal
        delay_s = self._seconds_since(frame)
        in_time = None
        if answer is not None and self._deadline_s is not None:
            in_time = delay_s <= self._deadline_s
        result = FrameResult(
            number=frame.number,
            age_s=age_s,
            delay_s=delay_s,
            answer=answer,
            error=error,
            in_time=in_time,
        )
        self._count(result)
        return result

    def _count(self, result: FrameResult) -> None:
        if result.answer is None:
            self._unanswered += 1
            self._reason = str(result.error)
            return
        self._routes[result.answer.inference_source.route] += 1
        self._delays_s.append(result.delay_s)
        self._late += result.in_time is False


def stream(  # noqa: PLR0913 - each the choice of whoever streams
    session: Session,
    frames: Iterable[Input],
    *,
    fps: float | None = None,
    max_age_s: float | None = None,
    deadline_s: float | None = None,
    route: str | None = None,
    clock: Clock = time.perf_counter,
    pause: Callable[[float], None] = time.sleep,
) -> Stream:
    """Answer frames as they come, each time the newest.

    Frames that raise ``EdgewiseError`` are told one by one; a source that raises ends the stream,
    and ``summary().error`` says why.

    Args:
        session: answers one frame after the other.
        frames: what ``Session.run`` takes.
        fps: frames due in a second; ``None`` when ``frames`` waits for each by itself, as a
            camera does.
        max_age_s: older frames are dropped when their turn comes; by default the time between
            two frames, or 0.1 s when they come by themselves.
        deadline_s: from when a frame is due to its answer.
        route: take this one of those that the options allow, instead of the best.
        clock: seconds that only go forward.
        pause: waits so many seconds.

    Raises:
        BadInput: on a rate or a time that is none.

    Example::

        with connect("bundle", url) as session, stream(session, camera(), max_age_s=0.2) as frames:
            for frame in frames:
                print(frame.number, frame.delay_s, frame.answer or frame.error)
            print(frames.summary())
    """
    _check_times(fps, max_age_s, deadline_s)
    source: FrameSource
    if fps is None:
        source = LiveFrames(frames, clock=clock)
        longest_s = _LIVE_AGE_S
    else:
        source = PacedFrames(frames, fps=fps, clock=clock, pause=pause)
        longest_s = 1 / fps
    return Stream(
        lambda value, left_s: session.run(value, deadline_s=left_s, route=route),
        source,
        max_age_s=longest_s if max_age_s is None else max_age_s,
        deadline_s=deadline_s,
        clock=clock,
    )


def _check_times(fps: float | None, max_age_s: float | None, deadline_s: float | None) -> None:
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise BadInput(
            expected=f"a rate above 0 and up to {MAX_FPS:g} frames a second",
            found=f"{fps:g}",
            remedy="try 30",
        )
    for name, value in (("max_age_s", max_age_s), ("deadline_s", deadline_s)):
        if value is not None and not 0 < value < math.inf:
            raise BadInput(
                expected=f"{name} above 0 and finite",
                found=f"{value:g}",
                remedy="try 0.1, or leave it out",
            )
