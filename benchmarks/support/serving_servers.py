"""Start the servers that are compared, each in processes of its own."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgewise.serving import server_process
from edgewise.wire import HEADER_LENGTH_FIELD, Message, encode_request
from support.serving_load import one_by_one
from support.serving_subjects import Subject

SUPPORT = Path(__file__).resolve().parent
BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One that runs, and the bytes of one request to it."""

    port: int
    pid: int
    request: bytes


@contextlib.contextmanager
def edgewise(
    it: Subject, *options: str, threads: int = 1, deadline_s: float | None = None
) -> Iterator[Server]:
    """Ours."""
    asked = {} if deadline_s is None else {"deadline_us": round(deadline_s * 1e6)}
    frame = encode_request(Message(tensors=it.feeds, parameters=asked))
    request = _http(
        f"/v2/models/{it.model}/infer",
        frame.body,
        f"{HEADER_LENGTH_FIELD}: {frame.header_bytes}\r\n",
    )
    with server_process(it.bundle, threads=threads, options=options) as running:
        port = int(running.url.rpartition(":")[2])
        one_by_one(port, request, count=10)
        yield Server(port=port, pid=running.pid, request=request)


@contextlib.contextmanager
def peer(what: str, it: Subject, python: str, deadline_s: float) -> Iterator[Server]:
    """FastAPI or LitServe, in a Python that has it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    inputs = [[name, x.dtype.name, x.shape] for name, x in it.feeds.items()]
    program = SUPPORT / f"serving_{what}.py"
    command = [python, str(program), str(it.path), str(port), str(BATCH), json.dumps(inputs)]
    command.append(str(deadline_s))
    body = b"".join(x.tobytes() for x in it.feeds.values())
    kind = "application/octet-stream"
    if what == "litserve":
        body, kind = (
            json.dumps({"x": base64.b64encode(body).decode()}).encode(),
            "application/json",
        )
    request = _http("/predict", body, f"Content-Type: {kind}\r\n")
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, stdout=words, stderr=words, start_new_session=True, cwd=it.bundle.parent
        )
        try:
            _wait_for(process, port, request)
            yield Server(port=port, pid=process.pid, request=request)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, request: bytes) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError, IndexError, AssertionError):
            one_by_one(port, request, count=10)
            return
        time.sleep(0.2)
    raise SystemExit("a peer did not start; install the group 'bench', or name --peers PYTHON")


def _http(path: str, body: bytes, fields: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
    )
    return head.encode() + body


@contextlib.contextmanager
def peers(it: Subject, python: str, *, deadline_s: float = 0.0) -> Iterator[dict[str, Server]]:
    """Those that are installed; with a deadline each bounds what waits in the way that it has."""
    with contextlib.ExitStack() as stack:
        names = ("FastAPI", "LitServe") if has_peers(python) else ()
        yield {
            name: stack.enter_context(peer(name.lower(), it, python, deadline_s)) for name in names
        }


def has_peers(python: str) -> bool:
    """Whether there is anything to compare with."""
    if python == sys.executable:
        return all(map(importlib.util.find_spec, ("fastapi", "litserve")))
    return True
