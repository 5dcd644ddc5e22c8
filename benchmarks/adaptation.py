"""How well a session adapts: against an oracle that knows the trace, and against fixed routes.

A request scores the accuracy of the route that answered it (the share of photos that this route
decides as the full network does) when the answer is there within 1 s, else 0. The *share* is the
sum of a session's scores over the sum of the oracle's. For each request the oracle takes the
route with the best score, of equals the quickest, on a connection that is open and a device that
is free; it knows every rate, queue and slowness to come. A *flap* is a change back to a route
that was left less than 10 s before.

Time is simulated, decisions are not: the session's own machine is told what happens, and when.
One trace is then played for real. Run: python benchmarks/adaptation.py [--quick] [--json FILE]
[--md FILE]; recorded traces come from ``../shared/data/link-traces``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgewise.bundle import Manifest
from edgewise.catalog import load_link
from edgewise.running import Options
from support.adaptation_bundles import SHARED, Equipped, plan_bundles
from support.adaptation_peers import accuracy, by_ewma, by_last_sample, fixed, oracle
from support.adaptation_real import run_for_real
from support.adaptation_session import Answered, Chooser, SimulatedSession
from support.adaptation_situations import TUNED, made, recorded, recorded_world
from support.adaptation_world import World
from support.choice_times import choice_goal, choice_times
from support.report import Findings, Goal, Table, main

TRACES = SHARED / "data" / "link-traces"
DEVICES = {"phone": 30.0, "slow phone": 120.0, "very slow phone": 240.0}
REAL_DEVICE, REAL_TRACE, REAL_S = "slow phone", "3g-bus-10", 60.0
DEADLINE_S = 1.0
PHOTOS = 120
SHARE_GOAL, FLAP_WINDOW_S, REAL_GOAL = 0.95, 10.0, 0.05
SESSION, ORACLE = "session", "oracle"
EXPECTED = load_link("lte")
OPTIONS = Options(link=EXPECTED, refuse_late=False)
GROUPS = ("recorded, reported", "recorded, tuned on", "made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One device in one situation.

    Args:
        scores: sums, by who chose.
        same: requests that the session answered in time by the oracle's route or one as good.
        possible: requests that some route could answer in time.
    """

    device: str
    world: str
    group: str
    requests: int
    scores: Mapping[str, float]
    same: int
    possible: int
    changes: int
    flaps: int


@dataclass(slots=True)
class Tally:
    """Everything that was simulated."""

    runs: list[Run] = field(default_factory=list)

    def share(self, who: str = SESSION, **wanted: str) -> float:
        some = [run for run in self.runs if all(getattr(run, k) == v for k, v in wanted.items())]
        best = sum(run.scores[ORACLE] for run in some)
        return sum(run.scores.get(who, 0.0) for run in some) / best if best else 1.0


def measure(args: argparse.Namespace) -> Findings:
    worlds = {"made": made()}
    if TRACES.exists():
        traces = recorded(TRACES)
        worlds["recorded, reported"] = [world for world in traces if world.name not in TUNED]
        worlds["recorded, tuned on"] = [world for world in traces if world.name in TUNED]
    with tempfile.TemporaryDirectory() as folder:
        equipped, photos = plan_bundles(Path(folder), DEVICES, photos=PHOTOS)
        tally = Tally()
        for device in equipped:
            for group in (group for group in GROUPS if group in worlds):
                for world in worlds[group]:
                    simulate(tally, device, world, group)
        real = None
        if not args.quick and TRACES.exists():
            device = next(one for one in equipped if one.device.name == REAL_DEVICE)
            path = TRACES / f"{REAL_TRACE}.txt"
            world = recorded_world(path, longest_s=REAL_S)
            real = shares_of(
                device,
                world,
                run_for_real(device, world, path, photos, deadline_s=DEADLINE_S),
            )
        return find(tally, equipped, real)


