"""What the demo did, as one page."""

from __future__ import annotations

import base64
import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewise.bundle import PayloadCodec, RouteKind
from edgewise.planning import FULL, Candidate, Plan
from edgewise.reporting.page_file import write_page
from edgewise.reporting.sheet import Sheet
from edgewise.reporting.tables import answer_cells
from edgewise.running import Answer
from edgewise.trace import SpanKind
from edgewise.trials import answer_seconds
from edgewise.units import format_bytes, format_duration, format_rate

_MORE = 6
_PLACES: Mapping[str, tuple[SpanKind, ...]] = {
    "device": (SpanKind.ENCODE, SpanKind.DEVICE, SpanKind.LOCAL),
    "link": (SpanKind.UPLOAD, SpanKind.DOWNLOAD),
    "cloud": (SpanKind.QUEUE, SpanKind.CLOUD),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAnswer:
    """One photo with its answer.

    Args:
        plan: what it was run by.
        link_cut: whether the link was cut by then.
        name: of the photo.
        thumbnail: a small JPEG.
        label: what the network says.
        expected: what the full network says.
        predicted_s: what was predicted; ``None`` for an answer after the link was cut.
        answer: with its trace.
    """

    plan: Plan
    link_cut: bool = False
    name: str
    thumbnail: bytes
    label: str
    expected: str
    predicted_s: float | None
    answer: Answer

    @property
    def same(self) -> bool:
        """Whether the full network says the same."""
        return self.label == self.expected

    @property
    def leg(self) -> str:
        """The link, and what was done to it, in words."""
        stays = ", photo stays" if self.plan.limits.raw_input_stays else ""
        return f"{self.plan.target.link.name}{stays}{', link cut' if self.link_cut else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPage:
    """Everything on the page.

    Args:
        model: name of the network.
        machine: CPU and date.
        device: what was emulated, in words.
        variant: what became of the INT8 variant, in words.
        plans: one per link and limit.
        answers: in the order in which they came.
    """

    model: str
    machine: str
    device: str
    variant: str
    plans: Sequence[Plan]
    answers: Sequence[PageAnswer]


def write_demo(page: DemoPage, path: Path) -> None:
    """Write the page as one file, whole or not at all.

    Raises:
        BadInput: when it cannot be written.
    """
    views = [(plan.limits.raw_input_stays, _plan_view(plan, page.answers)) for plan in page.plans]
    values = {
        "page": page,
        "verdict": _verdict(page.answers),
        "free": [view for stays, view in views if not stays],
        "staying": [view for stays, view in views if stays],
        "legs": [
            _leg_view(title, list(answers))
            for title, answers in itertools.groupby(page.answers, key=lambda a: a.leg)
        ],
    }
    write_page(path, "demo.html", values)


def demo_table(answers: Sequence[PageAnswer]) -> Sheet:
    """One row per answered photo: predicted beside measured, label, route, reason."""
    columns = ["link", "photo", "label", "route", "#predicted", "#measured", "#sent", "why"]
    rows = [(shown.leg, shown.name, shown.label, *_cells(shown).values()) for shown in answers]
    return Sheet.of("Answers", columns, rows)


def answers_summary(answers: Sequence[PageAnswer]) -> str:
    """How many answers came, how many as the full network would give them."""
    verdict = _verdict(answers)
    return (
        f"{verdict['same']} of {verdict['answers']} answers are those of the full network; with "
        f"the link cut, {verdict['answered_alone']} of {verdict['cut_off']} photos were answered "
        "by the device alone"
    )


def _verdict(answers: Sequence[PageAnswer]) -> dict[str, int]:
    cut_off = [shown for shown in answers if shown.link_cut]
    alone = [a for a in cut_off if a.answer.inference_source.kind == RouteKind.LOCAL]
    return {
        "answers": len(answers),
        "same": sum(shown.same for shown in answers),
        "cut_off": len(cut_off),
        "answered_alone": len(alone),
    }


def _plan_view(plan: Plan, answers: Sequence[PageAnswer]) -> dict[str, object]:
    link = plan.target.link
    taken = [a.answer for a in answers if a.plan is plan and not a.link_cut]
    rows = _telling(plan)
    others = [c for c in plan.candidates if c not in rows]
    slowest_s = max(c.total_s for c in (*rows, *others[:_MORE]))
    seconds = [answer_seconds(answer) for answer in taken]
    return {
        "link": link.name,
        "rates": f"{format_rate(link.up_bytes_per_s)} up, "
        f"{format_rate(link.down_bytes_per_s)} down, {format_duration(link.rtt_s)} round trip",
        "measured": format_duration(statistics.median(seconds)) if seconds else "",
        "predicted": format_duration(plan.chosen.total_s),
        "runs": len(seconds),
        "count": len(plan.candidates),
        "rows": [_way_view(c, plan.chosen, slowest_s) for c in rows],
        "more": [_way_view(c, plan.chosen, slowest_s) for c in others[:_MORE]],
    }


def _telling(plan: Plan) -> list[Candidate]:
    """The chosen way and the fastest of every kind, fastest first."""
    telling = {plan.chosen.sketch.name: plan.chosen}
    for kind in (RouteKind.LOCAL, RouteKind.CLOUD, RouteKind.SPLIT):
        alike = [c for c in plan.candidates if c.sketch.kind is kind]
        if alike and plan.chosen.sketch.kind is not kind:
            telling[alike[0].sketch.name] = alike[0]
    # A way that was refused though faster explains why something slower was chosen.
    for candidate in plan.candidates[:2]:
        if candidate.total_s < plan.chosen.total_s:
            telling[candidate.sketch.name] = candidate
    return sorted(telling.values(), key=lambda candidate: candidate.total_s)


def _way_view(candidate: Candidate, chosen: Candidate, slowest_s: float) -> dict[str, object]:
    sent = candidate.route.coefficients.up_bytes
    sends = f"sends {format_bytes(sent)}" if sent else "sends nothing"
    is_chosen = candidate.sketch.name == chosen.sketch.name
    seconds = {
        "device": candidate.device.mid.latency_s,
        "link": candidate.link.mid.latency_s,
        "cloud": candidate.cloud.mid.latency_s,
    }
    return {
        "name": candidate.sketch.name,
        "words": _in_words(candidate),
        "total": format_duration(candidate.total_s),
        "reason": f"{candidate.rejected or ('chosen' if is_chosen else 'not chosen')}; {sends}",
        "chosen": is_chosen,
        "parts": _parts(seconds, slowest_s),
    }


def _in_words(candidate: Candidate) -> str:
    sketch = candidate.sketch
    network = "" if sketch.variant == FULL else f", {sketch.variant.upper()} network"
    codec = sketch.codec.value.upper()
    if sketch.kind is RouteKind.LOCAL:
        return f"all on the device{network}"
    if sketch.kind is RouteKind.CLOUD:
        form = "raw numbers" if sketch.codec is PayloadCodec.FP32 else codec
        return f"the photo to the cloud as {form}"
    return f"cut after {', '.join(candidate.route.cut)}, sent as {codec}{network}"


def _leg_view(title: str, answers: Sequence[PageAnswer]) -> dict[str, object]:
    slowest_s = max(answer_seconds(shown.answer) for shown in answers)
    remark = "the cloud cannot be reached" if answers[0].link_cut else ""
    return {
        "title": title,
        "remark": remark,
        "answers": [_answer_view(shown, slowest_s) for shown in answers],
    }


def _answer_view(shown: PageAnswer, slowest_s: float) -> dict[str, object]:
    trace = shown.answer.trace
    seconds = {
        place: sum(trace.seconds_of(kind) for kind in kinds) for place, kinds in _PLACES.items()
    }
    return {
        **_cells(shown),
        "predicted": "" if shown.predicted_s is None else format_duration(shown.predicted_s),
        "name": shown.name,
        "image": base64.b64encode(shown.thumbnail).decode(),
        "label": shown.label,
        "expected": shown.expected,
        "same": shown.same,
        "parts": _parts(seconds, slowest_s),
    }


def _cells(shown: PageAnswer) -> Mapping[str, str]:
    return answer_cells(shown.answer, shown.predicted_s)


def _parts(seconds: Mapping[str, float], slowest_s: float) -> Iterator[dict[str, str]]:
    for kind, part_s in seconds.items():
        width = 100 * part_s / slowest_s if slowest_s > 0 else 0.0
        yield {
            "kind": kind,
            "width": f"{min(width, 100):.2f}",
            "title": f"{kind} {format_duration(part_s)}",
        }
