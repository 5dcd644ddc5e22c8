"""Stretch work to the pace of a slower device, and say so."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from edgewise.engines.engine import Engine
from edgewise.errors import BadInput
from edgewise.tensors import Array, Feeds, TensorSpec

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Makes work last ``slowdown`` times as long as it really does.

    The real work is measured and the rest of the time slept away, so results are the real
    ones, and the emulated device's time follows this machine's, noise included.

    Args:
        slowdown: at least 1, finite; 1 changes nothing.
        clock: seconds that only go forward.
        sleep: waits for some seconds.

    Raises:
        BadInput: on a slowdown below 1: sleeping makes nothing faster.

    >>> Pace(slowdown=2.0, clock=iter([0.0, 1.5]).__next__, sleep=print).run(lambda: "done")
    1.5
    'done'
    """

    slowdown: float = 1.0
    clock: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        if not 1 <= self.slowdown < math.inf:
            raise BadInput(
                expected="a finite slowdown of at least 1 to emulate",
                found=str(self.slowdown),
                remedy="run on a faster machine, or emulate a slower device",
            )

    def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``, after ``slowdown`` times its own time."""
        start_s = self.clock()
        result = work()
        if self.slowdown > 1:
            self.sleep((self.clock() - start_s) * (self.slowdown - 1))
        return result


class EmulatedEngine:
    """An engine whose every run is stretched to the pace of a slower device.

    Args:
        engine: the engine that does the work.
        pace: how much slower.
    """

    def __init__(self, engine: Engine, pace: Pace) -> None:
        self._engine = engine
        self._pace = pace

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` takes."""
        return self._engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` gives."""
        return self._engine.outputs

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """The engine's outputs, after ``slowdown`` times its own time."""
        return self._pace.run(lambda: self._engine.run(feeds))

    def close(self) -> None:
        """Free the network's memory."""
        self._engine.close()
