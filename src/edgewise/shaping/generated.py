"""The three traces that come with edgewise, and how they were made.

They are made, not measured: each is a situation that recorded traces show too rarely to test
against. ``random.Random`` draws them, because Python promises that its ``random()`` gives the
same numbers for a seed in every version, so the shipped files can be made again byte for byte.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from edgewise.shaping.traces import RateTrace, write_rate_trace

_MBIT = 1e6 / 8
_FOLDER = Path(__file__).parents[1] / "catalog" / "traces"


def shipped_traces() -> Mapping[str, Path]:
    """The trace files that come with edgewise, by name.

    >>> sorted(shipped_traces())
    ['3g-bus-near-outages', 'blackout', 'wifi-walk-away']
    """
    return {name: _FOLDER / f"{name}.txt" for name in GENERATORS}


def write_shipped_traces(folder: Path) -> None:
    """Make the shipped traces again; each has its own generator and seed."""
    for name, generate in GENERATORS.items():
        write_rate_trace(generate(random.Random(name)), folder / f"{name}.txt")


def wifi_walk_away(rng: random.Random) -> RateTrace:
    """90 s of walking from 2 m to 92 m from an access point, through two walls.

    Free space to 5 m, then path loss with exponent 3.5 (the breakpoint model of IEEE 802.11
    TGn, doc. 03/940r4). Chosen by us: 38 dB of signal to noise at 2 m, 5 dB a wall, fading of
    2 dB, 0.35 of Shannon's bound in 20 MHz, at most 54.97 Mbit/s, and nothing below 0.05 Mbit/s,
    where the association is lost.
    """
    rates = [_wifi_rate(2.0 + 0.5 * i, rng) for i in range(180)]
    return _even(rates, step_s=0.5)


def _wifi_rate(distance_m: float, rng: random.Random) -> float:
    loss_db = 20 * math.log10(min(distance_m, 5.0) / 2.0)
    loss_db += 35 * math.log10(max(distance_m, 5.0) / 5.0)
    loss_db += 5.0 * ((distance_m > 20) + (distance_m > 45))
    snr = 10 ** ((38.0 - loss_db + _normal(rng, 2.0)) / 10)
    rate_mbit = min(54.97, 0.35 * 20 * math.log2(1 + snr))
    return rate_mbit if rate_mbit >= 0.05 else 0.0


def bus_with_near_outages(rng: random.Random) -> RateTrace:
    """180 s on 3G in a bus: slow fading around 1.1 Mbit/s, with spells of 20 to 50 kbit/s.

    An autoregressive logarithm (0.9 from second to second, spread 0.5) as the recorded bus
    traces of the public HSDPA data set look; every 20 to 40 s a spell of 3 to 8 s in which
    almost nothing flows.
    """
    level, rates, spell_at, spell_left = 0.0, [], 25, 0
    for second in range(180):
        level = 0.9 * level + _normal(rng, 0.5 * math.sqrt(1 - 0.9**2))
        if second == spell_at:
            spell_left = 3 + int(6 * rng.random())
            spell_at = second + 20 + int(21 * rng.random())
        near_outage = 0.02 + 0.03 * rng.random()
        rates.append(near_outage if spell_left > 0 else 1.1 * math.exp(level))
        spell_left -= 1
    return _even(rates, step_s=1.0)


def blackout(rng: random.Random) -> RateTrace:
    """60 s of LTE at 5.85 Mbit/s, give or take a tenth, dead in 20 to 30 s and 45 to 48 s."""
    rates = [5.85 * (0.9 + 0.2 * rng.random()) for _ in range(60)]
    dead = {*range(20, 30), *range(45, 48)}
    return _even([0.0 if i in dead else rate for i, rate in enumerate(rates)], step_s=1.0)


def _normal(rng: random.Random, sigma: float) -> float:
    """Box-Muller on ``random()``, the only method whose sequence Python promises to keep."""
    radius = math.sqrt(-2 * math.log(1 - rng.random()))
    return sigma * radius * math.cos(2 * math.pi * rng.random())


def _even(rates_mbit: list[float], *, step_s: float) -> RateTrace:
    return RateTrace(
        starts_s=tuple(i * step_s for i in range(len(rates_mbit))),
        rates_bytes_per_s=tuple(rate * _MBIT for rate in rates_mbit),
        period_s=len(rates_mbit) * step_s,
    )


GENERATORS: Mapping[str, Callable[[random.Random], RateTrace]] = {
    "3g-bus-near-outages": bus_with_near_outages,
    "blackout": blackout,
    "wifi-walk-away": wifi_walk_away,
}
