"""The how-to about other servers, its scripts run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise.bundle import Bundle
from edgewise.serving import RunningServer, server_process
from session_bundles import session_bundle

pytestmark = [pytest.mark.net, pytest.mark.engine]
HOW_TO = Path(__file__).parents[2] / "docs/how-to/foreign-server.md"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("foreign") / "bundle"
    return session_bundle(folder, "split-fp32", "split-fp16", "split-int8", "cloud-png", "local")


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[RunningServer]:
    with server_process(bundle.path) as running:
        yield running


def _script(name: str) -> str:
    """The block of Python that comes after the first mention of a script."""
    text = HOW_TO.read_text()
    found = re.search(r"```python\n(.*?)```", text[text.index(f"`{name}`") :], re.DOTALL)
    assert found is not None
    return found[1]


def _run(name: str, *words: object) -> str:
    command = [sys.executable, "-c", _script(name), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_files_that_others_can_host_are_listed(bundle: Bundle) -> None:
    listed = _run("list.py", bundle.path)
    assert re.findall(r"^(\S+) .*/(\S+\.onnx)$", listed, re.MULTILINE) == [
        ("split-fp32", "tail.onnx"),
        ("split-fp16", "tail-half.onnx"),
        ("split-int8", "tail-byte.onnx"),
    ]
    assert "takes half float16[1, 4, 16, 16]" in listed
    assert "gives logits float32[1, 5] means float32[1, 4]" in listed


@pytest.mark.parametrize("route", ["split-fp32", "split-fp16", "split-int8"])
def test_a_plain_client_gets_the_same_bits(
    bundle: Bundle, server: RunningServer, route: str
) -> None:
    address = server.url.removeprefix("http://")
    assert _run("ask.py", address, "tiny", bundle.path, route).splitlines() == [
        "logits (1, 5) largest difference 0.0",
        "means (1, 4) largest difference 0.0",
    ]


def test_the_script_that_hosts_is_python() -> None:
    compile(_script("host.py"), "host.py", "exec")
