"""``edgewise serve`` and ``edgewise run`` as somebody types them."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from command_line import refused, serving, type_command
from edgewise.bundle import Bundle
from session_bundles import image, logits_of, session_bundle

pytestmark = [pytest.mark.net, pytest.mark.engine]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    np.save(tmp_path / "x.npy", image())
    return session_bundle(tmp_path / "bundle", "split-fp32", "local")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_until_it_is_stopped(
    bundle: Bundle, tmp_path: Path, number: signal.Signals
) -> None:
    with serving(bundle.path) as (url, process):
        typed = type_command("run", bundle.path, tmp_path / "x.npy", "--server", url, "--json")
        assert typed.code == 0, typed.err
        assert typed.err == ""
        (result,) = json.loads(typed.out)["results"]
        assert result["inference_source"]["route"] == "split-fp32"
        np.testing.assert_allclose(result["outputs"]["logits"], logits_of(image()), rtol=1e-4)
        assert {span["kind"] for span in result["spans"]} >= {"device", "upload", "cloud"}
        assert result["up_bytes"] > 4096
        process.send_signal(number)
        assert process.wait(20) in (0, 130)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_run_says_who_answered(bundle: Bundle, tmp_path: Path) -> None:
    with serving(bundle.path) as (url, _):
        typed = type_command("run", bundle.path, tmp_path / "x.npy", "--server", url)
    assert typed.code == 0
    assert typed.out.startswith("x.npy ")
    assert "split-fp32" in typed.out
    assert "sent 4." in typed.out


def test_run_answers_alone_when_nobody_serves(bundle: Bundle, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    typed = type_command(
        "run", bundle.path, tmp_path / "x.npy", "--server", f"http://127.0.0.1:{port}", "--json"
    )
    assert typed.code == 0
    (result,) = json.loads(typed.out)["results"]
    assert result["inference_source"]["route"] == "local"
    assert "offline" in result["inference_source"]["reason"]
    np.testing.assert_allclose(result["outputs"]["logits"], logits_of(image()), rtol=1e-4)


def test_without_a_fallback_a_dead_server_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", image())
    bundle = session_bundle(tmp_path / "bundle", "split-fp32", fallback=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    typed = type_command(
        "run", bundle.path, tmp_path / "x.npy", "--server", f"http://127.0.0.1:{port}"
    )
    refused(
        typed,
        said="expected an answer from the server at http://127.0.0.1:[0-9]+, since the device has"
        " none of its own, found the connection was refused; check the server and the way to it,"
        " or plan a bundle with a fallback",
    )
    words = ("--server", f"http://127.0.0.1:{port}", "--policy", "only_in_cloud")
    typed = type_command("run", bundle.path, tmp_path / "x.npy", *words)
    refused(typed, said="the connection was refused; check .*, or choose another --policy$")


def test_a_server_of_another_bundle(bundle: Bundle, tmp_path: Path) -> None:
    other = session_bundle(tmp_path / "other", "split-fp32", "local", seed=1)
    with serving(other.path) as (url, _):
        typed = type_command("run", bundle.path, tmp_path / "x.npy", "--server", url)
    refused(typed, said=f"expected the bundle {bundle.digest[:12]} at .*start: edgewise serve")


def test_an_empty_address_is_a_mistake_and_not_no_server(bundle: Bundle, tmp_path: Path) -> None:
    typed = type_command("run", bundle.path, tmp_path / "x.npy", "--server", "")
    refused(typed, said="expected a server address such as http://127.0.0.1:8000, found ''; copy")


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_address_of_ipv6(bundle: Bundle, tmp_path: Path) -> None:
    with serving(bundle.path, "--host", "::1") as (url, _):
        assert url.startswith("http://[::1]:")
        typed = type_command("run", bundle.path, tmp_path / "x.npy", "--server", url, "--json")
    (result,) = json.loads(typed.out)["results"]
    assert result["inference_source"]["route"] == "split-fp32"


@pytest.mark.parametrize("schema", [2, 0, "1", None, True])
def test_a_bundle_of_another_schema(bundle: Bundle, tmp_path: Path, schema: object) -> None:
    file = bundle.path / "bundle.json"
    later = json.loads(file.read_text()) | {"schema": schema, "field_of_a_later_one": {}}
    file.write_text(json.dumps(later))
    for command in (("serve", bundle.path), ("run", bundle.path, tmp_path / "x.npy")):
        refused(
            type_command(*command),
            said=f"expected schema 1 in .*bundle.json, found {schema!r}; use the edgewise that",
        )


def test_a_port_in_use(bundle: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        typed = type_command("serve", bundle.path, "--port", port)
    refused(typed, said=f"expected a free port {port} on 127.0.0.1, found another program")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "70000"), "expected a port from 0 to 65535, found 70000"),
        (("--host", "no such host"), "expected an address of this machine to listen on"),
        (("--allow-host", "http://x/"), "expected a host's name, such as .* found 'http://x/';"),
        (("--threads", "0"), "expected at least 1 thread, found 0"),
        (("--threads", "9" * 20), "expected at most 1024 threads, found 9+; more than there are"),
    ],
)
def test_options_that_do_not_fit(bundle: Bundle, words: tuple[str, str], said: str) -> None:
    refused(type_command("serve", bundle.path, *words), said=said)


def test_damaged_bundles_are_not_served(bundle: Bundle, tmp_path: Path) -> None:
    refused(type_command("serve", tmp_path / "nope"), said="expected a bundle folder at .*nothing")
    refused(type_command("serve", tmp_path), said="expected a regular file bundle.json in")
    tail = bundle.path / "tail.onnx"
    raw = tail.read_bytes()
    tail.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    refused(type_command("serve", bundle.path), said="expected tail.onnx as the manifest of")
    tail.write_bytes(b"")
    refused(type_command("serve", bundle.path), said=f"expected {len(raw)} bytes in")


def test_the_server_is_ready_when_it_says_so(bundle: Bundle) -> None:
    with (
        serving(bundle.path) as (url, _),
        urllib.request.urlopen(f"{url}/v2/health/ready", timeout=10) as reply,
    ):
        assert reply.status == 200
