"""A session in virtual time around the product's own machine, without a copy of its decisions.

What :class:`edgewise.running.Session` does with threads, sockets and networks, this does by
asking the world how long it takes; everything else is ``steering.advance``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgewise.bundle import Manifest, Route
from edgewise.running import Options
from edgewise.running.deciding.events import (
    Action,
    AnswerNow,
    Cancelled,
    HeadDone,
    HedgeDue,
    LocalDone,
    OfRequest,
    RemoteFailed,
    ReplyArrived,
    RunFallback,
    RunHead,
    Send,
    TimedOut,
)
from edgewise.running.deciding.steering import DeviceRan, Mind, Rules, Wanted, advance, first_mind
from edgewise.running.usable import fallback_route, usable_routes
from support.adaptation_world import Exchange, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One exchange, as a chooser of others may see it.

    Args:
        up_bytes: sent.
        seconds: until the reply was there, or was given up.
    """

    up_bytes: int
    seconds: float


@dataclass(slots=True, kw_only=True)
class Chooser:
    """Insists on a route in place of the session's own choice.

    Args:
        choose: a route's name, given the seconds left until the deadline; ``None``: the session
            chooses.
        watch: told of every exchange.
    """

    choose: Callable[[float], str | None] = lambda _: None
    watch: Callable[[Transfer], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of one request.

    Args:
        asked_s: when it came.
        took_s: from there to the answer.
        tried: name of the route that was tried.
        route: the route that the answer came from.
    """

    asked_s: float
    took_s: float
    tried: str
    route: Route


@dataclass(slots=True)
class _Request:
    """What is under way for one request, and when it will happen."""

    number: int
    exchange: Exchange | None = None
    sent_s: float = 0.0
    due_s: dict[str, float] = field(default_factory=dict)


class SimulatedSession:
    """One session, from its first request to its last.

    Args:
        world: how long everything takes.
        manifest: of the bundle.
        options: as a session takes them.
        chooser: which route to try, if not the session's own choice.
    """

    def __init__(
        self, world: World, manifest: Manifest, options: Options, chooser: Chooser
    ) -> None:
        fallback = fallback_route(manifest)
        assert fallback is not None, "these bundles have one"
        self.fallback = fallback
        routes = usable_routes(manifest, options, online=True)
        self.rules = Rules(routes=routes, fallback=True, options=options)
        self.mind: Mind = first_mind(options)
        self._routes = {route.name: route for route in routes}
        self._world = world
        self._chooser = chooser
        self._now_s = 0.0
        self._connected = False
        self._runs: list[tuple[float, float]] = []  # of the device, alone: from, to

    def run(self, *, at_s: float, deadline_s: float) -> Answered:
        """Answer one request; those that come meanwhile wait, as in a real session."""
        self._now_s = max(self._now_s, at_s)
        spent_s = self._now_s - at_s
        request = _Request(self.mind.state.request + 1)
        running = [start_s for start_s, end_s in self._runs if end_s > self._now_s]
        wanted = Wanted(
            now_s=self._now_s,
            request=request.number,
            routes=tuple(self._routes),
            route=self._chooser.choose(deadline_s - spent_s),
            deadline_s=deadline_s,
            spent_s=spent_s,
            busy_since_s=running[0] if running else None,
        )
        action = self._tell(wanted)
        tried = self.mind.state.route
        while not isinstance(action, AnswerNow):
            self._perform(action, request)
            action = self._tell(self._next(request))
        self._end(request)
        return Answered(
            asked_s=at_s,
            took_s=self._now_s - at_s,
            tried=tried,
            route=self.fallback if action.fallback else self._routes[tried],
        )

    def _tell(self, event: Wanted | OfRequest) -> Action | None:
        while self._runs and self._runs[0][1] <= self._now_s:
            start_s, end_s = self._runs.pop(0)
            ran = DeviceRan(now_s=self._now_s, took_s=end_s - start_s)
            self.mind, _ = advance(self.rules, self.mind, ran)
        self.mind, action = advance(self.rules, self.mind, event)
        return action

    def _perform(self, action: Action | None, request: _Request) -> None:
        match action:
            case RunHead():
                self._run_head(request)
            case RunFallback():
                request.due_s.pop("hedge", None)
                request.due_s["local"] = self._run_alone(request)
            case Send():
                self._send(action, request)

    def _run_head(self, request: _Request) -> None:
        route = self._routes[self.mind.state.route]
        if route.name == self.fallback.name:
            request.due_s["head"] = self._run_alone(request)
            return
        head_s = self._world.device_s(route, number=request.number, start_s=self._now_s)
        request.due_s["head"] = self._now_s + head_s

    def _run_alone(self, request: _Request) -> float:
        """When the network that answers alone is done; an older run goes first."""
        start_s = max([self._now_s, *(end_s for _, end_s in self._runs)])
        run_s = self._world.device_s(self.fallback, number=request.number, start_s=start_s)
        self._runs.append((start_s, start_s + run_s))
        return start_s + run_s

    def _send(self, send: Send, request: _Request) -> None:
        route = self._routes[self.mind.state.route]
        exchange = self._world.exchange(
            route, number=request.number, start_s=self._now_s, cold=not self._connected
        )
        self._connected = True
        request.exchange, request.sent_s = exchange, self._now_s
        request.due_s["reply"] = exchange.last_s
        request.due_s["timeout"] = self._now_s + send.timeout_s
        if send.hedge_s is not None:
            request.due_s["hedge"] = self._now_s + send.hedge_s

    def _next(self, request: _Request) -> OfRequest:
        """Whatever happens next, at its time."""
        name = min(request.due_s, key=lambda one: request.due_s[one])
        self._now_s = request.due_s.pop(name)
        if name == "reply":
            return self._replied(request)
        if name == "timeout":
            self._stop_sending(request)
        kinds = {"head": HeadDone, "local": LocalDone, "timeout": TimedOut, "hedge": HedgeDue}
        event: OfRequest = kinds[name](now_s=self._now_s, request=request.number)
        return event

    def _replied(self, request: _Request) -> OfRequest:
        exchange, number = request.exchange, request.number
        assert exchange is not None
        self._over(request)
        if exchange.refused:
            return RemoteFailed(now_s=self._now_s, request=number, why="the server answered 429")
        c = self._routes[self.mind.state.route].coefficients
        return ReplyArrived(
            now_s=self._now_s,
            request=number,
            up_bytes=c.up_bytes,
            down_bytes=c.down_bytes,
            waited_s=exchange.first_s - request.sent_s,
            read_s=exchange.last_s - exchange.first_s,
            server_s=exchange.queue_s + exchange.compute_s,
            queue_s=exchange.queue_s,
        )

    def _stop_sending(self, request: _Request) -> None:
        self._connected = False
        self._over(request)

    def _over(self, request: _Request) -> None:
        """The cloud owes nothing any more."""
        request.exchange = None
        for name in ("reply", "timeout", "hedge"):
            request.due_s.pop(name, None)
        up_bytes = self._routes[self.mind.state.route].coefficients.up_bytes
        self._chooser.watch(Transfer(up_bytes=up_bytes, seconds=self._now_s - request.sent_s))

    def _end(self, request: _Request) -> None:
        if request.exchange is not None:
            self._stop_sending(request)
        # A run that has begun goes on to its end, whoever still waits; others never begin.
        self._runs = [run for run in self._runs if run[0] <= self._now_s]
        self._tell(Cancelled(now_s=self._now_s, request=request.number))
