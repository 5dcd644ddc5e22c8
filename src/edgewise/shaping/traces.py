"""Rates that vary in time: recorded traces, read, checked and integrated."""

from __future__ import annotations

import itertools
import math
import os
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from pathlib import Path

from edgewise.errors import BadInput

_BYTES_PER_MBIT = 1e6 / 8
_MAX_FILE_BYTES = 16_000_000
_MAX_LINES = 200_000
_ROUNDING = 1e-12  # of sums of floats, relative
_REMEDY = "write one line 'seconds Mbit/s' for each change of the rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTrace:
    """A rate that changes at given times and starts again after a period.

    Args:
        starts_s: when each rate begins; the first is 0, the others rise.
        rates_bytes_per_s: the rate from each start to the next; zero means nothing flows.
        period_s: when the trace starts again.

    Raises:
        BadInput: when the times do not rise or nothing would ever flow.

    >>> trace = RateTrace(starts_s=(0.0, 1.0), rates_bytes_per_s=(100.0, 300.0), period_s=2.0)
    >>> trace.mean_rate_bytes_per_s, trace.bytes_by(3.5), trace.finish_s(0.5, 200)
    (200.0, 650.0, 1.5)
    """

    starts_s: tuple[float, ...]
    rates_bytes_per_s: tuple[float, ...]
    period_s: float
    _before_bytes: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _after_bytes: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_times(self.starts_s, self.period_s)
        _check_rates(self.rates_bytes_per_s, len(self.starts_s))
        ends_s = (*self.starts_s[1:], self.period_s)
        spans_s = (end - start for start, end in zip(self.starts_s, ends_s, strict=True))
        parts = (r * span for r, span in zip(self.rates_bytes_per_s, spans_s, strict=True))
        sums = tuple(itertools.accumulate(parts, initial=0.0))
        object.__setattr__(self, "_before_bytes", sums[:-1])
        object.__setattr__(self, "_after_bytes", sums[1:])

    @classmethod
    def constant(cls, rate_bytes_per_s: float) -> RateTrace:
        """The trace of a rate that never changes."""
        return cls(starts_s=(0.0,), rates_bytes_per_s=(rate_bytes_per_s,), period_s=1.0)

    def capped(self, limit_bytes_per_s: float) -> RateTrace:
        """The same trace, nowhere faster than the limit."""
        return RateTrace(
            starts_s=self.starts_s,
            rates_bytes_per_s=tuple(min(r, limit_bytes_per_s) for r in self.rates_bytes_per_s),
            period_s=self.period_s,
        )

    @property
    def mean_rate_bytes_per_s(self) -> float:
        """Bytes of one period, divided by the period."""
        return self._after_bytes[-1] / self.period_s

    def rate_at(self, time_s: float) -> float:
        """Bytes per second at a time, counted from the start of the trace."""
        return self.rates_bytes_per_s[bisect_right(self.starts_s, time_s % self.period_s) - 1]

    def bytes_by(self, time_s: float) -> float:
        """Integral of the rate from the start of the trace to a time."""
        periods, rest_s = divmod(time_s, self.period_s)
        i = bisect_right(self.starts_s, rest_s) - 1
        within = self._before_bytes[i] + self.rates_bytes_per_s[i] * (rest_s - self.starts_s[i])
        return periods * self._after_bytes[-1] + within

    def finish_s(self, start_s: float, size_bytes: float) -> float:
        """The earliest time by which so many bytes have flowed since a start."""
        if size_bytes <= 0:
            return start_s
        total = self._after_bytes[-1]
        goal = self.bytes_by(start_s) + size_bytes
        periods, rest = divmod(goal, total)
        # The last byte of a period, up to rounding, and not the first moment of the next.
        if periods > 0 and rest <= _ROUNDING * goal:
            periods, rest = periods - 1, total
        i = bisect_left(self._after_bytes, rest)
        within_s = (rest - self._before_bytes[i]) / self.rates_bytes_per_s[i]
        return max(start_s, periods * self.period_s + self.starts_s[i] + within_s)


def _check_times(starts_s: tuple[float, ...], period_s: float) -> None:
    times = (*starts_s, period_s)
    rising = all(a < b for a, b in itertools.pairwise(times))
    if not starts_s or starts_s[0] != 0 or not rising or not math.isfinite(period_s):
        raise BadInput(
            expected="a trace of rising times from 0",
            found=f"{len(starts_s)} times and a period of {period_s} s",
            remedy="sort the times, each once",
        )


