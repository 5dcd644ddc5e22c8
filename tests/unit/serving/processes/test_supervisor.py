"""Workers that do not do what they should; each case in a process that forks nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.net
_FRAME = """
import os, signal, time
from edgewise.errors import BadInput, EdgewiseError
from edgewise.serving.processes.workers import Supervisor

{work}

def ready():
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

supervisor = Supervisor(
    work, count=2, tell=print, on_death=lambda pid: None, patience_s={patience_s}
)
try:
    supervisor.run(on_ready=ready, on_end=lambda: print("told to end", flush=True))
except EdgewiseError as error:
    print(error)
"""


def _supervised(work: str, *, patience_s: float = 600.0) -> str:
    script = _FRAME.format(work=work, patience_s=patience_s)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_one_that_ends_before_it_is_ready_ends_all() -> None:
    said = _supervised("def work(lifeline): os._exit(7)")
    assert said == "a worker ended with code 7 before it was ready\n"


def test_one_that_cannot_start_ends_all_in_its_own_words() -> None:
    said = _supervised(
        "def work(lifeline): raise BadInput(expected='rain', found='sun', remedy='wait')"
    )
    assert said == "expected rain, found sun; wait\n"


def test_one_that_never_gets_ready_is_not_waited_for_after_another_failed() -> None:
    said = _supervised(
        "import multiprocessing\n"
        "def work(lifeline):\n"
        "    if multiprocessing.current_process().name == 'worker 1': os._exit(7)\n"
        "    time.sleep(600)"
    )
    assert said == "a worker ended with code 7 before it was ready\n"


def test_one_that_does_not_end_is_killed() -> None:
    said = _supervised(
        "def work(lifeline):\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    lifeline.ready()\n"
        "    time.sleep(600)",
        patience_s=0.2,
    )
    assert said == "ready\ntold to end\n"
