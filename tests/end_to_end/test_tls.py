"""HTTPS between real processes, with certificates that fit and others."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from pathlib import Path

import numpy as np
import pytest

from certificates import Files, write_certificate
from command_line import refused, serving, type_command
from edgewise.bundle import Bundle
from edgewise.running import connect
from session_bundles import image, logits_of, session_bundle

pytestmark = [pytest.mark.net, pytest.mark.engine]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return session_bundle(tmp_path_factory.mktemp("tls") / "bundle", "split-fp32", "local")


def _words(files: Files) -> tuple[str, ...]:
    return "--tls-cert", str(files.cert), "--tls-key", str(files.key)


def test_a_device_that_trusts_the_authority_is_served(bundle: Bundle, tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    np.save(tmp_path / "x.npy", image())
    with serving(bundle.path, *_words(files)) as (url, _):
        assert url.startswith("https://127.0.0.1:")
        with connect(bundle, url, ca_path=files.ca) as session:
            answers = [session.run(image()) for _ in range(2)]
        words = ("run", bundle.path, tmp_path / "x.npy", "--server", url, "--json")
        typed = type_command(*words, "--ca", files.ca)
        alone = type_command(*words)
    for answer in answers:
        assert answer.inference_source.route == "split-fp32"
        np.testing.assert_allclose(answer.outputs["logits"], logits_of(image()), rtol=1e-4)
    assert _source(typed.out)["route"] == "split-fp32"
    assert alone.code == 0
    assert _source(alone.out)["route"] == "local"
    assert "nobody whom this device trusts signed it" in _source(alone.out)["reason"]


def _source(out: str) -> dict[str, str]:
    (result,) = json.loads(out)["results"]
    source: dict[str, str] = result["inference_source"]
    return source


@pytest.mark.parametrize(
    ("address", "expired", "why"),
    [
        ("127.0.0.1", True, "the server's certificate is not trusted: it has expired"),
        ("127.0.0.2", False, "the server's certificate is not trusted: it is for another address"),
    ],
)
def test_wrong_certificates_are_said_and_the_device_answers(
    bundle: Bundle, tmp_path: Path, address: str, expired: bool, why: str
) -> None:
    files = write_certificate(tmp_path, address=address, expired=expired)
    with (
        serving(bundle.path, *_words(files)) as (url, _),
        connect(bundle, url, ca_path=files.ca) as session,
    ):
        answer = session.run(image())
    assert answer.inference_source.route == "local"
    assert why in answer.inference_source.reason
    np.testing.assert_allclose(answer.outputs["logits"], logits_of(image()), rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"expired": True}, "it has expired; check this device's clock, then ask the server's"),
        ({"address": "127.0.0.2"}, "it is for another address; ask the server under the name"),
        ({"self_signed": True}, "it was signed by itself; pass it with --ca, if the server is"),
    ],
)
def test_run_says_what_to_do_about_a_certificate(
    bundle: Bundle, tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    files = write_certificate(tmp_path, **settings)
    np.save(tmp_path / "x.npy", image())
    with serving(bundle.path, *_words(files)) as (url, _):
        words = ("run", bundle.path, tmp_path / "x.npy", "--server", url, "--json")
        typed = type_command(*words, "--ca", files.ca)
    assert (typed.code, _source(typed.out)["route"]) == (0, "local")
    (line,) = typed.err.splitlines()
    trusted = "the server's certificate is not trusted"
    assert line.startswith(f"expected a server to talk to at {url}, found: {trusted}: {said}")


def test_a_server_asked_with_or_without_tls_by_mistake(tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    bundle = session_bundle(tmp_path / "bundle", "split-fp32", fallback=False)
    np.save(tmp_path / "x.npy", image())
    run = ("run", bundle.path, tmp_path / "x.npy", "--server")
    with serving(bundle.path, *_words(files)) as (url, _):
        plain = url.replace("https", "http")
        typed = type_command(*run, plain)
        refused(
            typed, said=f"expected an answer from the server at {plain}, .* the connection broke;"
        )
        assert "found: the connection broke; if the server speaks TLS, ask it with ht" in typed.err
    with serving(bundle.path) as (url, _):
        encrypted = url.replace("http", "https")
        typed = type_command(*run, encrypted)
        refused(typed, said="found the server does not speak TLS; check the server and the way")
        assert "the server does not speak TLS; ask it with http://, not https://" in typed.err


def test_fetch_says_what_to_do_about_tls_as_run_does(bundle: Bundle, tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    words = ("-o", tmp_path / "fetched", "--ca", files.ca)
    with serving(bundle.path, *_words(files)) as (url, _):
        plain = type_command("fetch", url.replace("https:", "http:"), *words)
        one_file = type_command("fetch", url, "-o", tmp_path / "fetched")
        assert type_command("fetch", url, *words).code == 0
    refused(plain, said="if the server speaks TLS, ask it with https://")
    refused(one_file, said="nobody whom this device trusts signed it; pass with --ca")


def test_one_who_speaks_no_tls_does_not_end_the_server(bundle: Bundle, tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    with serving(bundle.path, *_words(files), "--log", "json") as (url, process):
        host, _, port = url.removeprefix("https://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as plain:
            plain.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert b"live" not in _all_of(plain)
        with socket.create_connection((host, int(port)), timeout=20) as garbage:
            garbage.sendall(b"\x16\x03\x01\xff\xff" + b"\x00" * 100)
        assert _speak(host, int(port), files) in ("TLSv1.2", "TLSv1.3")
        process.terminate()
        assert process.wait(20) == 0
        assert process.stderr is not None
        events = [json.loads(line)["event"] for line in process.stderr]
    assert events[0] == "serving"
    assert "failure" not in events


def _all_of(connection: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionResetError):
        return b"".join(iter(lambda: connection.recv(4096), b""))
    return b""


def test_nothing_older_than_tls_1_2_is_spoken(bundle: Bundle, tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    with serving(bundle.path, *_words(files)) as (url, _):
        host, _, port = url.removeprefix("https://").rpartition(":")
        assert _speak(host, int(port), files) == "TLSv1.3"
        assert _speak(host, int(port), files, most=ssl.TLSVersion.TLSv1_2) == "TLSv1.2"


def _speak(
    host: str, port: int, files: Files, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> str | None:
    context = ssl.create_default_context(cafile=str(files.ca))
    context.maximum_version = most
    with (
        socket.create_connection((host, port), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname=host) as spoken,
    ):
        return spoken.version()


def test_files_that_do_not_fit_start_no_server(bundle: Bundle, tmp_path: Path) -> None:
    files, other = write_certificate(tmp_path / "a"), write_certificate(tmp_path / "b")
    serve = ("serve", bundle.path, "--port", "0")
    refused(
        type_command(*serve, "--tls-cert", files.cert, "--tls-key", other.key),
        said="expected the private key of the certificate .*found that of another one",
    )
    refused(
        type_command(*serve, "--tls-cert", files.cert),
        said="expected --tls-cert and --tls-key together, found only --tls-cert; pass both files",
    )
    refused(type_command(*serve, *_words(files)[:2], "--tls-key", "/nothing"), said="no such file")
