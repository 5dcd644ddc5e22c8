"""Find the fastest candidate that keeps the limits, running as few of them as that takes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from edgewise.bundle import Quality, RouteKind
from edgewise.errors import LimitNotMet
from edgewise.planning.candidates import Candidate, Limits
from edgewise.units import format_duration, format_share


class Trial(Protocol):
    """What can be found out about a candidate, from cheap to dear; a rejected one says why."""

    def refused(self, candidate: Candidate) -> str | None:
        """Why it is out of the question by what is known already; ``None`` when it is not."""

    def refine(self, candidate: Candidate) -> Candidate:
        """The same with the times of its very own halves."""

    def judge(self, candidate: Candidate) -> Candidate:
        """The same with its quality."""


def choose(
    candidates: Iterable[Candidate], trial: Trial, *, refined: int
) -> tuple[Candidate, tuple[Candidate, ...]]:
    """The chosen candidate, and all of them, fastest first, each other one with a reason.

    The chosen one is refined and keeps the limits, and no other that may keep them is faster:
    the best is refined, and takes its new place, until the best is one that was refined.

    Args:
        candidates: as predicted.
        trial: finds out more.
        refined: how many of the best are refined to begin with, so that one whose prediction
            is too high has its chance.

    Raises:
        LimitNotMet: when none keeps the limits.
    """
    waiting = _Waiting(trial)
    for candidate in sorted(candidates, key=by_time):
        waiting.add(candidate, refine=waiting.count < refined)
    while (best := waiting.best()) is not None:
        if best.sketch.name not in waiting.exact:
            waiting.add(best, refine=True)
            continue
        judged = trial.judge(best)
        if judged.rejected is None:
            return judged, _explained(judged, (*waiting.settled, *waiting.rest()))
        waiting.settled.append(judged)
    raise LimitNotMet(
        f"no route keeps the limits: {_main_reason(waiting.settled)}; loosen --min-agreement or "
        "--max-latency, or give more examples"
    )


class _Waiting:
    """Candidates that may still be chosen, the fastest first, and those that may not."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._heap: list[tuple[float, int, Candidate]] = []
        self.count = 0
        self.exact: set[str] = set()
        self.settled: list[Candidate] = []

    def add(self, candidate: Candidate, *, refine: bool) -> None:
        reason = self._trial.refused(candidate)
        if reason is None and refine:
            self.exact.add(candidate.sketch.name)
            candidate = self._trial.refine(candidate)
            reason = candidate.rejected or self._trial.refused(candidate)
        if reason is not None:
            self.settled.append(replace(candidate, rejected=reason))
            return
        heapq.heappush(self._heap, (candidate.total_s, self.count, candidate))
        self.count += 1

    def best(self) -> Candidate | None:
        return heapq.heappop(self._heap)[2] if self._heap else None

    def rest(self) -> list[Candidate]:
        return [candidate for _, _, candidate in self._heap]


def by_time(candidate: Candidate) -> float:
    """Predicted seconds: what candidates are ordered by."""
    return candidate.total_s


def forbidden(candidate: Candidate, limits: Limits) -> str | None:
    """Why a candidate breaks the limits whatever its quality; ``None`` when it does not."""
    if candidate.sketch.reads_text and candidate.sketch.kind is RouteKind.SPLIT:
        return "features of a text give its tokens away: it stays, or is sent as it is"
    if limits.raw_input_stays and candidate.sketch.sends_input:
        return "sends the raw input, which must stay on the device"
    if limits.max_latency_s is not None and candidate.total_s > limits.max_latency_s:
        return (
            f"takes {format_duration(candidate.total_s)}, "
            f"over the limit of {format_duration(limits.max_latency_s)}"
        )
    return None


def unfaithful(quality: Quality | None, limits: Limits) -> str | None:
    """Why some quality is not good enough; ``None`` when it is, or nobody measured it."""
    if quality is None or quality.value >= limits.min_agreement:
        return None
    share = format_share(quality.value, 1)
    return (
        f"decides as the full network on {share} of {quality.n} examples, "
        f"below {format_share(limits.min_agreement, 1)}"
    )


def _explained(chosen: Candidate, others: Sequence[Candidate]) -> tuple[Candidate, ...]:
    return tuple(sorted((chosen, *(_explain(c, chosen) for c in others)), key=by_time))


def _explain(candidate: Candidate, chosen: Candidate) -> Candidate:
    if candidate.rejected is not None:
        return candidate
    slower = candidate.total_s - chosen.total_s
    share = max(_SHARES, key=lambda share: share[1](candidate))
    return replace(
        candidate,
        rejected=f"{format_duration(slower)} slower than {chosen.sketch.name}, "
        f"mostly {share[0]} ({format_duration(share[1](candidate))})",
    )


_SHARES: tuple[tuple[str, Callable[[Candidate], float]], ...] = (
    ("on the device", lambda c: c.device.mid.latency_s),
    ("on the link", lambda c: c.link.mid.latency_s),
    ("in the cloud", lambda c: c.cloud.mid.latency_s),
)


def _main_reason(rejected: Sequence[Candidate]) -> str:
    """Of the fastest candidate, one that keeps the input at home if there is any."""
    best = min(rejected, key=lambda c: (c.sketch.sends_input, c.total_s), default=None)
    return "there is none" if best is None else f"{best.sketch.name} {best.rejected}"
