"""Both sides' answers compared: how often they differ, and whether that has drifted."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.bundle import FallbackKind, Manifest, Quality, Route
from edgewise.running.answer import FALLBACK
from edgewise.shares import mean_interval, wilson
from edgewise.tensors import Array

_LEAST_FOR_A_MEAN = 30  # below, the mean of skewed values is not yet normal
_ROUNDING = 1e-6  # values that always were the same may differ in the last digits
_SUM_TOLERANCE = 1e-3
_MOST_APART = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was observed, and where the true value may lie, with 95 % confidence."""

    low: float
    mid: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One request answered by both sides.

    Args:
        device: the device's route, or ``fallback``.
        cloud: the cloud's route.
        differs: whether they decide otherwise; ``None`` where the outputs are no classes.
        difference: the largest relative difference of the outputs, 0 to 2.
        level: the output statistic of the device's answer.
    """

    device: str
    cloud: str
    differs: bool | None
    difference: float
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """How one route of the device and one of the cloud compare.

    Args:
        device: the device's route, or ``fallback``.
        cloud: the cloud's route.
        compared: how many requests both answered.
        disagreement: share of them that they decide otherwise; the mean largest relative
            difference where the outputs are no classes.
        largest_difference: the largest relative difference of an output, 0 to 2.
        recent: the disagreement lately; ``None`` before there is enough for an interval.
        expected: what it should be: the bundle's word, else that of the first requests.
        stated: whether ``expected`` is the bundle's word; it is then a bound, from 0.
        drifted: whether the intervals of ``recent`` and ``expected`` lie apart.
    """

    device: str
    cloud: str
    compared: int
    disagreement: float
    largest_difference: float
    recent: Figure | None
    expected: Figure | None
    stated: bool
    drifted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """An output statistic of the device's answers, at first and lately."""

    name: str
    first: Figure | None
    recent: Figure | None
    drifted: bool


class _Series:
    """The first values of a sequence, and the newest."""

    def __init__(self, window: int) -> None:
        self.count, self.total, self.largest = 0, 0.0, 0.0
        self._first: list[float] = []
        self._later: deque[float] = deque(maxlen=window)
        self._window = window

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.largest = max(self.largest, value)
        (self._first if len(self._first) < self._window else self._later).append(value)

    @property
    def first(self) -> Sequence[float]:
        return self._first if len(self._first) == self._window else ()

    @property
    def later(self) -> Sequence[float]:
        return self._later

    @property
    def newest(self) -> Sequence[float]:
        return [*self._first, *self._later][-self._window :]


class Tally:
    """Counts comparisons; keeps numbers alone, never an input or an output.

    Drift is said when two 95 % intervals do not touch, which chance alone does about once in 170
    looks. Source: N. Schenker, J. F. Gentleman, The American Statistician 55 (2001) 182-186.

    Args:
        manifest: states the agreement of its routes.
        window: how many are the first, and how many the newest.
    """

    def __init__(self, manifest: Manifest, *, window: int) -> None:
        self._manifest = manifest
        self._classes = deciding_output(manifest) is not None
        self._window = window
        self._gaps: dict[tuple[str, str], _Series] = {}
        self._differences: dict[tuple[str, str], float] = {}
        self._levels = _Series(window)

    def add(self, compared: Compared) -> None:
        """Count one more."""
        pair = (compared.device, compared.cloud)
        gap = compared.difference if compared.differs is None else float(compared.differs)
        self._gaps.setdefault(pair, _Series(self._window)).add(gap)
        self._differences[pair] = max(self._differences.get(pair, 0.0), compared.difference)
        self._levels.add(compared.level)

    def pairs(self) -> tuple[PairReport, ...]:
        """What came of each pair of routes, in the order of their first request."""
        return tuple(self._pair(*pair) for pair in self._gaps)

    def trend(self) -> Trend:
        """The output statistic at first and lately."""
        first, recent = _mean(self._levels.first), _mean(self._levels.later)
        return Trend(
            name="mean largest probability" if self._classes else "mean norm of the output",
            first=first,
            recent=recent,
            drifted=_apart(first, recent),
        )

    def _pair(self, device: str, cloud: str) -> PairReport:
        series = self._gaps[device, cloud]
        figure = _share if self._classes else _mean
        stated = _stated(self._manifest, device, cloud) if self._classes else None
        expected = stated or figure(series.first)
        recent = figure(series.newest)
        compared = recent if stated else figure(series.later)
        return PairReport(
            device=device,
            cloud=cloud,
            compared=series.count,
            disagreement=series.total / series.count,
            largest_difference=self._differences[device, cloud],
            recent=recent,
            expected=expected,
            stated=stated is not None,
            drifted=_apart(expected, compared),
        )


