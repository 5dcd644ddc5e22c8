"""Keys and bundles read again while a server answers, as SIGHUP asks for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from edgewise.errors import EdgewiseError
from edgewise.serving.access.keys import KeyRing
from edgewise.serving.layers import Layers
from edgewise.serving.repository.repository import Exchange, Repository

_log = logging.getLogger("edgewise.serving")


class Reloading:
    """Reads again what the operator may have changed; used from the event loop alone.

    What cannot be read leaves everything as it was, with one line in the log.

    Args:
        repository: its bundles are loaded in a thread, beside those that answer.
        layers: with the keys and the log.
        read_keys: the keys to let in from then on; ``None`` when none are asked for.
    """

    def __init__(
        self,
        repository: Repository,
        layers: Layers,
        read_keys: Callable[[], KeyRing] | None,
    ) -> None:
        self._repository = repository
        self._layers = layers
        self._read_keys = read_keys
        self._is_asked = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Read everything again; while bundles are being loaded, once more afterwards."""
        if self._read_keys is not None:
            self._change_keys(self._read_keys)
        self._is_asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._change_bundles())

    def _change_keys(self, read: Callable[[], KeyRing]) -> None:
        try:
            keys = read()
        except EdgewiseError as error:
            _log.error("the keys stay as they were: %s", error)
            return
        self._layers.doors.change(keys)
        self._layers.log.event("keys", count=len(keys.entries))

    async def _change_bundles(self) -> None:
        while self._is_asked:
            self._is_asked = False
            try:
                self._tell(await asyncio.to_thread(self._repository.reload))
            except EdgewiseError as error:
                _log.error("the bundles stay as they were: %s", error)
            except Exception:  # whatever it is, those that are served go on answering
                _log.exception("the bundles stay as they were")

    def _tell(self, exchange: Exchange) -> None:
        log = self._layers.log
        for state, bundles in (("loaded", exchange.loaded), ("kept", exchange.kept)):
            for bundle in bundles:
                log.event(
                    "bundle",
                    state=state,
                    model=bundle.name,
                    version=bundle.version,
                    digest=bundle.digest[:12],
                )
        log.event("bundles", loaded=len(exchange.loaded), kept=len(exchange.kept))
