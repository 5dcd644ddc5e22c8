"""The situations of benchmarks/adaptation.py: recorded traces, and made ones.

What a lost answer costs and the safety margin were chosen on ``TUNED`` alone, so that the share
on the other recorded traces is that of settings which never saw them. Faults in the rules
themselves were looked for everywhere.
"""

from __future__ import annotations

from pathlib import Path

from edgewise.shaping import RateTrace, read_rate_trace, shipped_traces
from support.adaptation_world import World

LONGEST_S = 300.0
TUNED = (
    *("3g-bus-1", "3g-car-2", "3g-ferry-2", "3g-metro-10", "3g-train-1", "3g-tram-10"),
    *("broadband-1", "internet-1", "internet-3", "internet-5", "oboe-1", "oboe-3", "oboe-5"),
)
_LTE_BYTES_PER_S = 731_250.0
_SLOW_BYTES_PER_S = 50_000 / 8


def recorded(folder: Path) -> list[World]:
    """The first five minutes of every trace in a folder; 3G has the longer round trip."""
    return [recorded_world(path) for path in sorted(folder.glob("*.txt"))]


def recorded_world(path: Path, *, longest_s: float = LONGEST_S) -> World:
    """One recorded trace."""
    rate = read_rate_trace(path)
    return World(
        name=path.stem,
        rate=rate,
        rtt_s=0.1 if path.stem.startswith("3g") else 0.05,
        end_s=min(longest_s, rate.period_s),
    )


def made() -> list[World]:
    """What recorded traces show too rarely."""
    traces = {name: read_rate_trace(path) for name, path in shipped_traces().items()}
    walk, bus = traces["wifi-walk-away"], traces["3g-bus-near-outages"]
    lte = RateTrace.constant(_LTE_BYTES_PER_S)
    slow = RateTrace.constant(_SLOW_BYTES_PER_S)
    return [
        World(name="Wi-Fi walk-away", rate=walk, rtt_s=0.01, end_s=walk.period_s),
        World(name="50 kbit/s", rate=slow, rtt_s=0.1, end_s=120.0),
        World(name="blackouts", rate=traces["blackout"], rtt_s=0.05, end_s=240.0),
        World(name="near-outages", rate=bus, rtt_s=0.1, end_s=bus.period_s),
        World(name="server overload", rate=lte, rtt_s=0.05, end_s=240.0, queue=overload_s),
        World(name="throttling", rate=lte, rtt_s=0.05, end_s=240.0, device=throttled),
    ]


def overload_s(time_s: float) -> float:
    """The server's queue: every two minutes it grows to 3 s within 30 s, and shrinks in 15 s."""
    within_s = time_s % 120
    grown_s, shrunk_s = (within_s - 30) / 10, 3 - (within_s - 60) / 5
    return max(0.0, min(grown_s, shrunk_s))


def throttled(time_s: float) -> float:
    """The device's slowness: every three minutes it rises to 3, and falls again."""
    within_s = time_s % 180
    return max(1.0, min(3.0, 1 + (within_s - 40) / 15, 3 - (within_s - 110) / 20))
