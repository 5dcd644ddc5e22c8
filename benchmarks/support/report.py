"""Print what a benchmark found: our figure beside the goal, on which machine, when, with what."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One claim: what was to be reached, what was measured, and whether that is enough."""

    what: str
    goal: str
    measured: str
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text under a heading."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything a benchmark found.

    Args:
        title: one line.
        goals: claims with their goals.
        tables: the figures behind them.
        notes: how it was measured, one sentence each.
        data: the figures for machines, SI units in the keys.
    """

    title: str
    goals: Sequence[Goal]
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    data: dict[str, Any] = field(default_factory=dict)


def main(
    measure: Callable[[argparse.Namespace], Findings],
    *,
    packages: Sequence[str],
    configure: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """Run a benchmark from its command line; 0 when every goal is met, else 1."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--md", type=Path, metavar="FILE")
    if configure is not None:
        configure(parser)
    args = parser.parse_args()
    findings = measure(args)
    text = render(findings, packages)
    print(text)
    if args.md is not None:
        args.md.write_text(text, encoding="utf-8")
    if args.json is not None:
        goals = [dataclasses.asdict(goal) for goal in findings.goals]
        report = {"title": findings.title, **machine(packages), "goals": goals, **findings.data}
        args.json.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8")
    return 0 if all(goal.met for goal in findings.goals) else 1


def in_a_cell(text: str, *, most: int = 160) -> str:
    """One line for a table, without the folders of this machine."""
    line = re.sub(r"(?:/[^\s/']+)+/([^\s/']+[.]onnx)", r"\1", " ".join(text.split()))
    return line[:most].replace("|", "/")


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """Date, CPU and versions."""
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def cpu_name() -> str:
    """The CPU as the system calls it, with the instruction sets that matter here."""
    fields = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    wanted = [name for name in ("avx2", "avx512f", "avx512_vnni") if name in flags]
    return f"{fields.get('model name', platform.machine())} ({', '.join(wanted)})"


def render(findings: Findings, packages: Sequence[str]) -> str:
    """The findings as Markdown."""
    facts = machine(packages)
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    lines = [
        f"# {findings.title}",
        "",
        f"{facts['date']} · {facts['cpu']}, {facts['cores']} cores, load {facts['load']} · "
        f"Python {facts['python']}, {versions}",
        "",
        *_markdown(
            ("what", "goal", "measured", "met"),
            [(g.what, g.goal, g.measured, "yes" if g.met else "**no**") for g in findings.goals],
        ),
    ]
    for table in findings.tables:
        lines += ["", f"## {table.title}", "", *_markdown(table.columns, table.rows)]
    if findings.notes:
        lines += ["", "## How it was measured", "", *(f"- {note}" for note in findings.notes)]
    return "\n".join(lines) + "\n"


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    head = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return head + [f"| {' | '.join(row)} |" for row in rows]
