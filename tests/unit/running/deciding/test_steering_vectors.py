"""Recorded traces of the whole session: any implementation must play them as they stand.

The format stands in ``vectors/session/README.md``; ``--regen`` lives the stories below anew.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pytest

from edgewise.bundle import Route
from edgewise.records import parse_json, read_record, write_record
from edgewise.running import Options
from edgewise.running.deciding.events import Action, Unreachable
from edgewise.running.deciding.steering import Event, Mind, Rules, advance, first_mind
from edgewise.running.deciding.thrift import HostState
from session_worlds import CLOUD, EXPECTED, LOCAL, ROUTES, SPLIT, Weather, World

FOLDER = Path(__file__).parents[4] / "vectors/session/routes"
CLOSE = 1e-9

# What is written of a route and of the options: the machine reads nothing else of them.
ROUTE_FIELDS = ("name", "kind", "device_part", "server_part", "quality", "coefficients")
OPTION_FIELDS = ("link", "policy", "timeout_s", "refuse_late", "low_battery_share")
GOOD = Weather()


def _requests(
    world: World, times: int, *, every_s: float, weather: Weather, deadline_s: float | None = None
) -> None:
    world.weather = weather
    for _ in range(times):
        world.ask(deadline_s=deadline_s)
        world.now_s += every_s


def _link_collapses(world: World) -> None:
    _requests(world, 4, every_s=1.0, weather=GOOD)
    _requests(world, 4, every_s=1.0, weather=replace(GOOD, up_bytes_per_s=2e4))
    _requests(world, 5, every_s=12.0, weather=GOOD)


def _device_throttles(world: World) -> None:
    _requests(world, 3, every_s=5.0, weather=GOOD)
    _requests(world, 4, every_s=5.0, weather=replace(GOOD, slowness=5.0))
    _requests(world, 3, every_s=30.0, weather=GOOD)


def _server_overloads(world: World) -> None:
    _requests(world, 3, every_s=5.0, weather=GOOD)
    _requests(world, 4, every_s=5.0, weather=replace(GOOD, load=4.0, queue_s=0.25))
    _requests(world, 3, every_s=60.0, weather=GOOD)


def _nobody_knows_the_link(world: World) -> None:
    world.tell(Unreachable(now_s=0.0, why="the connection was refused"))
    world.now_s = 2.0
    _requests(world, 4, every_s=12.0, weather=replace(GOOD, up_bytes_per_s=5e4))


def _deadlines(world: World) -> None:
    _requests(world, 3, every_s=3.0, weather=GOOD, deadline_s=1.0)
    _requests(world, 3, every_s=3.0, weather=replace(GOOD, cloud="is silent"), deadline_s=1.0)
    _requests(world, 2, every_s=40.0, weather=GOOD, deadline_s=1.0)
    _requests(world, 1, every_s=1.0, weather=GOOD, deadline_s=0.0078125)


def _battery(world: World) -> None:
    _requests(world, 2, every_s=12.0, weather=GOOD)
    world.tell(HostState(battery_share=0.1))
    _requests(world, 2, every_s=12.0, weather=GOOD)
    world.tell(HostState(battery_share=0.1, on_charger=True))
    _requests(world, 2, every_s=12.0, weather=GOOD)


def _clock_jumps(world: World) -> None:
    _requests(world, 2, every_s=1.0, weather=GOOD)
    world.skew_s = -1000.0
    _requests(world, 2, every_s=1.0, weather=replace(GOOD, cloud="breaks"))
    world.skew_s = 1000.0
    _requests(world, 2, every_s=1.0, weather=GOOD)
    world.skew_s = 0.0
    _requests(world, 2, every_s=1.0, weather=replace(GOOD, jump_s=-3.0), deadline_s=1.0)


def _with_energy(route: Route, device_j: float) -> Route:
    return replace(route, coefficients=replace(route.coefficients, device_j=device_j))


EXPECTING = Rules(routes=ROUTES, fallback=True, options=Options(link=EXPECTED))
KNOWING_NOTHING = replace(EXPECTING, options=Options())
HUNGRY_SPLIT = replace(
    EXPECTING, routes=(_with_energy(SPLIT, 0.9), _with_energy(CLOUD, 0.1), LOCAL)
)


@dataclass(frozen=True, kw_only=True)
class Story:
    """What is lived through, by which rules, and the routes that are tried in turn."""

    live: Callable[[World], None]
    tried: str
    rules: Rules = EXPECTING


STORIES = {
    "the-link-collapses-and-recovers": Story(live=_link_collapses, tried="split local split"),
    "the-device-throttles": Story(live=_device_throttles, tried="split cloud"),
    "the-server-is-overloaded": Story(live=_server_overloads, tried="split local split"),
    "nobody-knows-the-link": Story(
        live=_nobody_knows_the_link, tried="split local split local", rules=KNOWING_NOTHING
    ),
    "deadlines": Story(live=_deadlines, tried="split local split"),
    "the-battery-runs-low": Story(live=_battery, tried="split cloud", rules=HUNGRY_SPLIT),
    "the-clock-jumps": Story(live=_clock_jumps, tried="split"),
}


@pytest.mark.parametrize("name", STORIES)
def test_recorded_trace(name: str, regen: bool) -> None:
    path, story = FOLDER / f"{name}.json", STORIES[name]
    if regen:
        path.write_text(_written(story))
    recorded: Any = parse_json(path.read_bytes(), where=str(path))
    told = [_read_event(step["event"]) for step in recorded["steps"]]
    rules = read_record(Rules, {key: recorded[key] for key in RULES}, where=str(path))
    played = _play(rules, told)
    assert len(played) == len(recorded["steps"])
    for step, expected in zip(played, recorded["steps"], strict=True):
        assert _alike(step, expected), (step, expected)
    tried = [step["state"]["route"] for step in played if step["event"]["type"] == "Wanted"]
    assert [route for route, _ in itertools.groupby(tried)] == story.tried.split()


def test_every_file_is_played() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(STORIES)


def test_another_route_or_another_estimate_is_noticed() -> None:
    assert _alike({"a": [1.0, "x", None]}, {"a": [1.0 + 1e-12, "x", None]})
    for other in ({"a": [1.1, "x", None]}, {"a": [1.0, "y", None]}, {"a": [1.0]}, {"b": 1.0}):
        assert not _alike({"a": [1.0, "x", None]}, other)


RULES = ("routes", "fallback", "options")


def _written(story: Story) -> str:
    world = World(rules=story.rules)
    story.live(world)
    routes = [_fields(route, ROUTE_FIELDS) for route in story.rules.routes]
    steps = _play(story.rules, world.events)
    return (
        f'{{"routes": [\n{_lines(routes)}\n],\n"fallback": {json.dumps(story.rules.fallback)},\n'
        f'"options": {json.dumps(_fields(story.rules.options, OPTION_FIELDS))},\n'
        f'"steps": [\n{_lines(steps)}\n]}}\n'
    )


def _lines(values: Sequence[object]) -> str:
    return ",\n".join(json.dumps(one) for one in values)


def _fields(value: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: write_record(getattr(value, name)) for name in names}


def _play(rules: Rules, told: Iterable[Event]) -> list[dict[str, Any]]:
    mind, steps = first_mind(rules.options), []
    for event in told:
        mind, action = advance(rules, mind, event)
        steps.append({"event": _typed(event), **_known(mind), "action": _typed(action)})
    return steps


def _known(mind: Mind) -> dict[str, Any]:
    outlook = mind.outlook
    now_s = outlook.link.slow.now_s  # when the link was measured last
    outlook_now = {
        "link": write_record(outlook.estimate(now_s)),
        "device": outlook.device.mean,
        "server": outlook.server.mean,
        "queue_s": outlook.queue.mean_s,
        "local_p99_s": outlook.local_p99_s(),
        "in_use": write_record(outlook.dwell),
    }
    return {"state": write_record(mind.state), "outlook": outlook_now}


def _typed(value: Event | Action | None) -> dict[str, Any] | None:
    return None if value is None else {"type": type(value).__name__, **write_record(value)}


def _read_event(data: dict[str, Any]) -> Event:
    kind = {one.__name__: one for one in get_args(Event)}[data["type"]]
    members = {key: value for key, value in data.items() if key != "type"}
    event: Event = read_record(kind, members, where="the event")
    return event


def _alike(one: Any, other: Any) -> bool:
    """The same, numbers as near as two languages' powers and sums are."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=CLOSE)
    return bool(one == other)
