"""A server in a process of its own, for as long as a ``with`` block lasts."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgewise.errors import EdgewiseError

_READY_LINE_BYTES = 4096
_STOP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that answers.

    Args:
        url: without a slash at the end.
        pid: of its process.
    """

    url: str
    pid: int


@contextlib.contextmanager
def server_process(
    bundle_paths: Path | str | Sequence[Path | str],
    *,
    threads: int = 1,
    ready_timeout_s: float = 60.0,
    options: Sequence[str] = (),
) -> Iterator[RunningServer]:
    """Serve bundles on a free port of the loopback interface.

    The process ends with the block, and also when this process ends in any way: it watches the
    pipe that it is given as standard input.

    Args:
        bundle_paths: a folder that ``edgewise plan -o`` wrote, or several.
        threads: threads of one engine run.
        ready_timeout_s: how long loading may take.
        options: further options of ``python -m edgewise.serving``.

    Raises:
        EdgewiseError: with the server's own words when it does not get ready.
    """
    paths = [bundle_paths] if isinstance(bundle_paths, Path | str) else bundle_paths
    command = [sys.executable, "-m", "edgewise.serving", *map(str, paths), "--port=0"]
    command += [f"--threads={threads}", "--end-with-stdin", *options]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            line = _read_line(process, ready_timeout_s)
            if not line.endswith(b"\n"):
                _stop(process)
                raise EdgewiseError(_words(errors, ready_timeout_s))
            yield RunningServer(url=json.loads(line)["url"], pid=process.pid)
        finally:
            _stop(process)


def _read_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """The first line of the process, or whatever it wrote until it ended or the time was up."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    out = process.stdout
    assert out is not None  # a pipe was asked for
    reader = threading.Thread(
        target=lambda: lines.put(out.readline(_READY_LINE_BYTES)), daemon=True
    )
    reader.start()
    try:
        return lines.get(timeout=timeout_s)
    except queue.Empty:
        process.kill()
        reader.join()
        return b""


def _words(errors: IO[bytes], timeout_s: float) -> str:
    errors.seek(0)
    text = errors.read(10_000).decode(errors="replace").strip()
    return text or f"the server was not ready within {timeout_s:g} s; try fewer or smaller parts"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
