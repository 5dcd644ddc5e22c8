"""Devices, links and clouds as values: what is known of them, and from where."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgewise.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the numbers of a catalogue entry come from.

    Args:
        source: publication, datasheet or measurement; ``user-supplied`` when there is none.
        date: when it was published or measured, ISO 8601.
        conditions: what it holds for.
    """

    source: str
    date: str
    conditions: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """A device that runs the first half.

    Args:
        name: how reports call it.
        relative_to: ``this-machine``, the only base known so far.
        slowdown: how many times longer than on the base every run takes.
        provenance: the source of the slowdown.

    >>> DeviceSpec(name="slow", slowdown=8.0,
    ...            provenance=Provenance(source="user-supplied", date="2026-11-21")).slowdown
    8.0
    """

    name: str
    relative_to: str = "this-machine"
    slowdown: float = 1.0
    provenance: Provenance

    def __post_init__(self) -> None:
        _check_relative(self.relative_to, self.slowdown, f"the device {self.name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSpec:
    """A link between device and cloud.

    Args:
        name: how reports call it.
        up_bytes_per_s: rate from the device to the cloud; infinite means unlimited.
        down_bytes_per_s: rate from the cloud to the device.
        rtt_s: time of an empty round trip.
        jitter_s: the one-way delay varies evenly by up to this much.
        loss: share of 1 500-byte packets that stall the stream for a retransmission time-out.
        provenance: the source of the numbers.

    >>> link = LinkSpec(name="4g", up_bytes_per_s=731250.0, rtt_s=0.05,
    ...                 provenance=Provenance(source="user-supplied", date="2026-11-21"))
    >>> round(link.transfer_s(up_bytes=17600), 4)
    0.0741
    """

    name: str
    up_bytes_per_s: float = math.inf
    down_bytes_per_s: float = math.inf
    rtt_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    provenance: Provenance

    def __post_init__(self) -> None:
        where = f"the link {self.name!r}"
        _check_positive("up_bytes_per_s", self.up_bytes_per_s, where)
        _check_positive("down_bytes_per_s", self.down_bytes_per_s, where)
        for label, value in (("rtt_s", self.rtt_s), ("jitter_s", self.jitter_s)):
            if not 0 <= value < math.inf:
                raise BadInput(
                    expected=f"{label} of at least 0 in {where}",
                    found=str(value),
                    remedy="give a duration",
                )
        if not 0 <= self.loss < 1:
            raise BadInput(
                expected=f"a loss from 0 to below 1 in {where}",
                found=str(self.loss),
                remedy="give the share of lost packets",
            )

    def transfer_s(self, *, up_bytes: float, down_bytes: float = 0.0) -> float:
        """Time on the link for one request and its reply: RTT + up/rate + down/rate."""
        return self.rtt_s + up_bytes / self.up_bytes_per_s + down_bytes / self.down_bytes_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSpec:
    """A server that runs the second half.

    Args:
        name: how reports call it.
        relative_to: ``this-machine``, the only base known so far.
        slowdown: how many times longer than on the base every run takes; below 1 is faster.
        provenance: the source of the slowdown.
    """

    name: str
    relative_to: str = "this-machine"
    slowdown: float = 1.0
    provenance: Provenance

    def __post_init__(self) -> None:
        _check_relative(self.relative_to, self.slowdown, f"the cloud {self.name!r}")


def _check_relative(relative_to: str, slowdown: float, where: str) -> None:
    if relative_to != "this-machine":
        raise BadInput(
            expected=f"relative_to = 'this-machine' in {where}",
            found=repr(relative_to),
            remedy="measure it against this machine",
        )
    if not 0 < slowdown < math.inf:
        raise BadInput(
            expected=f"a finite slowdown above 0 in {where}",
            found=str(slowdown),
            remedy="correct the spec",
        )


def _check_positive(label: str, value: float, where: str) -> None:
    if math.isnan(value) or value <= 0:
        raise BadInput(
            expected=f"{label} above 0 in {where}", found=str(value), remedy="correct the spec"
        )
