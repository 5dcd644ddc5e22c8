"""How a session is doing, in words a person reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgewise.running.deciding.machine import rests_s
from edgewise.running.deciding.steering import Mind, Rules
from edgewise.units import format_duration, format_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a session is doing.

    Args:
        health: ``online``, ``slow`` or ``offline``; without a server ``on the device alone``.
        why: what made it slow or offline; empty when online.
        next_try_s: seconds until the cloud is tried again.
        route: the route of the newest request; empty before the first.
        reason: why that route.
        up_bytes_per_s: estimated rate to the cloud.
        down_bytes_per_s: estimated rate from the cloud.
        rtt_s: estimated round trip.
        measured: whether requests were measured lately; otherwise the estimates are what was
            expected of the link.
        samples: the session's own requests that the estimates come from.
        slowdown: how much slower the device is than planned.
        load: how much slower the cloud half is than planned.
        local_p99_s: what an answer on the device takes at most; ``None`` until one was measured.
        battery_low: whether the host said so.
    """

    health: str
    why: str
    next_try_s: float
    route: str
    reason: str
    up_bytes_per_s: float
    down_bytes_per_s: float
    rtt_s: float
    measured: bool
    samples: int
    slowdown: float
    load: float
    local_p99_s: float | None
    battery_low: bool

    @property
    def words(self) -> str:
        """All of it in one line."""
        health = f"{self.health} ({self.why})" if self.why else self.health
        after = f", next try in {math.ceil(self.next_try_s)} s" if self.next_try_s > 0 else ""
        up, rtt = format_rate(self.up_bytes_per_s), format_duration(self.rtt_s)
        link = f"link {self._evidence}: up {up}, round trip {rtt}"
        device, cloud = _times(self.slowdown), _times(self.load)
        pace = f"device at {device} and cloud at {cloud} times the planned time"
        route = f"; route {self.route}: {self.reason}" if self.route else ""
        battery = "; the battery is low" if self.battery_low else ""
        return f"{health}{after}; {link}; {pace}{battery}{route}"

    @property
    def _evidence(self) -> str:
        requests = "1 request" if self.samples == 1 else f"{self.samples} requests"
        return f"estimated from {requests}" if self.measured else "as expected"


def _times(factor: float) -> str:
    """Two digits that say something; a fast machine is 0.03 times a slow device, not 0.0."""
    return f"{factor:.1f}" if factor >= 1 else f"{factor:.2g}"


def describe(rules: Rules, mind: Mind, *, linked: bool, now_s: float) -> Status:
    """The status of a session.

    Args:
        rules: that it keeps to.
        mind: what it knows.
        linked: whether there is a server to talk to.
        now_s: on the session's clock.
    """
    state, outlook = mind.state, mind.outlook
    estimate = outlook.estimate(now_s)
    return Status(
        health=state.health.value if linked else "on the device alone",
        why=state.why,
        next_try_s=rests_s(state, now_s) if linked else 0.0,
        route=state.route,
        reason=state.reason,
        up_bytes_per_s=estimate.up_bytes_per_s,
        down_bytes_per_s=estimate.down_bytes_per_s,
        rtt_s=estimate.rtt_s,
        measured=estimate.known,
        samples=estimate.samples,
        slowdown=outlook.device.ratio(now_s),
        load=outlook.server.ratio(now_s),
        local_p99_s=outlook.local_p99_s(),
        battery_low=mind.host.is_low(rules.options.low_battery_share),
    )
