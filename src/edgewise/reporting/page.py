"""One HTML file that shows what a demo did: no network, light and dark, everything escaped."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from edgewise.errors import BadInput
from edgewise.planning import Candidate, Plan
from edgewise.running import Answer
from edgewise.trials import answer_seconds
from edgewise.units import format_bytes, format_duration, format_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAnswer:
    """One photo with its answer.

    Args:
        link: name of the link, or what was done to it.
        name: of the photo.
        thumbnail: a small JPEG.
        label: what the network says.
        same: whether the full network says the same.
        predicted_s: what was predicted; ``None`` for an answer after the link was cut.
        answer: with its trace.
    """

    link: str
    name: str
    thumbnail: bytes
    label: str
    same: bool
    predicted_s: float | None
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePlan:
    """One plan with its fastest candidates."""

    plan: Plan
    shown: int = 8


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
    plans: Sequence[PagePlan]
    answers: Sequence[PageAnswer]


def write_page(page: DemoPage, path: Path) -> None:
    """Write the page as one file, whole or not at all.

    Raises:
        BadInput: when it cannot be written.
    """
    text = _render(page)
    staged = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}-", delete=False
        ) as file:
            staged = file.name
            file.write(text)
        os.chmod(staged, 0o644)
        os.replace(staged, path)
    except OSError as error:
        Path(staged or path.parent / ".nothing").unlink(missing_ok=True)
        raise BadInput(
            expected=f"room and permission to write {path}",
            found=error.strerror or type(error).__name__,
            remedy="free some space or choose another place",
        ) from None


def _render(page: DemoPage) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgewise.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("demo.html")
    return template.render(
        page=page,
        plans=[_plan_view(shown) for shown in page.plans],
        answers=[_answer_view(answer) for answer in page.answers],
    )


def _plan_view(shown: PagePlan) -> dict[str, object]:
    plan = shown.plan
    link = plan.target.link
    slowest_s = max(c.total_s for c in plan.candidates[: shown.shown])
    return {
        "link": link.name,
        "rates": f"{format_rate(link.up_bytes_per_s)} up, "
        f"{format_rate(link.down_bytes_per_s)} down, {format_duration(link.rtt_s)} round trip",
        "limit": "the photo stays on the device" if plan.limits.raw_input_stays else "no limit",
        "rows": [
            _candidate_view(c, slowest_s, chosen=c.sketch.name == plan.chosen.sketch.name)
            for c in _shown(plan, shown.shown)
        ],
    }


def _shown(plan: Plan, count: int) -> list[Candidate]:
    first = list(plan.candidates[:count])
    if all(c.sketch.name != plan.chosen.sketch.name for c in first):
        first.append(plan.chosen)
    return first


def _candidate_view(candidate: Candidate, slowest_s: float, *, chosen: bool) -> dict[str, object]:
    parts = (("device", candidate.device), ("link", candidate.link), ("cloud", candidate.cloud))
    scale = 100 / max(slowest_s, candidate.total_s)
    return {
        "name": candidate.sketch.name,
        "cut": ", ".join(candidate.route.cut) or "–",  # noqa: RUF001 - a typographic dash
        "total": format_duration(candidate.total_s),
        "sent": format_bytes(candidate.route.coefficients.up_bytes),
        "reason": candidate.rejected or "chosen",
        "chosen": chosen,
        "bars": [
            {"kind": kind, "width": f"{part.mid.latency_s * scale:.2f}"} for kind, part in parts
        ],
    }


def _answer_view(shown: PageAnswer) -> dict[str, object]:
    answer = shown.answer
    predicted = shown.predicted_s
    return {
        "link": shown.link,
        "name": shown.name,
        "image": base64.b64encode(shown.thumbnail).decode(),
        "label": shown.label,
        "same": shown.same,
        "route": answer.inference_source.route,
        "reason": answer.inference_source.reason,
        "predicted": "" if predicted is None else format_duration(predicted),
        "measured": format_duration(answer_seconds(answer)),
        "sent": format_bytes(answer.trace.up_bytes) if answer.trace.up_bytes else "nothing",
    }
