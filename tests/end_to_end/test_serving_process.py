"""Starting, stopping and not starting a server process."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgewise.bundle import Bundle
from edgewise.errors import BadInput, EdgewiseError
from edgewise.serving import serve, server_process
from edgewise.serving.processes.listening import listen
from unit.serving import tiny_bundle as tiny

pytestmark = [pytest.mark.net, pytest.mark.engine]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny.write_tiny_bundle(tmp_path / "bundle")


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgewise.serving", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_until(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return condition()


def test_the_process_ends_with_the_block(bundle: Bundle) -> None:
    with server_process(bundle.path) as running:
        assert _is_alive(running.pid)
        assert running.url.startswith("http://127.0.0.1:")
    assert not Path(f"/proc/{running.pid}").exists()


def test_a_killed_server_is_reaped(bundle: Bundle) -> None:
    with server_process(bundle.path) as running:
        os.kill(running.pid, signal.SIGKILL)
    assert not Path(f"/proc/{running.pid}").exists()


def test_the_process_ends_with_its_parent(bundle: Bundle) -> None:
    script = (
        "import sys, time\n"
        "from edgewise.serving import server_process\n"
        "with server_process(sys.argv[1]) as running:\n"
        "    print(running.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(bundle.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _is_alive(pid)
        parent.kill()
    assert _wait_until(lambda: not _is_alive(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_code_0(bundle: Bundle, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "edgewise.serving", str(bundle.path), "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert list(json.loads(process.stdout.readline())) == ["url"]
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stderr.read() == b""


def test_a_missing_bundle_is_one_paragraph_and_code_2(tmp_path: Path) -> None:
    result = _run(str(tmp_path / "nothing"), "--port=0")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"expected a bundle folder at {tmp_path / 'nothing'}, found nothing; make one with:"
        " edgewise plan MODEL -o BUNDLE\n"
    )


def test_a_port_in_use_is_one_paragraph_and_code_2(bundle: Bundle) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        result = _run(str(bundle.path), f"--port={port}")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"expected a free port {port} on 127.0.0.1, found another program that listens on it;"
        " stop that program, or choose another port with --port (0 takes a free one)\n"
    )


def test_the_parent_gets_the_servers_words(tmp_path: Path) -> None:
    with (
        pytest.raises(EdgewiseError, match=r"expected a bundle folder at .*, found nothing; make"),
        server_process(tmp_path / "nothing"),
    ):
        pass


def test_a_server_that_is_not_ready_in_time_is_ended(bundle: Bundle) -> None:
    with (
        pytest.raises(EdgewiseError, match=r"the server was not ready within 0\.01 s"),
        server_process(bundle.path, ready_timeout_s=0.01),
    ):
        pass


def test_a_corrupted_bundle_is_not_served(bundle: Bundle) -> None:
    (bundle.path / "full.onnx").write_bytes(b"garbage")
    with pytest.raises(BadInput, match=r"full\.onnx.*; copy the bundle again"):
        serve(bundle.path, port=0)


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 65_536, "expected a port from 0 to 65535, found 65536; choose one with"),
        ("127.0.0.1", -1, "expected a port from 0 to 65535, found -1"),
        ("no such host", 0, "expected an address of this machine to listen on, found 'no such"),
        ("192.0.2.1", 0, "expected permission to listen on 192.0.2.1 port 0, found Cannot"),
    ],
)
def test_addresses_that_cannot_be_had_are_refused(host: str, port: int, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        listen(host, port)
    assert str(caught.value).startswith(message)


def test_connections_beyond_the_limit_are_turned_away(bundle: Bundle) -> None:
    script = (
        "import sys\n"
        "from edgewise.serving import Access, serve\n"
        "serve(sys.argv[1], port=0, access=Access(max_connections=2),"
        " on_ready=lambda url: print(url, flush=True))\n"
    )
    command = [sys.executable, "-c", script, str(bundle.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        try:
            idle = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(2)]
            with socket.create_connection(("127.0.0.1", port), timeout=20) as third:
                select.select([third], [], [], 20)  # refused before it asked
                for _ in range(2):
                    third.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    time.sleep(0.05)  # a reset would be back by now
                reply = b"".join(iter(lambda: third.recv(4096), b""))
            for connection in idle:
                connection.close()
        finally:
            process.terminate()
    assert reply.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in reply
    assert json.loads(reply.partition(b"\r\n\r\n")[2]) == {
        "error": "expected room for one more connection, found none; try again in a second, or"
        " answer on the device"
    }


def test_a_missing_extra_is_one_paragraph_and_code_2(bundle: Bundle) -> None:
    script = (
        "import sys\n"
        "sys.modules['starlette'] = None\n"
        "from edgewise.serving.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, str(bundle.path), "--port=0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stderr == (
        "expected the optional part 'serve' to answer requests over HTTP, found it not installed;"
        " run: pip install 'edgewise[serve]'\n"
    )


def test_starting_a_process_loads_no_web_server() -> None:
    script = (
        "import sys\n"
        "from edgewise.serving import server_process\n"
        "heavy = {'starlette', 'uvicorn', 'onnxruntime', 'onnx', 'PIL', 'networkx'}\n"
        "sys.exit(str(heavy & set(sys.modules) or ''))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stderr.strip() == ""


def test_public_names_are_all_there() -> None:
    from edgewise import serving

    assert all(getattr(serving, name) for name in serving.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = serving.nothing