def _check_rates(rates: tuple[float, ...], count: int) -> None:
    if len(rates) != count or not all(0 <= rate < math.inf for rate in rates):
        raise BadInput(
            expected=f"{count} finite rates of at least 0 in a trace",
            found=f"{len(rates)} rates, from {min(rates, default=0)} to {max(rates, default=0)}",
            remedy="correct the rates",
        )
    if max(rates) == 0:
        raise BadInput(
            expected="a trace in which something flows",
            found="only rates of 0",
            remedy="give at least one rate above 0; for a dead link use an outage",
        )


def read_rate_trace(path: Path) -> RateTrace:
    r"""Read a recorded trace: lines of ``seconds Mbit/s``, as in published data sets.

    Each rate holds until the next line; the last one holds for the mean spacing of the lines,
    then the trace starts again. Times count from the first line.

    Args:
        path: a text file.

    Raises:
        BadInput: when the file cannot be read, or a line is not two numbers in rising time.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "trace.txt"
    ...     _ = file.write_text("10.0 8.0\n15.0 16.0\n")
    ...     trace = read_rate_trace(file)
    >>> trace.starts_s, trace.rates_bytes_per_s, trace.period_s
    ((0.0, 5.0), (1000000.0, 2000000.0), 10.0)
    """
    lines = _read_text(path).splitlines()
    rows = [(i, line) for i, line in enumerate(lines, start=1) if line.strip()]
    if not 1 <= len(rows) <= _MAX_LINES:
        raise BadInput(
            expected=f"1 to {_MAX_LINES} lines in the trace {path}",
            found=f"{len(rows)}",
            remedy=_REMEDY,
        )
    points = [_read_line(line, f"line {i} of {path}") for i, line in rows]
    for (i, _), (before_s, _), (time_s, _) in zip(rows[1:], points, points[1:], strict=False):
        if time_s <= before_s:
            raise BadInput(
                expected=f"a time after {before_s} s in line {i} of {path}",
                found=f"{time_s} s",
                remedy="sort the lines by time, each time once",
            )
    return _join(points, path)


def _join(points: list[tuple[float, float]], path: Path) -> RateTrace:
    first_s, last_s = points[0][0], points[-1][0]
    spacing_s = (last_s - first_s) / (len(points) - 1) if len(points) > 1 else 1.0
    if not any(rate for _, rate in points):
        raise BadInput(
            expected=f"a rate above 0 somewhere in the trace {path}",
            found="only rates of 0",
            remedy="for a dead link use an outage",
        )
    return RateTrace(
        starts_s=tuple(time_s - first_s for time_s, _ in points),
        rates_bytes_per_s=tuple(rate * _BYTES_PER_MBIT for _, rate in points),
        period_s=last_s - first_s + spacing_s,
    )


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
        text = raw.decode("ascii")
    except OSError as error:
        raise BadInput(
            expected=f"a readable trace at {path}",
            found=error.strerror or "an error",
            remedy="check the path",
        ) from None
    except UnicodeDecodeError:
        raise BadInput(
            expected=f"plain text in the trace {path}", found="other bytes", remedy=_REMEDY
        ) from None
    if len(raw) > _MAX_FILE_BYTES:
        raise BadInput(
            expected=f"at most {_MAX_FILE_BYTES} bytes in the trace {path}",
            found="more",
            remedy="take a part of it",
        )
    return text


def _read_line(line: str, where: str) -> tuple[float, float]:
    found = repr(line[:60])
    try:
        time_s, rate = (float(word) for word in line.split())
    except ValueError:
        raise BadInput(
            expected=f"two numbers, 'seconds Mbit/s', in {where}", found=found, remedy=_REMEDY
        ) from None
    if not (0 <= time_s < math.inf and 0 <= rate < math.inf):
        raise BadInput(
            expected=f"finite numbers of at least 0 in {where}", found=found, remedy=_REMEDY
        )
    return time_s, rate


def write_rate_trace(trace: RateTrace, path: Path) -> None:
    """Write a trace as lines of ``seconds Mbit/s``, to the millisecond and the bit per second.

    Args:
        trace: evenly spaced, if reading it again shall give the same period.
        path: replaced only once all is written.
    """
    pairs = zip(trace.starts_s, trace.rates_bytes_per_s, strict=True)
    text = "".join(f"{start:.3f}\t{rate / _BYTES_PER_MBIT:.6f}\n" for start, rate in pairs)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="ascii")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
