"""Time work fairly: warm-up dropped, runs interleaved, medians with their spread."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edgewise.cost import Cost, Evidence, Forecast

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds of one piece of work: the median, with the 10th and 90th percentile around it."""

    median_s: float
    low_s: float
    high_s: float
    runs: int

    def scaled(self, factor: float) -> Timing:
        """The same work on something ``factor`` times slower."""
        return Timing(
            median_s=self.median_s * factor,
            low_s=self.low_s * factor,
            high_s=self.high_s * factor,
            runs=self.runs,
        )

    def forecast(self, evidence: Evidence) -> Forecast:
        """As a forecast of latency alone."""
        low, mid, high = (
            Cost(latency_s=seconds) for seconds in (self.low_s, self.median_s, self.high_s)
        )
        return Forecast(low=low, mid=mid, high=high, evidence=evidence)


NOTHING = Timing(median_s=0.0, low_s=0.0, high_s=0.0, runs=0)


# Requests come now and then, and find caches cold: on an AMD EPYC (Zen 4) EfficientNet-Lite0 took
# 11 ms in a tight loop and 18 ms after pauses of 10 ms and more (2026-11, other work running).
PAUSE_S = 0.01


def summarise(samples_s: Sequence[float]) -> Timing:
    """Median, 10th and 90th percentile of measured seconds.

    >>> summarise([1.0, 2.0, 3.0]).median_s
    2.0
    """
    low, mid, high = np.percentile(samples_s, (10, 50, 90))
    return Timing(median_s=float(mid), low_s=float(low), high_s=float(high), runs=len(samples_s))


def time_interleaved(
    works: Mapping[Key, Callable[[], object]],
    *,
    repeats: int,
    warmup: int = 2,
    pause_s: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, Timing]:
    """Time several pieces of work in turn (A B C A B C …), so that drift hits all alike.

    Args:
        works: what to run, by name.
        repeats: counted runs of each.
        warmup: runs of each that are not counted.
        pause_s: wait before each run, as requests do (``PAUSE_S``); 0 times a tight loop.
        clock: seconds that only go forward.
    """
    samples: dict[Key, list[float]] = {name: [] for name in works}
    wait_s = PAUSE_S if pause_s is None else pause_s
    for turn in range(warmup + repeats):
        for name, work in works.items():
            time.sleep(wait_s)
            start_s = clock()
            work()
            if turn >= warmup:
                samples[name].append(clock() - start_s)
    return {name: summarise(times) for name, times in samples.items()}
