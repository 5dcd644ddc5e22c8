"""The cloud half: answers Open Inference Protocol requests with a bundle's server parts.

Everything a server needs before it is ready happens before it listens: the bundle is checked,
each server part is loaded and run once. Nothing here knows the device half or the studio.

Names are loaded when they are used: whoever only starts a server process needs no web server in
its own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from edgewise.errors import MissingExtra

if TYPE_CHECKING:
    from edgewise.serving.access import LOCAL_HOSTS, Access
    from edgewise.serving.app import create_app
    from edgewise.serving.batching import Limits
    from edgewise.serving.process import RunningServer, server_process
    from edgewise.serving.server import serve

__all__ = [
    "LOCAL_HOSTS",
    "Access",
    "Limits",
    "RunningServer",
    "create_app",
    "serve",
    "server_process",
]

_HOMES = {
    "LOCAL_HOSTS": "access",
    "Access": "access",
    "Limits": "batching",
    "RunningServer": "process",
    "create_app": "app",
    "serve": "server",
    "server_process": "process",
}
_EXTRA = ("anyio", "httptools", "starlette", "uvicorn")


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise MissingExtra(extra="serve", purpose="to answer requests over HTTP") from None
    return getattr(home, name)
