"""Who is let in: which key a request gives, and where it comes from."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Scope

from edgewise.serving.access.access import Access, Guard
from edgewise.serving.access.doors import Doors
from edgewise.serving.access.gate import Gate, is_local, key_of
from edgewise.serving.access.keys import KeyRing, new_key
from edgewise.serving.batching.answering import Timing
from edgewise.serving.observing.account import Account, account_of
from edgewise.serving.processes.draining import Draining


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ([], ""),
        ([("authorization", "Bearer k")], "k"),
        ([("authorization", "bearer  k ")], "k"),
        ([("edgewise-key", "k")], "k"),
        ([("edgewise-key", "k"), ("authorization", "Bearer k")], "k"),
        ([("edgewise-key", "k"), ("authorization", "Bearer j")], ""),
        ([("edgewise-key", "k"), ("edgewise-key", "j")], ""),
        ([("authorization", "Basic k")], ""),
        ([("authorization", "Basic k"), ("edgewise-key", "k")], ""),
        ([("authorization", "Bearer")], ""),
    ],
)
def test_a_request_gives_one_key_or_none(fields: list[tuple[str, str]], key: str) -> None:
    raw = [(name.encode(), value.encode()) for name, value in fields]
    assert key_of(Headers(raw=raw)) == key


@pytest.mark.parametrize(
    ("client", "fields", "local"),
    [
        (("127.0.0.1", 1), {}, True),
        (("127.9.9.9", 1), {}, True),
        (("::1", 1), {}, True),
        (("192.0.2.1", 1), {}, False),
        (None, {}, False),
        (("", 1), {}, False),
        (("localhost", 1), {}, False),
        (("127.0.0.1", 1), {"X-Forwarded-For": "192.0.2.1"}, False),
        (("127.0.0.1", 1), {"Forwarded": "for=192.0.2.1"}, False),
        (("127.0.0.1", 1), {"Via": "1.1 proxy"}, False),
    ],
)
def test_local_is_this_machine_and_no_proxy_on_it(
    client: tuple[str, int] | None, fields: dict[str, str], local: bool
) -> None:
    assert is_local({"client": client}, Headers(fields)) is local


def test_times_are_those_that_the_answer_says() -> None:
    timing = Timing(queue_s=1e-4, decode_s=0.002, compute_s=0.03)
    assert timing.stages == {"queue": 1e-4, "decode": 0.002, "compute": 0.03}
    assert timing.field == "queue;dur=0.100, decode;dur=2.000, compute;dur=30.000"


def test_a_failure_is_one_sentence_for_the_client_and_a_trace_for_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent: list[Message] = []

    async def fail(*_: object) -> None:
        raise ZeroDivisionError("of ours")

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "scheme": "http", "headers": [(b"host", b"localhost")]}
    asyncio.run(Guard(fail, access=Access())(scope, receive, send))
    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"]) == {
        "error": "expected an answer, found a failure of the server on this request;"
        " its log says why: tell its operator, and answer on the device"
    }
    assert "of ours" in caplog.text


async def _nothing(*_: object) -> Message:
    return {}


def _clock() -> float:
    return 0.0


def test_of_a_run_that_keys_share_each_pays_its_part() -> None:
    made = new_key("a", random=bytes, compute_ms_per_s=100)
    doors = Doors(KeyRing(entries=(made.entry,)), clock=_clock)
    account = Account(endpoint="infer")

    async def infer(scope: Scope, *_: object) -> None:
        account_of(scope).stages = {"compute": 4.0}
        account_of(scope).own_compute_s = 0.5

    draining = Draining(notice_s=0.0, clock=_clock)
    gate = Gate(infer, doors=doors, meters=None, draining=draining)
    fields = [(b"edgewise-key", made.key.encode())]
    scope = {"type": "http", "headers": fields, "edgewise.account": account}
    asyncio.run(gate(scope, _nothing, _nothing))
    assert account.budget is not None
    assert account.budget.retry_after_s() == 5  # 400 ms in debt at 100 ms a second, and one more
