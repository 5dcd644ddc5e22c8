"""``edgewise run --fps``: the device half on a stream."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from edgewise.bundle import Bundle
from edgewise.cli.answers import answer_json, error_about
from edgewise.cli.console import print_json, printable
from edgewise.cli.options import duration
from edgewise.cli.reports import read_reports, report_lines, reports_json
from edgewise.errors import BadInput, EdgewiseError
from edgewise.records import write_record
from edgewise.units import format_duration

if TYPE_CHECKING:
    from edgewise.running import FrameResult, Input, Session, Stream, StreamSummary

_DRAWN_EVERY_S = 0.5
_CLEAR_LINE = "\r\x1b[K"


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """The options that make the inputs a stream."""
    parser.add_argument(
        "--fps",
        type=float,
        metavar="N",
        help="take the inputs as a stream: N are due in a second, and the newest is answered",
    )
    parser.add_argument(
        "--max-age",
        type=duration,
        metavar="TIME",
        help="of a frame when its turn comes, or it is dropped (the time between two)",
    )
    parser.add_argument("--repeat", action="store_true", help="over and over, until Ctrl-C")
    parser.add_argument(
        "--for", type=duration, dest="lasts", metavar="TIME", help="over and over, so long"
    )


def check_stream_options(args: argparse.Namespace) -> None:
    """Refuse what makes no sense before anything is opened.

    Raises:
        BadInput: on options of a stream without one, and a stream of no length.
    """
    if args.fps is None and (args.repeat or args.max_age is not None or args.lasts is not None):
        raise BadInput(
            expected="--fps beside --max-age, --repeat or --for",
            found="none",
            remedy="try --fps 30",
        )
    if args.lasts == 0:
        raise BadInput(expected="--for a time above 0", found="0", remedy="try --for 10s")


def run_stream(
    args: argparse.Namespace,
    bundle: Bundle,
    session: Session,
    inputs: Iterable[tuple[str, Input]],
) -> int:
    """Answer a stream, and print what came of it; Ctrl-C ends it as its own end does."""
    from edgewise.running import stream

    named = list(inputs)  # so that no frame waits for a file with arrays to be read
    frames = stream(
        session,
        _frames(args, [value for _, value in named]),
        fps=args.fps,
        max_age_s=args.max_age,
        deadline_s=args.deadline,
        route=args.route,
    )
    report = _Report(bundle, [name for name, _ in named], as_json=args.json)
    with frames, report, contextlib.suppress(KeyboardInterrupt):
        for frame in frames:
            report.take(frame, frames)
    report.print(frames.summary(), args, session)
    return 0


def _frames(args: argparse.Namespace, values: Sequence[Input]) -> Iterable[Input]:
    if args.lasts is not None:
        count = min(math.ceil(args.fps * args.lasts), sys.maxsize)
        return itertools.islice(itertools.cycle(values), count)
    return itertools.cycle(values) if args.repeat else values


class _Report:
    """Shows a stream on a terminal while it goes on, and what came of it at the end."""

    def __init__(self, bundle: Bundle, names: Sequence[str], *, as_json: bool) -> None:
        self._bundle = bundle
        self._names = names
        self._as_json = as_json
        self._live = sys.stderr.isatty() and not as_json
        self._drawn_s = -math.inf
        self._results: list[Mapping[str, Any]] = []
        self._answered = False
        self._error: EdgewiseError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            print(_CLEAR_LINE, end="", file=sys.stderr, flush=True)

    def take(self, frame: FrameResult, frames: Stream) -> None:
        """Note one result.

        Raises:
            BadInput: when the first input does not fit, for the others will not either.
        """
        name = self._names[frame.number % len(self._names)]
        self._answered |= frame.answer is not None
        if frame.error is not None:
            self._error = frame.error
            if isinstance(frame.error, BadInput):
                self._error = error_about(name, frame.error)
                self._raise_unless_answered()
        if self._as_json:
            self._results.append(_frame_json(name, frame, self._bundle))
        if self._live and time.monotonic() - self._drawn_s > _DRAWN_EVERY_S:
            self._drawn_s = time.monotonic()
            line = _CLEAR_LINE + _live_words(frames.summary())
            print(line, end="", file=sys.stderr, flush=True)

    def print(self, summary: StreamSummary, args: argparse.Namespace, session: Session) -> None:
        """What came of it, and how the session was doing at its end.

        Raises:
            EdgewiseError: why no frame was answered.
        """
        self._raise_unless_answered()
        reports = read_reports(args, session)
        if self._as_json:
            told = {**write_record(summary), "dropped": summary.dropped}
            known = reports_json(self._bundle, session, reports)
            print_json({**known, "results": self._results, "summary": told})
            return
        for line in (*map(printable, _words(summary, fps=args.fps)), *report_lines(reports)):
            print(line)

    def _raise_unless_answered(self) -> None:
        if self._error is not None and not self._answered:
            raise self._error


def _frame_json(name: str, frame: FrameResult, bundle: Bundle) -> dict[str, Any]:
    told = {} if frame.answer is None else answer_json(name, frame.answer, bundle)
    return {
        **told,
        "input": name,
        "frame": frame.number,
        "age_s": frame.age_s,
        "delay_s": frame.delay_s,
        "deadline_met": frame.in_time,
        "error": None if frame.error is None else str(frame.error),
    }


def _live_words(summary: StreamSummary) -> str:
    delay = "" if summary.delay is None else f", delay {format_duration(summary.delay.p50_s)}"
    return (
        f"{summary.answered} answered, {summary.dropped} dropped, "
        f"{summary.answers_per_s:.1f} a second{delay}"
    )


def _words(summary: StreamSummary, *, fps: float) -> Iterator[str]:
    yield (
        f"frames  {summary.offered} offered, {summary.answered} answered, "
        f"{summary.superseded} dropped for a newer one, {summary.too_old} dropped as too old"
    )
    yield (
        f"rate    {summary.answers_per_s:.1f} answers a second of {fps:g} frames, "
        f"over {format_duration(summary.elapsed_s)}"
    )
    if summary.delay is not None:
        times = (summary.delay.p50_s, summary.delay.p95_s, summary.delay.p99_s)
        p50, p95, p99 = map(format_duration, times)
        yield f"delay   p50 {p50}, p95 {p95}, p99 {p99}, from when a frame is due"
    if summary.late:
        yield f"late    {summary.late} of {summary.answered} answers missed the deadline"
    taken = (f"{count} by {route}" for route, count in summary.routes.items())
    yield f"routes  {', '.join(taken) or 'none'}"
    if summary.unanswered:
        yield f"failed  {summary.unanswered} frames, the last because: {summary.reason}"
