"""The cloud half: answers Open Inference Protocol requests with the server parts of bundles.

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
    from edgewise.serving.access.access import LOCAL_HOSTS, Access, host_name
    from edgewise.serving.access.keys import (
        KeyEntry,
        KeyRing,
        NewKey,
        new_key,
        read_keys,
        write_entry,
    )
    from edgewise.serving.access.tls import server_context
    from edgewise.serving.app import create_app
    from edgewise.serving.batching.batcher import Limits
    from edgewise.serving.operations import LogForm, Operations
    from edgewise.serving.processes.process import RunningServer, server_process
    from edgewise.serving.processes.server import serve
    from edgewise.serving.repository.canary import Canary, read_canary
    from edgewise.serving.submissions.stored import Stored
    from edgewise.serving.submissions.submission_store import SubmissionStore

__all__ = [
    "LOCAL_HOSTS",
    "Access",
    "Canary",
    "KeyEntry",
    "KeyRing",
    "Limits",
    "LogForm",
    "NewKey",
    "Operations",
    "RunningServer",
    "Stored",
    "SubmissionStore",
    "create_app",
    "host_name",
    "new_key",
    "read_canary",
    "read_keys",
    "serve",
    "server_context",
    "server_process",
    "write_entry",
]

_HOMES = {
    "LOCAL_HOSTS": "access.access",
    "Access": "access.access",
    "Canary": "repository.canary",
    "KeyEntry": "access.keys",
    "KeyRing": "access.keys",
    "Limits": "batching.batcher",
    "LogForm": "operations",
    "NewKey": "access.keys",
    "Operations": "operations",
    "RunningServer": "processes.process",
    "Stored": "submissions.stored",
    "SubmissionStore": "submissions.submission_store",
    "create_app": "app",
    "host_name": "access.access",
    "new_key": "access.keys",
    "read_canary": "repository.canary",
    "read_keys": "access.keys",
    "serve": "processes.server",
    "server_context": "access.tls",
    "server_process": "processes.process",
    "write_entry": "access.keys",
}
_EXTRA = ("anyio", "httptools", "sqlalchemy", "starlette", "uvicorn")


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