def simulate(tally: Tally, equipped: Equipped, world: World, group: str) -> None:
    """The session, every fixed route and the two plain estimators in one situation."""
    manifest = equipped.bundle.manifest
    routes = manifest.routes
    best = oracle(world, routes, deadline_s=DEADLINE_S)
    answers = play(world, manifest, Chooser())
    scores = {ORACLE: sum(one.score for one in best), SESSION: score(answers)}
    peers = {route.name: fixed(route.name) for route in routes}
    peers["last sample"] = by_last_sample(routes, EXPECTED)
    peers["EWMA"] = by_ewma(routes, EXPECTED)
    for name, chooser in peers.items():
        scores[name] = score(play(world, manifest, chooser))
    pairs = list(zip(answers, best, strict=True))
    tally.runs.append(
        Run(
            device=equipped.device.name,
            world=world.name,
            group=group,
            requests=len(answers),
            scores=scores,
            same=sum(0 < one.score <= worth(answer) for answer, one in pairs),
            possible=sum(one.score > 0 for one in best),
            changes=len(changes(answers)),
            flaps=most_flaps(answers),
        )
    )


def play(world: World, manifest: Manifest, chooser: Chooser) -> list[Answered]:
    session = SimulatedSession(world, manifest, OPTIONS, chooser)
    return [session.run(at_s=asked_s, deadline_s=DEADLINE_S) for asked_s in world.arrivals_s()]


def worth(answer: Answered) -> float:
    return accuracy(answer.route) if answer.took_s <= DEADLINE_S else 0.0


def score(answers: Iterable[Answered]) -> float:
    return sum(map(worth, answers))


def changes(answers: Sequence[Answered]) -> list[tuple[float, str, str]]:
    """Times at which another route was tried than before, with both."""
    pairs = itertools.pairwise(answers)
    return [(b.asked_s, a.tried, b.tried) for a, b in pairs if a.tried != b.tried]


