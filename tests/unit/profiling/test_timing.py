from __future__ import annotations

import pytest

from edgewise.cost import Evidence
from edgewise.profiling import NOTHING, Timing, summarise, time_interleaved


class _Clock:
    """A clock on which work of a given length passes."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now_s

    def work(self, name: str, *lengths_s: float):
        left = list(lengths_s)

        def run() -> None:
            self.log.append(name)
            self.now_s += left.pop(0)

        return run


def test_works_take_turns_and_warm_up_is_dropped() -> None:
    clock = _Clock()
    works = {"a": clock.work("a", 90.0, 1.0, 2.0, 3.0), "b": clock.work("b", 80.0, 5.0, 5.0, 5.0)}
    times = time_interleaved(works, repeats=3, warmup=1, pause_s=0, clock=clock)
    assert clock.log == ["a", "b"] * 4
    assert times["a"].median_s == 2.0
    assert times["b"] == Timing(median_s=5.0, low_s=5.0, high_s=5.0, runs=3)


def test_one_slow_run_does_not_move_the_median() -> None:
    assert summarise([1.0, 1.0, 1.0, 1.0, 100.0]).median_s == 1.0


def test_low_and_high_are_the_tenth_and_ninetieth_percentile() -> None:
    timing = summarise([float(i) for i in range(11)])
    assert (timing.low_s, timing.median_s, timing.high_s, timing.runs) == (1.0, 5.0, 9.0, 11)


@pytest.mark.parametrize("factor", [0.5, 8.0])
def test_scaled_stretches_all_three_times(factor: float) -> None:
    timing = Timing(median_s=2.0, low_s=1.0, high_s=4.0, runs=7).scaled(factor)
    assert (timing.low_s, timing.median_s, timing.high_s) == (factor, 2 * factor, 4 * factor)
    assert timing.runs == 7


def test_a_forecast_keeps_spread_and_evidence() -> None:
    forecast = Timing(median_s=2.0, low_s=1.0, high_s=4.0, runs=7).forecast(Evidence.FITTED)
    found = [cost.latency_s for cost in (forecast.low, forecast.mid, forecast.high)]
    assert (found, forecast.evidence) == ([1.0, 2.0, 4.0], Evidence.FITTED)
    assert NOTHING.forecast(Evidence.PREDICTED).high.latency_s == 0
