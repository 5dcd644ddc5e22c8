"""Sparing the battery, if the host tells how full it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgewise.bundle import Route
from edgewise.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """What the host says of itself; an event of the session.

    Args:
        battery_share: how full the battery is, 0 to 1; ``None``: unknown, or there is none.
        on_charger: whether it is being charged.

    Raises:
        BadInput: on a share that is none.

    >>> HostState(battery_share=0.1).is_low(0.2), HostState().is_low(0.2)
    (True, False)
    """

    battery_share: float | None = None
    on_charger: bool = False

    def __post_init__(self) -> None:
        if self.battery_share is not None and not 0 <= self.battery_share <= 1:
            raise BadInput(
                expected="a battery share from 0 to 1",
                found=str(self.battery_share),
                remedy="divide a percentage by 100, or pass None when it is unknown",
            )

    def is_low(self, below: float) -> bool:
        """Whether energy is to be spared: on battery, and less than that share is left."""
        share = self.battery_share
        return share is not None and share < below and not self.on_charger


def know_energy(routes: Sequence[Route]) -> bool:
    """Whether every route states the energy that it takes on the device."""
    return all(route.coefficients.device_j is not None for route in routes)


def weighed(routes: Sequence[Route], costs_s: Mapping[str, float]) -> Mapping[str, float]:
    """The costs of the routes, the device's energy counted as well.

    Sparing all the energy of the hungriest route is worth as much as the cheapest one costs:
    ``c + c_least * e / e_most``.

    Args:
        routes: each with its device's energy.
        costs_s: by the routes' names.

    >>> from edgewise.bundle import Coefficients, RouteKind
    >>> routes = [
    ...     Route(name=name, kind=RouteKind.LOCAL, coefficients=Coefficients(device_j=joules))
    ...     for name, joules in (("hungry", 2.0), ("frugal", 0.5))]
    >>> weighed(routes, {"hungry": 1.0, "frugal": 1.5})
    {'hungry': 2.0, 'frugal': 1.75}
    """
    energy_j = {route.name: route.coefficients.device_j or 0.0 for route in routes}
    most_j = max(energy_j.values())
    if most_j <= 0:
        return costs_s
    s_per_j = min(costs_s.values()) / most_j
    return {name: cost_s + s_per_j * energy_j[name] for name, cost_s in costs_s.items()}
