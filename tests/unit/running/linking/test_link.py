from __future__ import annotations

import ssl
import time
from http.client import BadStatusLine, RemoteDisconnected

import pytest
import urllib3

from edgewise.errors import BadInput, LinkFailed
from edgewise.running import HttpLink
from edgewise.running.linking.connection import Connection, HttpRequest, explain
from edgewise.running.linking.exchange import Unreachable
from session_servers import LyingServer, answer, http

ASKED = HttpRequest(method="GET", path="/", headers={})


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://127.0.0.1",
        "http://",
        "http://host:99999",
        "http://host:port",
        "http://host/?query",
        "http://host/#part",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_refused(url: str):
    with pytest.raises(BadInput) as refused:
        HttpLink(url)
    assert str(refused.value) == (
        f"expected a server address such as http://127.0.0.1:8000, found {url!r};"
        " copy the address that 'edgewise serve' prints"
    )


def test_an_address_with_a_password_is_refused_and_not_repeated():
    with pytest.raises(BadInput) as refused:
        HttpLink("http://name:secret@host")
    assert str(refused.value) == (
        "expected a server address such as http://127.0.0.1:8000, found one with a name or"
        " password in it; copy the address that 'edgewise serve' prints"
    )


@pytest.mark.net
@pytest.mark.parametrize(
    ("suffix", "line"),
    [
        ("", "GET /v2/models/a%20b HTTP/1.1"),
        ("/", "GET /v2/models/a%20b HTTP/1.1"),
        ("/behind/a/proxy/", "GET /behind/a/proxy/v2/models/a%20b HTTP/1.1"),
    ],
)
def test_paths(suffix: str, line: str):
    known = answer(http(b'{"name": "a b"}', Edgewise_Bundle="f" * 64))
    with LyingServer(greet=known, infer=answer(b"")).running() as server:
        link = HttpLink(server.url + suffix)
        assert link.served_bundle("a b", "f" * 64, timeout_s=20) == "f" * 64
        link.close()
    assert [seen.line for seen in server.seen] == [line]


@pytest.mark.net
@pytest.mark.parametrize("digest", ["", "\x1b[31m", "f" * 63, "F" * 64])
def test_a_digest_that_is_none_is_not_shown(digest: str):
    known = answer(http(b'{"name": "a"}', Edgewise_Bundle=digest))
    with LyingServer(greet=known, infer=answer(b"")).running() as server:
        link = HttpLink(server.url)
        assert link.served_bundle("a", "f" * 64, timeout_s=20) == ""
        link.close()


@pytest.mark.net
def test_a_closed_link_starts_anew():
    known = answer(http(b'{"name": "a"}'))
    with LyingServer(greet=known, infer=answer(b"")).running() as server:
        link = HttpLink(server.url)
        for _ in range(2):
            link.served_bundle("a", "f" * 64, timeout_s=20)
        link.close()
        link.served_bundle("a", "f" * 64, timeout_s=20)
        link.close()
    assert server.connections == 2


@pytest.mark.net
def test_a_connection_that_was_cut_before_it_was_made_asks_nothing():
    with LyingServer(greet=answer(http(b"")), infer=answer(b"")).running() as server:
        connection = Connection("http", "127.0.0.1", server.port)
        connection.cut()
        with pytest.raises(Unreachable):
            connection.ask(ASKED, until_s=time.perf_counter() + 20)
        connection.close()
    assert server.seen == []


def test_no_time_left_is_a_time_out_before_anything_is_sent():
    connection = Connection("http", "127.0.0.1", 9)
    with pytest.raises(TimeoutError):
        connection.ask(ASKED, until_s=time.perf_counter())


@pytest.mark.net
def test_an_unknown_name_is_told():
    with pytest.raises(LinkFailed, match=r"^the server's name is not known$"):
        HttpLink("http://no-such-host.invalid").served_bundle("a", "f" * 64, timeout_s=20)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RemoteDisconnected(), "the connection broke"),
        (BrokenPipeError(), "the connection broke"),
        (OSError(113, "No route to host"), "the connection broke"),
        (ssl.SSLCertVerificationError(), "the server's certificate is not trusted"),
        (ssl.SSLError(), "the encryption failed"),
        (urllib3.exceptions.ProtocolError("?"), "the connection broke"),
        (urllib3.exceptions.InvalidHeader("?"), "the reply is not HTTP"),
        (BadStatusLine("?"), "the reply is not HTTP"),
    ],
)
def test_causes_in_words(error: Exception, words: str):
    assert explain(error) == words
