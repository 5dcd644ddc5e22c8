"""``edgewise doctor``: what this machine can do, and the command that adds what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

import onnxruntime

from edgewise.cli.console import Commands, add_json, print_json

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
# Optional part: the module that shows whether it is there, and what it is for.
_PARTS = {
    "image": ("PIL", "decode and encode photos"),
    "serve": ("starlette", "the cloud half"),
    "studio": ("onnx", "cut, plan and shrink networks"),
}
_ENGINES = {"onnxruntime": "onnxruntime", "openvino": "openvino"}


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
    for engine in report["engines"]:
        state = engine["version"] or "not installed"
        print(f"engine  {engine['name']:12} {state}")
    for part in report["parts"]:
        state = "installed" if part["installed"] else f"missing; add it with: {part['command']}"
        print(f"part    {part['name']:12} {state} ({part['purpose']})")
    missing = [part for part in report["parts"] if not part["installed"]]
    print(f"next: {missing[0]['command'] if missing else 'edgewise demo'}")
    return 0


def examine() -> dict[str, Any]:
    """Engines, CPU and optional parts of this machine."""
    return {
        "edgewise": importlib.metadata.version("edgewise"),
        "python": f"Python {platform.python_version()}",
        "system": platform.platform(),
        "cpu": _examine_cpu(),
        "threads_default": 1,
        "engines": [
            {"name": name, "version": _version(package)} for name, package in _ENGINES.items()
        ],
        "providers": onnxruntime.get_available_providers(),
        "parts": [
            {
                "name": name,
                "installed": importlib.util.find_spec(module) is not None,
                "purpose": purpose,
                "command": f"pip install 'edgewise[{name}]'",
            }
            for name, (module, purpose) in _PARTS.items()
        ],
    }


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
