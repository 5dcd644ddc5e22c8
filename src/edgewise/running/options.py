"""How a session behaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgewise.errors import BadInput
from edgewise.running.deciding.choice import Policy
from edgewise.specs import LinkSpec

MAX_TIMEOUT_S = 3600.0
_LEAST_TIMEOUT_S = 1.0
_UNKNOWN_LINK_TIMEOUT_S = 5.0
_WINDOWS = range(30, 100_001)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowOptions:
    """Which requests are answered by the other side too, to be compared.

    Args:
        share: of the requests, above 0 and up to 1.
        rng: draws them.
        window: how many comparisons are the first, and how many the newest, 30 to 100 000.

    Raises:
        BadInput: on a share or a window outside these limits.
    """

    share: float
    rng: np.random.Generator
    window: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise BadInput(
                expected="a share of the requests above 0 and up to 1 to shadow",
                found=str(self.share),
                remedy="try 0.05",
            )
        if self.window not in _WINDOWS:
            raise BadInput(
                expected=f"a window of {_WINDOWS[0]} to {_WINDOWS[-1]} comparisons",
                found=str(self.window),
                remedy="try 100",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a session behaves.

    Args:
        link: what the link is expected to be like; decides among the bundle's routes.
        policy: where answers may come from.
        raw_input_stays: forbid the routes that send the input itself.
        timeout_s: how long the cloud may take; by default three times the prediction, and at
            least a second; 5 s on an unknown link.
        slowdown: emulate a device this many times slower than this machine.
        threads: threads of one run of a network.
        refuse_late: refuse at once a request whose deadline nobody can meet; otherwise it is
            answered late, and says so.
        low_battery_share: with less than this left, and not charging, the energy of the routes
            counts as well as their time; see ``Session.host_state``.
        shadow: have a share of the requests answered by the other side too; by default none.

    Raises:
        BadInput: on an unknown policy, or a time-out or share that is none.

    >>> Options(timeout_s=2.0).wait_s(predicted_s=9.0)
    2.0
    """

    link: LinkSpec | None = None
    policy: Policy = Policy.AUTO
    raw_input_stays: bool = False
    timeout_s: float | None = None
    slowdown: float = 1.0
    threads: int = 1
    refuse_late: bool = True
    low_battery_share: float = 0.2
    shadow: ShadowOptions | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.policy, Policy):  # a mere string would be no restriction at all
            raise BadInput(
                expected=f"a Policy: {', '.join(Policy)}",
                found=repr(self.policy)[:80],
                remedy="write for example Policy.AUTO, or Policy('auto')",
            )
        if self.timeout_s is not None and not 0 < self.timeout_s <= MAX_TIMEOUT_S:
            raise BadInput(
                expected=f"a time-out above 0 and up to {MAX_TIMEOUT_S:g} s",
                found=str(self.timeout_s),
                remedy="leave it out to get three times the predicted time",
            )
        if not 0 <= self.low_battery_share <= 1:
            raise BadInput(
                expected="a share of the battery from 0 to 1",
                found=str(self.low_battery_share),
                remedy="divide a percentage by 100; 0 never spares energy",
            )

    def wait_s(self, *, predicted_s: float) -> float:
        """How long to wait for the cloud when a route is predicted to take so long."""
        if self.timeout_s is not None:
            return self.timeout_s
        if self.link is None:
            return _UNKNOWN_LINK_TIMEOUT_S
        return min(MAX_TIMEOUT_S, max(_LEAST_TIMEOUT_S, 3 * predicted_s))
