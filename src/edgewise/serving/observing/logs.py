"""One line per request on stderr: what happened, never what was sent.

Lines are written by a thread, so that a reader who falls behind holds up no request; lines that
do not fit the queue are counted and left out.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import queue
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import TextIO

from edgewise.serving.access.budgets import TokenBucket
from edgewise.serving.observing.account import Account
from edgewise.serving.operations import LogForm

_QUEUED_LINES = 10_000
_MAX_TEXT = 64
_MAX_TRACE = 8_000
# Whoever is let in nowhere may make the log grow by no more than this.
_STRANGERS_PER_S = 10.0
_STRANGERS_BRIM = 100.0
_QUIET = ("live", "ready", "metrics")
_END_S = 2.0

Value = str | int | float | None


class RequestLog:
    """Lines for an operator.

    Args:
        form: JSON or for a person; ``OFF`` writes nothing.
        stream: where to, mostly stderr.
        wall_clock: seconds since 1970; it may jump.
        clock: seconds that only go forward.
        name_keys: whether lines say which key asked.
    """

    def __init__(
        self,
        form: LogForm,
        *,
        stream: TextIO,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
        name_keys: bool = False,
    ) -> None:
        self._form = form
        self._stream = stream
        self._wall_clock = wall_clock
        self._clock = clock
        self._name_keys = name_keys
        self._strangers = TokenBucket(
            rate_per_s=_STRANGERS_PER_S, brim=_STRANGERS_BRIM, now_s=clock()
        )
        self._unsaid = 0
        self._lines: queue.Queue[str | None] = queue.Queue(_QUEUED_LINES)
        self._writer: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write."""
        if self._form is not LogForm.OFF and self._writer is None:
            self._writer = threading.Thread(target=self._write, daemon=True)
            self._writer.start()

    def close(self) -> None:
        """Write what is left, unless nobody reads it."""
        if self._writer is not None:
            with contextlib.suppress(queue.Full):
                self._lines.put(None, timeout=_END_S)
            self._writer.join(_END_S)
            self._writer = None

    def request(self, account: Account) -> None:
        """A line about a request; health and metrics that went well are passed over."""
        if self._form is LogForm.OFF:
            return
        if account.status == 200 and account.endpoint in _QUIET:
            return
        # Refused before it was known what for: by a key, a host, an origin or a path.
        if account.refused and not account.model and not self._may_speak_of_strangers():
            return
        self.event("request", **self._fields(account))

    def event(self, name: str, **fields: Value) -> None:
        """A line about anything else."""
        if self._form is LogForm.OFF:
            return
        unsaid = {"lines_left_out": self._unsaid} if self._unsaid else {}
        line = write_line(self._form, self._wall_clock(), name, {**fields, **unsaid})
        try:
            self._lines.put_nowait(line)
            self._unsaid = 0
        except queue.Full:
            self._unsaid += 1

    def _may_speak_of_strangers(self) -> bool:
        now_s = self._clock()
        if self._strangers.wait_s(1.0, now_s=now_s) > 0:
            self._unsaid += 1
            return False
        self._strangers.take(1.0, now_s=now_s)
        return True

    def _fields(self, account: Account) -> dict[str, Value]:
        fields: dict[str, Value] = {
            "id": account.id,
            "endpoint": account.endpoint,
            "model": account.model,
            "version": account.version,
            "route": account.route,
            "status": account.status,
            "refused": account.refused,
            "total_s": round(account.total_s, 6),
        }
        fields |= {f"{name}_s": round(seconds, 6) for name, seconds in account.stages.items()}
        fields |= {"in_bytes": account.in_bytes, "out_bytes": account.out_bytes}
        if self._name_keys:
            fields["key"] = account.budget.name if account.budget else ""
        return {name: value for name, value in fields.items() if value != ""}

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            # A full disk or a closed stderr is no reason to end; there is nobody to tell.
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(line + "\n")
                self._stream.flush()


def write_line(form: LogForm, wall_s: float, name: str, fields: Mapping[str, Value], /) -> str:
    r"""One line; whatever strangers put into it stays one line of printable text.

    Args:
        form: JSON, or for a person.
        wall_s: seconds since 1970.
        name: of the event.
        fields: what happened.

    >>> write_line(LogForm.JSON, 0.0, "request", {"id": "a\nb", "status": 200})
    '{"ts": 0.0, "event": "request", "id": "a\\nb", "status": 200}'
    >>> write_line(LogForm.HUMAN, 0.0, "request", {"id": "a\nb", "status": 200})
    '1970-01-01T00:00:00Z request id="a\\nb" status=200'
    """
    short = {key: _shorten(key, value) for key, value in fields.items()}
    if form is LogForm.JSON:
        return json.dumps({"ts": round(wall_s, 3), "event": name, **short})
    words = [f"{key}={_word(value)}" for key, value in short.items()]
    return " ".join([_utc(wall_s), name, *words])


def _shorten(key: str, value: Value) -> Value:
    limit = _MAX_TRACE if key in ("trace", "what") else _MAX_TEXT
    return value[:limit] if isinstance(value, str) else value


def _word(value: Value) -> str:
    if isinstance(value, str) and value.isascii() and value.replace("-", "").isalnum():
        return value
    return json.dumps(value)  # escapes everything beyond printable ASCII


def _utc(wall_s: float) -> str:
    moment = datetime.datetime.fromtimestamp(wall_s, tz=datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class FailureLines(logging.Handler):
    """Brings what the server logs about its own failures into the same form."""

    def __init__(self, log: RequestLog) -> None:
        super().__init__(logging.ERROR)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line for one failure."""
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        self._log.event("failure", what=record.getMessage(), trace=trace[-_MAX_TRACE:])
