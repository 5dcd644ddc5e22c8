"""The world that a simulated session lives in: a link, a device and a server, all varying.

Nothing here decides anything. Every duration follows from the time at which something starts,
and from the number of the request, so that an oracle can ask what would have happened.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from edgewise.bundle import Route
from edgewise.shaping import RateTrace

Factor = Callable[[float], float]
NOISE = 0.05
RTT_NOISE = 0.2
REFUSED_FROM_S = 2.0


def steady(_: float) -> float:
    return 1.0


def unhurried(_: float) -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What sending a request at some time leads to.

    Args:
        first_s: when the first byte of the reply is there.
        last_s: when the last one is.
        queue_s: of the server.
        compute_s: of the server.
        refused: 429 instead of an answer.
    """

    first_s: float
    last_s: float
    queue_s: float
    compute_s: float
    refused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One situation.

    Args:
        name: how the tables call it.
        rate: of both directions, over time.
        rtt_s: round trip without anything on the link.
        end_s: when the last request may come.
        device: how many times slower than planned the device is, over time.
        queue: seconds that requests wait at the server, over time; from 2 s on they are refused.
    """

    name: str
    rate: RateTrace
    rtt_s: float
    end_s: float
    device: Factor = steady
    queue: Factor = unhurried

    def arrivals_s(self) -> list[float]:
        """When requests come: 1 to 3 s apart."""
        rng, now_s, times_s = random.Random(f"arrivals/{self.name}"), 0.0, []
        while (now_s := now_s + rng.uniform(1.0, 3.0)) < self.end_s:
            times_s.append(now_s)
        return times_s

    def device_s(self, route: Route, *, number: int, start_s: float) -> float:
        """What a route's part on the device takes."""
        noise = self._noise(f"device/{number}/{route.name}", NOISE)
        return route.coefficients.device_s * self.device(start_s) * noise

    def exchange(self, route: Route, *, number: int, start_s: float, cold: bool) -> Exchange:
        """The bytes up, the server, the bytes down; a new connection costs a round trip more."""
        c = route.coefficients
        rtt_s = self.rtt_s * self._noise(f"rtt/{number}", RTT_NOISE)
        sent_s = self.rate.finish_s(start_s + (rtt_s if cold else 0.0), c.up_bytes) + rtt_s / 2
        queue_s = self.queue(sent_s)
        refused = queue_s >= REFUSED_FROM_S
        compute_s = c.cloud_s * self._noise(f"cloud/{number}/{route.name}", NOISE)
        server_s = 0.0 if refused else queue_s + compute_s
        last_s = self.rate.finish_s(sent_s + server_s, c.down_bytes) + rtt_s / 2
        return Exchange(
            first_s=min(last_s, sent_s + server_s + rtt_s / 2),
            last_s=last_s,
            queue_s=queue_s,
            compute_s=compute_s,
            refused=refused,
        )

    def _noise(self, key: str, spread: float) -> float:
        return random.Random(f"{self.name}/{key}").uniform(1 - spread, 1 + spread)
