"""How a session is doing, in words a person reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgewise.running.machine import Health, State
from edgewise.running.outlook import Outlook
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
        slowdown: how much slower the device is than planned.
        load: how much slower the cloud half is than planned.
        local_p99_s: what an answer on the device takes at most; ``None`` until one was measured.
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
    slowdown: float
    load: float
    local_p99_s: float | None

    @property
    def words(self) -> str:
        """All of it in one line."""
        health = f"{self.health} ({self.why})" if self.why else self.health
        after = f", next try in {math.ceil(self.next_try_s)} s" if self.next_try_s > 0 else ""
        link = (
            f"link {'measured' if self.measured else 'expected'}:"
            f" up {format_rate(self.up_bytes_per_s)}, round trip {format_duration(self.rtt_s)}"
        )
        pace = f"device at {self.slowdown:.1f} and cloud at {self.load:.1f} times the planned time"
        route = f"; route {self.route}: {self.reason}" if self.route else ""
        return f"{health}{after}; {link}; {pace}{route}"


def describe(state: State, outlook: Outlook, *, linked: bool, now_s: float) -> Status:
    """The status of a session in that state.

    Args:
        state: of the machine.
        outlook: what predictions rest on.
        linked: whether there is a server to talk to.
        now_s: on the session's clock.
    """
    estimate = outlook.estimate(now_s)
    rests = linked and state.health is not Health.ONLINE
    return Status(
        health=state.health.value if linked else "on the device alone",
        why=state.why,
        next_try_s=max(0.0, state.retry_at_s - now_s) if rests else 0.0,
        route=state.route,
        reason=state.reason,
        up_bytes_per_s=estimate.up_bytes_per_s,
        down_bytes_per_s=estimate.down_bytes_per_s,
        rtt_s=estimate.rtt_s,
        measured=estimate.known,
        slowdown=outlook.device.ratio(now_s),
        load=outlook.server.ratio(now_s),
        local_p99_s=outlook.local_p99_s(),
    )
