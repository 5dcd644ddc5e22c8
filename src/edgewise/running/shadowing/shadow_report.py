"""What shadow mode has found, as a value and in words."""

from __future__ import annotations

from dataclasses import dataclass

from edgewise.running.shadowing.comparing import PairReport, Trend


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    """What shadow mode has found so far.

    Args:
        share: of the requests that is sampled.
        idle: why nothing is ever compared; empty otherwise.
        asked: requests that were answered.
        sampled: those of them that were drawn.
        compared: those that both sides answered.
        skipped: drawn while others were still being compared.
        unfit: drawn while the cloud was slow or offline or the host on battery, or no cloud route
            takes such an input.
        failed: the other side gave no answer.
        pairs: what came of each pair of routes.
        trend: an output statistic of the device's answers.
        classes: whether the outputs are classes, on which one side can decide otherwise.
    """

    share: float
    idle: str = ""
    asked: int = 0
    sampled: int = 0
    compared: int = 0
    skipped: int = 0
    unfit: int = 0
    failed: int = 0
    pairs: tuple[PairReport, ...] = ()
    trend: Trend
    classes: bool

    @property
    def drifted(self) -> bool:
        """Whether the disagreement or the outputs have drifted."""
        return self.trend.drifted or any(pair.drifted for pair in self.pairs)

    @property
    def words(self) -> str:
        """All of it in one line."""
        if self.idle:
            return f"nothing to compare: {self.idle}"
        counts = f"{self.compared} of {self.asked} answers compared"
        others = (
            (self.skipped, "skipped while busy"),
            (self.unfit, "at an unfit time"),
            (self.failed, "without the other answer"),
        )
        also = "".join(f", {count} {words}" for count, words in others if count)
        pairs = "".join(f"; {_pair_words(pair, classes=self.classes)}" for pair in self.pairs)
        return f"{counts}{also}{pairs}{_trend_words(self.trend)}"


def _pair_words(pair: PairReport, *, classes: bool) -> str:
    most = f"largest relative difference {pair.largest_difference:.2g}"
    if classes:
        count = round(pair.disagreement * pair.compared)
        most = f"{count} of {pair.compared} decided otherwise ({most})"
    recent, expected = pair.recent, pair.expected
    drift = ""
    if pair.drifted and recent is not None and expected is not None:
        usual = (
            f"at most {expected.high:.3g} stated" if pair.stated else f"{expected.mid:.3g} first"
        )
        drift = f": drift, {recent.mid:.3g} lately against {usual}"
    return f"{pair.device} against {pair.cloud}: {most}{drift}"


def _trend_words(trend: Trend) -> str:
    if trend.first is None or trend.recent is None:
        return ""
    drift = ": drift" if trend.drifted else ""
    return f"; {trend.name} first {trend.first.mid:.3g}, lately {trend.recent.mid:.3g}{drift}"