def most_flaps(answers: Sequence[Answered]) -> int:
    """The most flaps within 10 s."""
    left_s: dict[str, float] = {}
    flaps_s = []
    for time_s, left, taken in changes(answers):
        if time_s - left_s.get(taken, -FLAP_WINDOW_S) < FLAP_WINDOW_S:
            flaps_s.append(time_s)
        left_s[left] = time_s
    windows = [[t for t in flaps_s if 0 <= t - first_s < FLAP_WINDOW_S] for first_s in flaps_s]
    return max(map(len, windows), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """What a real minute scored, beside the same minute simulated."""

    requests: int
    measured: float
    simulated: float


def shares_of(equipped: Equipped, world: World, answers: Sequence[Answered]) -> Real:
    manifest = equipped.bundle.manifest
    best = sum(one.score for one in oracle(world, manifest.routes, deadline_s=DEADLINE_S))
    simulated = score(play(world, manifest, Chooser()))
    return Real(requests=len(answers), measured=score(answers) / best, simulated=simulated / best)


def find(tally: Tally, equipped: Sequence[Equipped], real: Real | None) -> Findings:
    devices = [one.device.name for one in equipped]
    groups = [group for group in GROUPS if any(run.group == group for run in tally.runs)]
    goals = [
        *(share_goal(tally, f"recorded traces, {d}", device=d, group=GROUPS[0]) for d in devices),
        *(share_goal(tally, world.name, world=world.name) for world in made()),
        *(fixed_goal(tally, one) for one in equipped),
        flap_goal(tally),
        choice_goal(choice_times()),
        *([] if real is None else [real_goal(real)]),
    ]
    notes = [
        "requests come 1 to 3 s apart, from fixed seeds; deadline 1 s; first five minutes of "
        "each recorded trace, whose rate holds in both directions; round trip 100 ms on 3G and "
        "50 ms elsewhere, give or take a fifth; computing varies by 5 %",
        "every session expects LTE at first, whatever the trace; the peers' hedge, breaker and "
        "fallback are the session's own, only their choice of route is not",
        "the devices are this machine slowed "
        + ", ".join(f"{factor:g} times ({name})" for name, factor in DEVICES.items())
        + "; for 'throttling' and 'server overload' the link is LTE at its average",
        "what a lost answer costs and the safety margin were chosen on "
        + ", ".join(TUNED)
        + " alone; faults in the rules themselves were looked for in all situations",
    ]
    if GROUPS[0] not in groups:
        notes.append("skipped the recorded traces: they are not beside the repository")
    return Findings(
        title="Adaptation: share of what an oracle gets right in time",
        goals=goals,
        tables=[
            Table(
                title="Share of the oracle's score, by who chooses",
                columns=("device", "situations", "session", *PEERS, "best fixed", "as good"),
                rows=[row(tally, one, group) for one in equipped for group in groups],
            ),
            Table(
                title="Every situation",
                columns=("situation", "group", *devices, "changes", "flaps in 10 s"),
                rows=[situation(tally, name, devices) for name in worlds_of(tally)],
            ),
            Table(
                title="Routes",
                columns=("device", "route", "accuracy", "device", "sent"),
                rows=[line for one in equipped for line in route_rows(one)],
            ),
        ],
        notes=notes,
        data={"runs": [as_json(run) for run in tally.runs], "real": real_json(real)},
    )


PEERS = ("last sample", "EWMA")


def share_goal(tally: Tally, what: str, **wanted: str) -> Goal:
    share = tally.share(**wanted)
    return Goal(
        what=f"share of the oracle's score: {what}",
        goal=f"≥ {SHARE_GOAL:.0%}",
        measured=f"{share:.1%}",
        met=share >= SHARE_GOAL,
    )


def fixed_goal(tally: Tally, equipped: Equipped) -> Goal:
    device = equipped.device.name
    name, best = best_fixed(tally, equipped)
    share = tally.share(device=device)
    return Goal(
        what=f"no fixed route is better, all situations, {device}",
        goal=f"≥ {best:.1%} ({name})",
        measured=f"{share:.1%}",
        met=share >= best,
    )


def best_fixed(tally: Tally, equipped: Equipped, **wanted: str) -> tuple[str, float]:
    device = equipped.device.name
    names = [route.name for route in equipped.bundle.manifest.routes]
    shares = {name: tally.share(name, device=device, **wanted) for name in names}
    best = max(shares, key=lambda name: shares[name])
    return best, shares[best]


def flap_goal(tally: Tally) -> Goal:
    worst = max(run.flaps for run in tally.runs)
    return Goal(what="flaps within 10 s", goal="≤ 1", measured=str(worst), met=worst <= 1)


def real_goal(real: Real) -> Goal:
    return Goal(
        what=f"a real minute of {REAL_TRACE} ({real.requests} requests, {REAL_DEVICE})",
        goal=f"{real.simulated:.1%} as simulated, ± {REAL_GOAL * 100:g} points",
        measured=f"{real.measured:.1%}",
        met=abs(real.measured - real.simulated) <= REAL_GOAL,
    )


def row(tally: Tally, equipped: Equipped, group: str) -> tuple[str, ...]:
    device = equipped.device.name
    name, best = best_fixed(tally, equipped, group=group)
    some = [run for run in tally.runs if (run.device, run.group) == (device, group)]
    same = sum(run.same for run in some) / max(1, sum(run.possible for run in some))
    shares = [tally.share(who, device=device, group=group) for who in (SESSION, *PEERS)]
    cells = (f"{share:.1%}" for share in shares)
    return (device, group, *cells, f"{best:.1%} {name}", f"{same:.0%}")


def worlds_of(tally: Tally) -> list[str]:
    return list(dict.fromkeys(run.world for run in tally.runs))


def situation(tally: Tally, name: str, devices: Sequence[str]) -> tuple[str, ...]:
    some = [run for run in tally.runs if run.world == name]
    shares = [
        f"{tally.share(world=name, device=device):.1%}"
        if any(run.possible for run in some if run.device == device)
        else "nothing in time"
        for device in devices
    ]
    changed = ", ".join(f"{run.changes} of {run.requests}" for run in some)
    return (name, some[0].group, *shares, changed, str(max(run.flaps for run in some)))


def route_rows(equipped: Equipped) -> list[tuple[str, ...]]:
    return [
        (
            equipped.device.name,
            route.name,
            f"{accuracy(route):.1%}",
            f"{route.coefficients.device_s * 1e3:.0f} ms",
            f"{route.coefficients.up_bytes / 1e3:.1f} kB",
        )
        for route in equipped.bundle.manifest.routes
    ]


def as_json(run: Run) -> dict[str, object]:
    return {
        "device": run.device,
        "situation": run.world,
        "group": run.group,
        "requests": run.requests,
        "scores": dict(run.scores),
        "as_good": run.same,
        "possible": run.possible,
        "changes": run.changes,
        "flaps_in_10_s": run.flaps,
    }


def real_json(real: Real | None) -> dict[str, object] | None:
    if real is None:
        return None
    return {
        "requests": real.requests,
        "measured_share": real.measured,
        "simulated_share": real.simulated,
    }


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="without the real minute")


if __name__ == "__main__":
    sys.exit(main(measure, packages=("onnxruntime", "numpy"), configure=configure))
