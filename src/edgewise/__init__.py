"""edgewise takes a trained ONNX network off the cloud, as far as it will go.

The public names are loaded when first used, so that ``import edgewise`` loads no engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgewise.bundle import Bundle, open_bundle
    from edgewise.cost import Cost, Evidence, Forecast
    from edgewise.errors import BadInput, EdgewiseError, LinkFailed
    from edgewise.examples import load_examples
    from edgewise.graphs import load
    from edgewise.planning import build_bundle, plan, plan_given
    from edgewise.profiling import count
    from edgewise.running import (
        Answer,
        Options,
        Policy,
        Session,
        connect,
        download_bundle,
        stream,
    )
    from edgewise.running.asynchronous import AsyncSession, connect_async
    from edgewise.serving import serve
    from edgewise.shrinking import quantize
    from edgewise.specs import CloudSpec, DeviceSpec, LinkSpec
    from edgewise.trace_log import TraceLog, read_traces
    from edgewise.trials import measure_routes

_HOMES = {
    "Answer": "running",
    "AsyncSession": "running.asynchronous",
    "BadInput": "errors",
    "Bundle": "bundle",
    "CloudSpec": "specs",
    "Cost": "cost",
    "DeviceSpec": "specs",
    "EdgewiseError": "errors",
    "Evidence": "cost",
    "Forecast": "cost",
    "LinkFailed": "errors",
    "LinkSpec": "specs",
    "Options": "running",
    "Policy": "running",
    "Session": "running",
    "TraceLog": "trace_log",
    "build_bundle": "planning",
    "connect": "running",
    "connect_async": "running.asynchronous",
    "count": "profiling",
    "download_bundle": "running",
    "load": "graphs",
    "load_examples": "examples",
    "measure_routes": "trials",
    "open_bundle": "bundle",
    "plan": "planning",
    "plan_given": "planning",
    "quantize": "shrinking",
    "read_traces": "trace_log",
    "serve": "serving",
    "stream": "running",
}

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "AsyncSession",
    "BadInput",
    "Bundle",
    "CloudSpec",
    "Cost",
    "DeviceSpec",
    "EdgewiseError",
    "Evidence",
    "Forecast",
    "LinkFailed",
    "LinkSpec",
    "Options",
    "Policy",
    "Session",
    "TraceLog",
    "__version__",
    "build_bundle",
    "connect",
    "connect_async",
    "count",
    "download_bundle",
    "load",
    "load_examples",
    "measure_routes",
    "open_bundle",
    "plan",
    "plan_given",
    "quantize",
    "read_traces",
    "serve",
    "stream",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'edgewise' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgewise.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
