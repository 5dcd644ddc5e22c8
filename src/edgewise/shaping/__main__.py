"""The process of a shaped link: commands as JSON lines on stdin, one answer line each.

The first command is ``start``; the process ends with its stdin or with its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import selectors
import sys
from collections.abc import Mapping
from typing import Any

from edgewise.shaping.lane import LaneShape
from edgewise.shaping.proxy import Proxy
from edgewise.shaping.traces import RateTrace

_MAX_LINE_BYTES = 64 * 2**20
_PARENT_CHECK_S = 0.5


def _shape(fields: Mapping[str, Any]) -> LaneShape:
    rate = fields["rate"]
    trace = None
    if rate is not None:
        trace = RateTrace(
            starts_s=tuple(rate["starts_s"]),
            rates_bytes_per_s=tuple(rate["rates_bytes_per_s"]),
            period_s=rate["period_s"],
        )
    return LaneShape(**{**fields, "rate": trace})


def _apply(proxy: Proxy, command: Mapping[str, Any]) -> dict[str, object]:
    if command["op"] == "outage":
        proxy.set_outage(command["mode"])
    elif command["op"] == "shape":
        proxy.set_shapes(up=_shape(command["up"]), down=_shape(command["down"]))
    return {**proxy.stats()}


async def _serve(parent: int) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_MAX_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    watch = loop.create_task(_watch(parent, reader))
    line = await reader.readline()
    if not line:
        return
    start = json.loads(line)
    proxy = Proxy(
        (start["family"], (start["address"][0], start["address"][1])),
        up=_shape(start["up"]),
        down=_shape(start["down"]),
        seed=start["seed"],
    )
    host, port = await proxy.listen()
    _answer({"host": host, "port": port})
    while line := await reader.readline():
        _answer(_apply(proxy, json.loads(line)))
    watch.cancel()


async def _watch(parent: int, reader: asyncio.StreamReader) -> None:
    """End with the parent even if some process it forked holds the pipe open."""
    while os.getppid() == parent:
        await asyncio.sleep(_PARENT_CHECK_S)
    reader.feed_eof()


def _answer(fields: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if sys.platform == "linux":

    class _Selector(selectors.EpollSelector):
        """Epoll that wakes on time: epoll_wait rounds to milliseconds, select does not."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is None or timeout > 0:
                select.select([self.fileno()], [], [], timeout)
            return super().select(0)

else:
    _Selector = selectors.DefaultSelector


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(_Selector())


def main() -> None:
    """Run the link until the parent is gone."""
    # A real link does not slow down when the computer is busy. Where we may, we ask for that.
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    with contextlib.suppress(BrokenPipeError), asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_serve(os.getppid()))


if __name__ == "__main__":
    main()
