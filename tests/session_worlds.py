"""A session in simulated time: one device, one link and one cloud around the session machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgewise.bundle import Coefficients, Route, RouteKind
from edgewise.running import Options
from edgewise.running.deciding.events import (
    Action,
    AnswerNow,
    Cancelled,
    Fault,
    GiveUp,
    HeadDone,
    HedgeDue,
    LocalDone,
    OfRequest,
    Refuse,
    RemoteFailed,
    ReplyArrived,
    RunFallback,
    RunHead,
    Send,
    TimedOut,
)
from edgewise.running.deciding.steering import (
    DeviceRan,
    Event,
    Mind,
    Rules,
    Wanted,
    advance,
    first_mind,
)
from edgewise.specs import LinkSpec, Provenance

Cloud = Literal["answers", "is silent", "breaks", "refuses the input"]

EXPECTED = LinkSpec(
    name="lte",
    up_bytes_per_s=1e6,
    down_bytes_per_s=4e6,
    rtt_s=0.05,
    provenance=Provenance(source="user-supplied", date="2026-11-22"),
)
LOCAL = Route(
    name="local",
    kind=RouteKind.LOCAL,
    device_part="full",
    coefficients=Coefficients(device_s=0.4, device_j=1.0),
)
SPLIT = Route(
    name="split",
    kind=RouteKind.SPLIT,
    device_part="head",
    server_part="tail",
    coefficients=Coefficients(
        device_s=0.1, cloud_s=0.05, up_bytes=50_000, down_bytes=4_000, rtts=1, device_j=0.3
    ),
)
CLOUD = Route(
    name="cloud",
    kind=RouteKind.CLOUD,
    server_part="whole",
    coefficients=Coefficients(
        cloud_s=0.08, up_bytes=150_000, down_bytes=4_000, rtts=1, device_j=0.5
    ),
)
ROUTES = (SPLIT, CLOUD, LOCAL)


@dataclass(frozen=True, kw_only=True)
class Weather:
    """How things really are, whatever the session thinks.

    ``slowness`` and ``load`` are times the planned seconds of the device and of the cloud, where
    requests first wait ``queue_s``; while the device's part runs, the clock jumps by ``jump_s``.
    """

    cloud: Cloud = "answers"
    up_bytes_per_s: float = 1e6
    rtt_s: float = 0.05
    slowness: float = 1.0
    load: float = 1.0
    queue_s: float = 0.0
    jump_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a request ended."""

    action: AnswerNow | GiveUp | Refuse
    route: str
    took_s: float
    actions: tuple[Action, ...]

    def count(self, kind: type[Action]) -> int:
        return sum(isinstance(action, kind) for action in self.actions)


