"""Trim networks with edgewise and its peers, each in a process of its own that may crash.

As a program: `trim_peers.py WORK JOBS RESULTS` does the jobs of a JSON-lines file and writes one
line when it begins each and one when it is done. A job that takes too long is ended by the
system's alarm, so that it cannot hang inside a library either.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY_BYTES = 12 * 2**30
FOLDER = Path(__file__).resolve().parents[1]

Job = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one job.

    Args:
        state: ``done``, ``refused``, ``crashed`` or ``timed out``.
        reason: why, when it is not done.
        seconds: how long it took; 0 when it is not done.
        facts: what the job found.
    """

    state: str
    reason: str = ""
    seconds: float = 0.0
    facts: Job


def run_jobs(
    work: str, jobs: Sequence[Job], *, folder: Path, time_out_s: int, in_one: bool = False
) -> list[Outcome]:
    """Do jobs in child processes: one each, or all in one until it dies.

    Args:
        work: a name of ``WORKS``.
        jobs: what to do.
        folder: for files that come and go.
        time_out_s: the most that one job takes.
        in_one: whether a process goes on with the next job.
    """
    outcomes: list[Outcome] = []
    while len(outcomes) < len(jobs):
        end = len(jobs) if in_one else len(outcomes) + 1
        outcomes += _run_child(work, jobs[len(outcomes) : end], folder, time_out_s)
    return outcomes


def _run_child(work: str, jobs: Sequence[Job], folder: Path, time_out_s: int) -> list[Outcome]:
    listed, results = folder / "jobs.jsonl", folder / "results.jsonl"
    listed.write_text("".join(json.dumps(job) + "\n" for job in jobs), encoding="utf-8")
    results.write_text("", encoding="utf-8")
    command = [sys.executable, "-m", "support.trim_peers", work, listed, results, str(time_out_s)]
    child = subprocess.run(
        [str(part) for part in command],
        cwd=FOLDER,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    outcomes = [Outcome(**line) for line in lines if line["state"] != "begun"]
    if len(outcomes) < len(jobs):
        outcomes.append(_death(child.returncode, child.stderr.decode(errors="replace")))
    return outcomes


def _death(code: int, text: str) -> Outcome:
    if code == -signal.SIGALRM:
        return Outcome(state="timed out", reason="took too long", facts={})
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    last = (text.strip().splitlines() or [""])[-1][:200]
    return Outcome(state="crashed", reason=f"{name} {last}".strip(), facts={})


# --- what a child does ------------------------------------------------------------------------


def trim_ours(job: Job) -> Job:
    from edgewise.graphs import load, save
    from edgewise.graphs.trimming import trim

    trimmed = trim(load(job["source"]), read_feeds(job))
    save(trimmed.model, job["target"])
    return {
        "removed": [(one.what, one.nodes, one.bytes) for one in trimmed.step.removed],
        "undone": [(one.what, one.reason) for one in trimmed.step.undone],
        "max_rel": trimmed.step.max_rel,
    }


def trim_onnxslim(job: Job) -> Job:
    import onnxslim

    # As its README has it; shapes stay as symbolic as they are.
    if onnxslim.slim(job["source"], job["target"]) is not None:
        raise RuntimeError("it gave no network")
    return {}


def trim_onnxsim(job: Job, **settings: Any) -> Job:
    import onnx
    import onnxsim

    # As its README has it; dynamic shapes are kept unless they are overwritten.
    model, checked = onnxsim.simplify(onnx.load(job["source"]), **settings)
    if not checked:
        raise RuntimeError("its own check failed")
    onnx.save(model, job["target"])
    return {}


def trim_onnxsim_bodies(job: Job) -> Job:
    return trim_onnxsim(job, include_subgraph=True)


def sabotage(job: Job) -> Job:
    from support.trim_sabotage import sabotage as spoil

    return spoil(job)


def compare(job: Job) -> Job:
    from support.trim_outputs import compare_files

    everything = job.get("everything", False)
    return compare_files(job["source"], job["target"], read_feeds(job), everything=everything)


def time_loads(job: Job) -> Job:
    from support.trim_outputs import time_files

    return time_files(job["files"], job["budget_s"])


def count_macs(job: Job) -> Job:
    from support import mac_counters

    counters = {
        "edgewise": mac_counters.count_ours,
        "onnx-tool": mac_counters.count_onnx_tool,
        "seen": mac_counters.count_seen,
    }
    return counters[job["counter"]](job)


def read_feeds(job: Job) -> list[dict[str, Any]]:
    """The feeds that the job's seeds stand for, made for the original."""
    from support.trim_outputs import make_all_feeds

    return make_all_feeds(job["source"], job["axes"], job["limits"], job["seeds"])


WORKS: dict[str, Callable[[Job], Job]] = {
    "edgewise": trim_ours,
    "onnxslim": trim_onnxslim,
    "onnxsim": trim_onnxsim,
    "onnxsim, bodies too": trim_onnxsim_bodies,
    "sabotage": sabotage,
    "compare": compare,
    "time": time_loads,
    "macs": count_macs,
}


def _child(work: str, jobs: str, results: str, time_out_s: str) -> None:
    from edgewise.errors import BadInput

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with Path(results).open("a", encoding="utf-8", buffering=1) as stream:

        def say(**line: Any) -> None:
            stream.write(json.dumps(line) + "\n")

        for text in Path(jobs).read_text(encoding="utf-8").splitlines():
            say(state="begun")
            signal.alarm(int(time_out_s))
            start_s = time.perf_counter()
            try:
                facts = WORKS[work](json.loads(text))
            except BadInput as error:
                say(state="refused", reason=str(error)[:500], facts={})
            except Exception as error:
                say(state="crashed", reason=f"{type(error).__name__}: {error}"[:300], facts={})
            else:
                say(state="done", seconds=time.perf_counter() - start_s, facts=facts)
            signal.alarm(0)


if __name__ == "__main__":
    _child(*sys.argv[1:])
