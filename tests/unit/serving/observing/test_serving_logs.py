"""Lines of the log: one per request, whatever strangers put into it."""

from __future__ import annotations

import io
import json
import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.cli.serve import LOG_FORMS
from edgewise.serving.observing.account import Account
from edgewise.serving.observing.logs import FailureLines, RequestLog, write_line
from edgewise.serving.operations import LogForm


def test_the_command_offers_every_form() -> None:
    assert set(LOG_FORMS) == {form.value for form in LogForm}


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _written(form: LogForm, *accounts: Account, clock: Clock | None = None) -> list[str]:
    stream = io.StringIO()
    log = RequestLog(form, stream=stream, wall_clock=Clock(), clock=clock or Clock())
    log.start()
    for account in accounts:
        log.request(account)
    log.close()
    return stream.getvalue().splitlines()


def test_a_request_is_one_json_line() -> None:
    account = Account(
        endpoint="infer",
        id="7",
        route="split",
        items=1,
        status=200,
        stages={"queue": 0.5, "compute": 2.0},
        total_s=3.0,
        in_bytes=10,
        out_bytes=20,
    )
    (line,) = _written(LogForm.JSON, account)
    assert json.loads(line) == {
        "ts": 0.0,
        "event": "request",
        "id": "7",
        "endpoint": "infer",
        "route": "split",
        "status": 200,
        "total_s": 3.0,
        "queue_s": 0.5,
        "compute_s": 2.0,
        "in_bytes": 10,
        "out_bytes": 20,
    }


def test_a_client_that_left_has_no_status() -> None:
    (line,) = _written(LogForm.JSON, Account(endpoint="infer"))
    assert json.loads(line)["status"] is None


@given(text=st.text(max_size=200), form=st.sampled_from([LogForm.JSON, LogForm.HUMAN]))
def test_hostile_text_stays_one_printable_line(text: str, form: LogForm) -> None:
    line = write_line(form, 0.0, "request", {"id": text})
    assert line.isascii()
    assert line.isprintable()
    if form is LogForm.JSON:
        assert json.loads(line)["id"] == text[:64]


def test_a_stranger_cannot_forge_fields() -> None:
    line = write_line(LogForm.HUMAN, 0.0, "request", {"id": 'x" status=200 "', "status": 401})
    assert line == ('1970-01-01T00:00:00Z request id="x\\" status=200 \\"" status=401')


@pytest.mark.parametrize("endpoint", ["live", "ready", "metrics"])
def test_probes_that_went_well_are_passed_over(endpoint: str) -> None:
    good, bad = Account(endpoint=endpoint, status=200), Account(endpoint=endpoint, status=503)
    (line,) = _written(LogForm.HUMAN, good, bad)
    assert f"endpoint={endpoint} status=503" in line


@pytest.mark.parametrize(
    ("status", "refused"), [(401, "key"), (421, "host"), (403, "origin"), (405, "method")]
)
def test_strangers_fill_no_disk_and_what_is_left_out_is_counted(status: int, refused: str) -> None:
    clock = Clock()
    strangers = [Account(endpoint="infer", status=status, refused=refused)] * 500
    lines = _written(LogForm.JSON, *strangers, Account(endpoint="infer", status=200), clock=clock)
    assert len(lines) == 101
    assert json.loads(lines[-1])["lines_left_out"] == 400


@pytest.mark.parametrize("jump_s", [1e9, -1e9])
def test_a_wall_clock_that_jumps_silences_nobody(jump_s: float) -> None:
    wall_clock, clock, stream = Clock(), Clock(), io.StringIO()
    stranger = Account(endpoint="infer", status=401, refused="key")
    log = RequestLog(LogForm.JSON, stream=stream, wall_clock=wall_clock, clock=clock)
    log.start()
    for _ in range(200):
        log.request(stranger)
    wall_clock.now_s += jump_s
    clock.now_s += 60
    log.request(stranger)
    log.close()
    last = json.loads(stream.getvalue().splitlines()[-1])
    assert (last["ts"], last["lines_left_out"]) == (jump_s, 100)


def test_every_refusal_by_a_model_is_said() -> None:
    refused = [Account(endpoint="infer", model="cats", status=400, refused="bad_input")] * 500
    assert len(_written(LogForm.JSON, *refused)) == 500


def test_off_writes_nothing() -> None:
    assert _written(LogForm.OFF, Account(endpoint="infer", status=200)) == []


class Stalled(io.StringIO):
    """A reader that does not read until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.go_on.wait(30)
        return super().write(text)


def test_a_stalled_reader_holds_nobody_up() -> None:
    stream = Stalled()
    log = RequestLog(LogForm.JSON, stream=stream, wall_clock=Clock(), clock=Clock())
    log.start()
    for _ in range(12_000):
        log.event("tick")
    stream.go_on.set()
    log.close()
    assert 10_000 <= len(stream.getvalue().splitlines()) <= 10_001


def test_failures_are_lines_too() -> None:
    stream = io.StringIO()
    log = RequestLog(LogForm.JSON, stream=stream, wall_clock=Clock(), clock=Clock())
    logger = logging.Logger("alone")
    logger.addHandler(FailureLines(log))
    log.start()
    try:
        raise ValueError("a\nb")
    except ValueError:
        logger.exception("a request failed")
    log.close()
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["what"]) == ("failure", "a request failed")
    assert event["trace"].endswith("ValueError: a\nb\n")