@dataclass(kw_only=True)
class World:
    """Drives the machine as a session does; ``skew_s`` is how far its clock is off."""

    rules: Rules = field(
        default_factory=lambda: Rules(routes=ROUTES, fallback=True, options=Options(link=EXPECTED))
    )
    weather: Weather = field(default_factory=Weather)
    now_s: float = 0.0
    skew_s: float = 0.0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mind: Mind = first_mind(self.rules.options)
        self._due: dict[str, float] = {}
        self._runs: list[tuple[float, float]] = []  # of the device: from, to
        self._number = 0

    def ask(self, *, deadline_s: float | None = None) -> Outcome:
        """One request, from its beginning to its end."""
        self._number += 1
        begun_s, actions = self.now_s, []
        action = self.tell(self._wanted(deadline_s))
        route = self.mind.state.route
        while not isinstance(action, AnswerNow | GiveUp | Refuse):
            actions.append(action)
            self._perform(action)
            action = self.tell(self._next())
        self._end()
        took_s = self.now_s - begun_s
        return Outcome(action=action, route=route, took_s=took_s, actions=tuple(actions))

    def tell(self, event: Event) -> Action | None:
        """Pass an event on, and before it the runs of the device that have ended meanwhile."""
        while self._runs and self._runs[0][1] <= self.now_s:
            start_s, end_s = self._runs.pop(0)
            self._tell(DeviceRan(now_s=self.clock_s, took_s=end_s - start_s))
        return self._tell(event)

    @property
    def clock_s(self) -> float:
        return self.now_s + self.skew_s

    @property
    def local_s(self) -> float:
        return LOCAL.coefficients.device_s * self.weather.slowness

    def _tell(self, event: Event) -> Action | None:
        self.events.append(event)
        self.mind, action = advance(self.rules, self.mind, event)
        return action

    def _wanted(self, deadline_s: float | None) -> Wanted:
        since_s = [start_s for start_s, end_s in self._runs if end_s > self.now_s]
        return Wanted(
            now_s=self.clock_s,
            request=self._number,
            routes=tuple(route.name for route in self.rules.routes),
            deadline_s=deadline_s,
            busy_since_s=since_s[0] + self.skew_s if since_s else None,
        )

    def _route(self) -> Route:
        return next(route for route in self.rules.routes if route.name == self.mind.state.route)

    def _perform(self, action: Action | None) -> None:
        match action:
            case RunHead():
                route = self._route()
                local = route.server_part is None
                head_s = route.coefficients.device_s * self.weather.slowness
                self._due["head"] = self._run_device() if local else self.now_s + head_s
            case RunFallback():
                self._due.pop("hedge", None)
                self._due["local"] = self._run_device()
            case Send():
                self._send(action)

    def _run_device(self) -> float:
        """When the network that answers alone is done; an older run goes first."""
        start_s = max([self.now_s, *(end_s for _, end_s in self._runs)])
        self._runs.append((start_s, start_s + self.local_s))
        return self._runs[-1][1]

    def _send(self, send: Send) -> None:
        c, weather = self._route().coefficients, self.weather
        self._due["timeout"] = self.now_s + send.timeout_s
        if send.hedge_s is not None:
            self._due["hedge"] = self.now_s + send.hedge_s
        if weather.cloud == "answers":
            self._due["reply"] = self.now_s + self._waited_s() + c.down_bytes / 4e6
        elif weather.cloud != "is silent":
            self._due["failure"] = self.now_s + weather.rtt_s

    def _waited_s(self) -> float:
        c, weather = self._route().coefficients, self.weather
        upload_s = c.up_bytes / weather.up_bytes_per_s
        return upload_s + weather.rtt_s + weather.queue_s + c.cloud_s * weather.load

    def _next(self) -> OfRequest:
        assert self._due, "the machine waits for nothing"
        name = min(self._due, key=lambda one: self._due[one])
        self.now_s = self._due.pop(name)
        if name == "head":
            self.skew_s += self.weather.jump_s
        if name in ("reply", "failure", "timeout"):
            for of_send in ("reply", "failure", "timeout", "hedge"):
                self._due.pop(of_send, None)
        return self._event(name)

    def _event(self, name: str) -> OfRequest:
        now_s, number = self.clock_s, self._number
        if name == "reply":
            return self._reply()
        if name == "failure":
            refused = self.weather.cloud == "refuses the input"
            return RemoteFailed(
                now_s=now_s,
                request=number,
                why="odd" if refused else "the connection broke",
                fault=Fault.INPUT if refused else Fault.CLOUD,
                again=not refused,
            )
        kinds = {"head": HeadDone, "local": LocalDone, "timeout": TimedOut, "hedge": HedgeDue}
        return kinds[name](now_s=now_s, request=number)

    def _reply(self) -> ReplyArrived:
        c = self._route().coefficients
        return ReplyArrived(
            now_s=self.clock_s,
            request=self._number,
            up_bytes=c.up_bytes,
            down_bytes=c.down_bytes,
            waited_s=self._waited_s(),
            read_s=c.down_bytes / 4e6,
            server_s=self.weather.queue_s + c.cloud_s * self.weather.load,
            queue_s=self.weather.queue_s,
        )

    def _end(self) -> None:
        self._due.clear()
        # Nobody wants those any more once the device is free.
        self._runs = [run for run in self._runs if run[0] <= self.now_s]
        self.tell(Cancelled(now_s=self.clock_s, request=self._number))
