"""``edgewise doctor``: what this machine can do, and the command that adds what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

from edgewise import __version__
from edgewise.cli.console import Commands, add_json, note, print_json
from edgewise.cli.models import STUDIO

_INSTRUCTION_SETS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "asimddp",
    "i8mm",
)
# Optional part: the modules that it consists of, and what it is for.
_PARTS = {
    "image": (("PIL",), "decode and encode photos"),
    "serve": (("starlette", "uvicorn", "httptools"), "the cloud half"),
    "studio": (STUDIO, "cut, plan and shrink networks"),
}
_ENGINES = {"onnxruntime": "onnxruntime"}
_THREADS = 1


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("doctor", help="what this machine can do")
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Print what this machine can do."""
    report = examine()
    if args.json:
        print_json(report)
        return 0
    print(f"{report['cpu']['name']}, {report['cpu']['cores']} cores, {report['python']}")
    print(f"instruction sets  {', '.join(report['cpu']['instruction_sets']) or 'none known'}")
    print(f"threads of a run  {report['threads_default']} unless said, so that figures compare")
    for engine in report["engines"]:
        state = engine["version"] or f"missing; add it with: {engine['command']}"
        print(f"engine  {engine['name']:12} {state}")
    for part in report["parts"]:
        state = "installed" if part["installed"] else f"missing; add it with: {part['command']}"
        print(f"part    {part['name']:12} {state} ({part['purpose']})")
    missing = [part["name"] for part in report["parts"] if not part["installed"]]
    add = f"pip install 'edgewise[{','.join(missing)}]'"
    note(f"next: {add if missing else 'edgewise demo'}")
    return 0


def examine() -> dict[str, Any]:
    """Engines, CPU and optional parts of this machine."""
    return {
        "edgewise": __version__,
        "python": f"Python {platform.python_version()}",
        "system": platform.platform(),
        "cpu": _examine_cpu(),
        "threads_default": _THREADS,
        "engines": [
            {
                "name": name,
                "version": _version(package),
                "command": f"pip install {package}",
            }
            for name, package in _ENGINES.items()
        ],
        "providers": _providers(),
        "parts": [
            {
                "name": name,
                "installed": all(map(importlib.util.find_spec, modules)),
                "purpose": purpose,
                "command": f"pip install 'edgewise[{name}]'",
            }
            for name, (modules, purpose) in _PARTS.items()
        ],
    }


def _providers() -> list[str]:
    # A doctor must be able to speak when the engine is broken.
    try:
        import onnxruntime
    except ImportError:
        return []
    providers: list[str] = onnxruntime.get_available_providers()
    return providers


def _examine_cpu() -> dict[str, Any]:
    fields = _cpu_fields()
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    return {
        "name": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "instruction_sets": [name for name in _INSTRUCTION_SETS if name in flags],
    }


def _cpu_fields() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