def deciding_output(manifest: Manifest) -> str | None:
    """The output that is a row of classes, as labels or a stated agreement tell; else none."""
    name, shape = manifest.outputs[0].name, manifest.outputs[0].concrete()
    row = len(shape) in (1, 2) and shape[-1] > 1 and int(np.prod(shape)) == shape[-1]
    agreed = any(_agreement(route) is not None for route in manifest.routes)
    return name if row and (len(manifest.labels) == shape[-1] or agreed) else None


def compared(
    of_device: Mapping[str, Array],
    of_cloud: Mapping[str, Array],
    *,
    pair: tuple[str, str],
    name: str | None,
) -> Compared:
    """Two answers to one request, compared.

    Args:
        of_device: outputs by name.
        of_cloud: the same names in the same shapes.
        pair: the routes of device and cloud.
        name: the output that is a row of classes, if there is one.

    >>> a, b = np.array([[4.0, 0.0]]), np.array([[3.0, 0.0]])
    >>> one = compared({"y": a}, {"y": b}, pair=("local", "cloud"), name="y")
    >>> one.differs, one.difference
    (False, 0.25)
    """
    difference = max(relative_difference(of_device[key], of_cloud[key]) for key in of_cloud)
    differs = None
    if name is None:
        level = float(np.linalg.norm(np.asarray(next(iter(of_device.values())), np.float64)))
    else:
        differs = bool(of_device[name].argmax() != of_cloud[name].argmax())
        level = _largest_probability(of_device[name])
    return Compared(
        device=pair[0], cloud=pair[1], differs=differs, difference=difference, level=level
    )


def relative_difference(a: Array, b: Array) -> float:
    """``max |a - b| / max(|a|, |b|)``: 0 for equals to 2 for opposites; 2 where one is no number.

    >>> relative_difference(np.array([1.0, 2.0]), np.array([1.0, -2.0]))
    2.0
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return _MOST_APART
    size = max(np.abs(x).max(initial=0.0), np.abs(y).max(initial=0.0))
    return float(np.abs(x - y).max(initial=0.0) / size) if size else 0.0


def _largest_probability(scores: Array) -> float:
    row = np.asarray(scores, np.float64).ravel()
    if row.min() >= 0 and abs(row.sum() - 1) <= _SUM_TOLERANCE:
        return float(row.max())
    return float(1 / np.exp(row - row.max()).sum())


def _share(values: Sequence[float]) -> Figure | None:
    if not values:
        return None
    successes = round(sum(values))
    low, high = wilson(successes, len(values))
    return Figure(low=low, mid=successes / len(values), high=high, n=len(values))


def _mean(values: Sequence[float]) -> Figure | None:
    if len(values) < _LEAST_FOR_A_MEAN:
        return None
    low, high = mean_interval(values)
    return Figure(low=low, mid=statistics.fmean(values), high=high, n=len(values))


def _apart(a: Figure | None, b: Figure | None) -> bool:
    if a is None or b is None:
        return False
    rounding = _ROUNDING * max(abs(a.mid), abs(b.mid))
    return max(a.low, b.low) - min(a.high, b.high) > rounding


def _stated(manifest: Manifest, device: str, cloud: str) -> Figure | None:
    """How often they may disagree at most, by the agreement of each with the full network.

    Both decide as the full network does, and so alike, at least as often as both agreements add
    up to above 1 (Bonferroni's inequality).
    """
    routes = {route.name: _agreement(route) for route in manifest.routes}
    a, b = routes.get(device), routes.get(cloud)
    if device == FALLBACK and manifest.fallback.kind is FallbackKind.FULL:
        a = Quality(metric="agreement", value=1.0, low=1.0, high=1.0, n=b.n if b else 0)
    if a is None or b is None:
        return None
    return Figure(low=0.0, mid=2 - a.value - b.value, high=2 - a.low - b.low, n=min(a.n, b.n))


def _agreement(route: Route) -> Quality | None:
    quality = route.quality
    return quality if quality is not None and quality.metric == "agreement" else None
