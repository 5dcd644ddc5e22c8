"""What a session performs its requests with: networks, the device, the link."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edgewise.bundle import Bundle, Route
from edgewise.engines import EmulatedEngine, Engine, Pace
from edgewise.running.linking.exchange import Link
from edgewise.running.options import Options
from edgewise.running.racing import Device
from edgewise.running.trusting import open_trusted, trusted_routes
from edgewise.running.usable import device_parts, fallback_part, usable_routes

Clock = Callable[[], float]

_LAST_SENDS_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """Networks opened, and the way to the cloud; made by :func:`equip`.

    Args:
        bundle: they are from.
        routes: that they can take, the planner's choice first.
        engines: by the names of the bundle's parts.
        distrusted: parts that did not give their stored answer here, and are not used: why.
        device: the network that answers alone, if there is one.
        link: to the cloud half, if there is any.
        clock: seconds that only go forward.
    """

    bundle: Bundle
    routes: tuple[Route, ...]
    engines: Mapping[str, Engine]
    distrusted: Mapping[str, str]
    device: Device | None
    link: Link | None
    clock: Clock
    _senders: list[threading.Thread] = field(default_factory=list)

    def watch(self, sender: threading.Thread) -> None:
        """Remember a thread that sends, to see it end."""
        self._senders[:] = [*(one for one in self._senders if one.is_alive()), sender]

    def close(self) -> None:
        """Free networks and connections, once the work that was left behind has ended."""
        if self.link is not None:
            self._end_sends(self.link)
        if self.device is not None:
            self.device.finish()
        for engine in self.engines.values():
            engine.close()

    def _end_sends(self, link: Link) -> None:
        link.close()
        for sender in self._senders:
            # One given up before it began ends on its own; then its connection goes.
            sender.join(_LAST_SENDS_S)
        link.close()


def equip(
    bundle: Bundle, link: Link | None, options: Options, *, pace: Pace, clock: Clock
) -> Equipment:
    """Open what the usable routes of a bundle need on the device.

    Args:
        bundle: open.
        link: to the cloud half, if there is any.
        options: of the session.
        pace: of the device that runs the networks.
        clock: seconds that only go forward.

    Raises:
        BadInput: when the bundle's parts are broken, or the options leave no route, or none
            whose part gives its stored answer on this machine.
    """
    manifest = bundle.manifest
    routes = usable_routes(manifest, options, online=link is not None)
    opened = open_trusted(bundle, device_parts(manifest, routes, options), threads=options.threads)
    engines = {name: EmulatedEngine(engine, pace) for name, engine in opened.engines.items()}
    fallback = fallback_part(manifest, options)
    alone = None if fallback is None else engines.get(fallback)
    return Equipment(
        bundle=bundle,
        routes=trusted_routes(routes, opened.distrusted),
        engines=engines,
        distrusted=opened.distrusted,
        device=None if alone is None else Device(alone, clock),
        link=link,
        clock=clock,
    )
