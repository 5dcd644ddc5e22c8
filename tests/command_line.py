"""Commands typed for real, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

COMMAND = (sys.executable, "-m", "edgewise.cli")


@dataclass(frozen=True, kw_only=True)
class Typed:
    """What came of a command."""

    code: int
    out: str
    err: str


def type_command(
    *words: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 120.0,
    file_bytes: int | None = None,
) -> Typed:
    """Run one command to its end; ``file_bytes`` limits every file that it writes."""
    command = [*COMMAND, *map(str, words)]
    if file_bytes is not None:
        limit = (
            "import resource, runpy, signal, sys; "
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({file_bytes}, {file_bytes})); "
            "runpy.run_module('edgewise.cli', run_name='__main__')"
        )
        command = [sys.executable, "-c", limit, *map(str, words)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        timeout=timeout_s,
        check=False,
    )
    return Typed(code=done.returncode, out=done.stdout, err=done.stderr)


def refused(typed: Typed, *, said: str, code: int = 2) -> None:
    """One paragraph on stderr, nothing on stdout, no stack trace."""
    assert "Traceback" not in typed.err + typed.out
    assert typed.code == code, typed.err
    assert typed.out == ""
    last = typed.err.splitlines()[-1]
    assert last.startswith("edgewise: ")
    assert re.search(said, last), last


@contextlib.contextmanager
def serving(bundle: Path, *words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """``edgewise serve`` on a free port, and its address; words may begin with more bundles."""
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--json", str(bundle), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield read_url(process), process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)


def read_url(process: subprocess.Popen[str]) -> str:
    """The address in the JSON object that a server prints when it is ready."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        with contextlib.suppress(ValueError):
            url: str = json.loads(text)["url"]
            return url
    assert process.stderr is not None
    raise AssertionError(process.stderr.read())
