"""Who is let in: which key a request gives, and where it comes from."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from edgewise.serving.account import Account
from edgewise.serving.gate import is_local, key_of


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


def test_times_are_read_from_the_answer() -> None:
    account = Account()
    account.read_stages("queue;dur=0.100, decode;dur=2.000, compute;dur=30.000")
    assert account.stages == pytest.approx({"queue": 1e-4, "decode": 2e-3, "compute": 0.03})
    account.read_stages("nonsense")
    assert account.stages == {}
