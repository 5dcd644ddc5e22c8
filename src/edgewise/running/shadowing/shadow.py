"""Shadow mode: a sampled share of the requests is answered by the other side too, and compared."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgewise.bundle import Bundle, Manifest, Route, RouteKind
from edgewise.engines import Engine
from edgewise.running.answer import FALLBACK, Answer
from edgewise.running.content import Content
from edgewise.running.deciding.machine import Health
from edgewise.running.deciding.steering import Mind
from edgewise.running.linking.asking import route_request
from edgewise.running.linking.exchange import Link
from edgewise.running.options import Options
from edgewise.running.shadowing.comparing import Compared, Tally, compared, deciding_output
from edgewise.running.shadowing.shadow_report import ShadowReport
from edgewise.running.usable import fallback_part, fallback_route
from edgewise.tensors import Array

_END_S = 2.0
_NICEST = 19


@dataclass(slots=True, kw_only=True)
class _Counts:
    asked: int = 0
    sampled: int = 0
    compared: int = 0
    skipped: int = 0
    unfit: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """An answered request that the other side shall answer too."""

    content: Content
    outputs: Mapping[str, Array]
    device: str
    cloud: Route
    asks_cloud: bool


class Shadow:
    """Answers sampled requests by the other side as well, in a thread of low priority.

    One request is compared at a time and one may wait; while it does, others are skipped.

    Args:
        bundle: open.
        options: with ``shadow``.
        routes: those that the session may take; no other is taken here.
        open_link: opens a link of its own to the server, if there is one.
    """

    def __init__(
        self,
        bundle: Bundle,
        options: Options,
        routes: Sequence[Route],
        open_link: Callable[[], Link] | None,
    ) -> None:
        assert options.shadow is not None
        self._bundle, self._options, self._sampling = bundle, options, options.shadow
        self._remote = [route for route in routes if route.server_part is not None]
        self._device = _device_side(bundle.manifest, routes, options)
        self._idle = self._idle_reason(open_link is not None)
        self._link = None if self._idle or open_link is None else open_link()
        self._first = deciding_output(bundle.manifest)
        self._tally = Tally(bundle.manifest, window=self._sampling.window)
        self._counts = _Counts()
        self._changed = threading.Condition()
        self._engines: Mapping[str, Engine] = {}
        self._waiting: _Job | None = None
        self._busy = self._ended = False
        self._thread: threading.Thread | None = None

    def start(self, engines: Mapping[str, Engine]) -> None:
        """Begin to compare.

        Args:
            engines: the device's networks by name; open until this is closed.
        """
        if not self._idle:
            self._engines = engines
            self._thread = threading.Thread(target=self._work, name="edgewise-shadow", daemon=True)
            self._thread.start()

    def offer(self, content: Content, answer: Answer, *, mind: Mind) -> None:
        """Take note of an answered request; returns at once.

        Args:
            content: what was asked.
            answer: what the caller gets.
            mind: what the session knows of the cloud and of the host's power.
        """
        if self._idle:
            return
        with self._changed:
            if self._ended:
                return
            self._counts.asked += 1
            if self._sampling.rng.random() < self._sampling.share:
                self._counts.sampled += 1
                self._take(content, answer, spare=_has_to_spare(mind))

    def report(self, *, timeout_s: float = 0.0) -> ShadowReport:
        """What was found so far.

        Args:
            timeout_s: how long to wait for what is being compared now.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None and not self._busy, timeout_s)
            counts = self._counts
            return ShadowReport(
                share=self._sampling.share,
                idle=self._idle,
                asked=counts.asked,
                sampled=counts.sampled,
                compared=counts.compared,
                skipped=counts.skipped,
                unfit=counts.unfit,
                failed=counts.failed,
                pairs=self._tally.pairs(),
                trend=self._tally.trend(),
                classes=self._first is not None,
            )

    def close(self) -> None:
        """Give up what is being compared."""
        with self._changed:
            self._ended, self._waiting = True, None
            self._changed.notify_all()
        if self._link is not None:
            self._link.close()
            if self._thread is not None:
                self._thread.join(_END_S)
            self._link.close()

    def _idle_reason(self, online: bool) -> str:
        if not online:
            return "no server was named"
        if not self._remote or self._device is None:
            also = " with raw_input_stays" if self._options.raw_input_stays else ""
            side = "cloud" if not self._remote else "device"
            return f"the policy {self._options.policy}{also} leaves no route of the {side}"
        return ""

    def _take(self, content: Content, answer: Answer, *, spare: bool) -> None:
        route = self._cloud_route(content, answer)
        if route is None or not spare:
            self._counts.unfit += 1
        elif self._waiting is not None:
            self._counts.skipped += 1
        else:
            self._waiting = self._job(content, answer, route)
            self._changed.notify_all()

    def _job(self, content: Content, answer: Answer, cloud: Route) -> _Job:
        assert self._device is not None
        source = answer.inference_source
        on_device = source.kind == RouteKind.LOCAL
        return _Job(
            content=content.kept(),
            outputs={name: array.copy() for name, array in answer.outputs.items()},
            device=source.route if on_device else self._device[0],
            cloud=cloud,
            asks_cloud=on_device,
        )

    def _cloud_route(self, content: Content, answer: Answer) -> Route | None:
        taken = answer.inference_source.route
        suitable = [route for route in self._remote if content.suits(route)]
        return next((r for r in suitable if r.name == taken), next(iter(suitable), None))

    def _work(self) -> None:
        _yield_to_others()
        while (job := self._next()) is not None:
            try:
                found = self._compare(job)
            except Exception:  # whatever it was: nobody waits for this answer
                found = None
            del job  # no input is kept
            with self._changed:
                self._busy = False
                if found is None:
                    self._counts.failed += 1
                else:
                    self._counts.compared += 1
                    self._tally.add(found)
                self._changed.notify_all()

    def _next(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._waiting is not None)
            job, self._waiting = self._waiting, None
            self._busy = job is not None
            return job

    def _compare(self, job: _Job) -> Compared:
        if job.asks_cloud:
            of_device, of_cloud = job.outputs, self._ask_cloud(job)
        else:
            of_device, of_cloud = self._ask_device(job), job.outputs
        return compared(of_device, of_cloud, pair=(job.device, job.cloud.name), name=self._first)

    def _ask_device(self, job: _Job) -> Mapping[str, Array]:
        assert self._device is not None
        return self._engines[self._device[1]].run(job.content.feeds())

    def _ask_cloud(self, job: _Job) -> Mapping[str, Array]:
        assert self._link is not None
        route, content = job.cloud, job.content
        if route.device_part is None:
            payload = content.encoded(route)
        else:
            given = self._engines[route.device_part].run(content.feeds())
            payload = {bound.name: given[bound.name] for bound in route.boundary}
        seconds = route.coefficients.device_s + route.coefficients.cloud_s
        request = route_request(
            self._bundle,
            route,
            payload,
            id="shadow",
            timeout_s=self._options.wait_s(predicted_s=seconds),
        )
        return self._link.send(request).message.tensors


def _device_side(
    manifest: Manifest, routes: Sequence[Route], options: Options
) -> tuple[str, str] | None:
    """Route and network that answer on the device, if any may: the fallback before others."""
    part, route = fallback_part(manifest, options), fallback_route(manifest)
    if part is not None:
        return (FALLBACK if route is None else route.name), part
    local = (route for route in routes if route.kind is RouteKind.LOCAL)
    return next(((r.name, r.device_part) for r in local if r.device_part is not None), None)


def _has_to_spare(mind: Mind) -> bool:
    """Whether cloud and device are well enough to answer for nobody."""
    on_battery = mind.host.battery_share is not None and not mind.host.on_charger
    return mind.state.health is Health.ONLINE and not on_battery


def _yield_to_others() -> None:
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICEST)
