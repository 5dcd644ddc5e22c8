"""What is put around the endpoints, as an operator chose."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.types import ASGIApp

from edgewise.serving.access.access import Access, Guard
from edgewise.serving.access.doors import Doors
from edgewise.serving.access.gate import Gate
from edgewise.serving.observing.logs import RequestLog
from edgewise.serving.observing.metrics import Meters, build_labels
from edgewise.serving.observing.observer import Observer
from edgewise.serving.processes.draining import Draining
from edgewise.serving.protocol.descriptions import package_version
from edgewise.serving.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """One server's layers, with what the process around it has to tell them.

    Args:
        middleware: from the outermost in; each takes the layer within.
        draining: to be begun when the process is told to end.
        doors: to be changed when the operator changes the keys.
        log: to be started and closed with the process.
    """

    middleware: tuple[Callable[[ASGIApp], ASGIApp], ...]
    draining: Draining
    doors: Doors
    log: RequestLog

    def around(self, app: ASGIApp) -> ASGIApp:
        """``app`` with every layer."""
        for layer in reversed(self.middleware):
            app = layer(app)
        return app


def build_layers(repository: Repository, *, access: Access) -> Layers:
    """The layers of one server.

    Args:
        repository: what metrics are about.
        access: who is let in, and what an operator chose.

    Raises:
        MissingExtra: when metrics are wanted and prometheus-client is not installed.
    """
    chosen = access.operations
    draining = Draining(notice_s=chosen.notice_s, clock=time.monotonic)
    doors = Doors(chosen.keys, clock=time.monotonic)
    log = RequestLog(
        chosen.log,
        stream=sys.stderr,
        wall_clock=time.time,
        clock=time.monotonic,
        name_keys=chosen.name_keys,
    )
    meters = None
    if chosen.metrics:
        meters = Meters(
            served=lambda: repository.snapshot.bundles,
            build=build_labels(version=package_version()),
            name_keys=chosen.name_keys,
        )
    middleware = (
        partial(Observer, log=log, meters=meters, clock=time.perf_counter),
        partial(Guard, access=access),
        partial(Gate, doors=doors, meters=meters, draining=draining),
    )
    return Layers(middleware=middleware, draining=draining, doors=doors, log=log)
