"""Values as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from edgewise.graphs import Cut
from edgewise.planning import Candidate, GivenPlan, Plan
from edgewise.profiling import Profile, prefix_of
from edgewise.reporting.page import PageAnswer
from edgewise.running import Answer
from edgewise.trials import Trial, answer_seconds
from edgewise.units import format_bytes, format_count, format_duration


def plain_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of texts; columns whose name starts with ``#`` are set to the right.

    >>> plain_table("sizes", ["name", "#bytes"], [("a", "1")]).row_count
    1
    """
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    for name in columns:
        right = name.startswith("#")
        table.add_column(
            name.removeprefix("#"), justify="right" if right else "left", no_wrap=right
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def candidates_table(plan: Plan, *, limit: int = 12) -> Table:
    """The fastest candidates of one plan, each with the reason why it was not chosen."""
    columns = ["route", "cut", "#device", "#link", "#cloud", "#total", "#sent", "why not"]
    shown = [c for i, c in enumerate(plan.candidates) if i < limit or _matters(c, plan)]
    rows = [_candidate_row(candidate) for candidate in shown]
    left = len(plan.candidates) - len(shown)
    title = f"{plan.target.link.name} · {plan.target.device.name}"
    table = plain_table(title, columns, rows)
    table.caption = f"{left} slower candidates not shown; --json lists them" if left else None
    return table


def _matters(candidate: Candidate, plan: Plan) -> bool:
    return candidate.sketch.kind != "split" or candidate.sketch.name == plan.chosen.sketch.name


def _candidate_row(candidate: Candidate) -> tuple[str, ...]:
    parts = (candidate.device, candidate.link, candidate.cloud, candidate.total)
    sent = candidate.route.coefficients.up_bytes
    return (
        candidate.sketch.name,
        ", ".join(candidate.route.cut) or "-",
        *(format_duration(part.mid.latency_s) for part in parts),
        format_bytes(sent) if sent else "-",
        candidate.rejected or "chosen",
    )


def plans_table(plans: Sequence[Plan]) -> Table:
    """What was chosen for each link."""
    columns = ["link", "limit", "route", "cut", "#total", "#sent", "agreement"]
    return plain_table("What runs where", columns, map(_plan_row, plans))


def _plan_row(plan: Plan) -> tuple[str, ...]:
    chosen = plan.chosen
    quality = chosen.route.quality
    agreement = "-" if quality is None else f"{quality.value:.0%} of {quality.n}"
    sent = chosen.route.coefficients.up_bytes
    return (
        plan.target.link.name,
        "raw input stays" if plan.limits.raw_input_stays else "none",
        chosen.sketch.name,
        ", ".join(chosen.route.cut) or "-",
        format_duration(chosen.total_s),
        format_bytes(sent) if sent else "nothing",
        agreement,
    )


def given_table(plans: Sequence[GivenPlan]) -> Table:
    """Plans from given times, with what they were compared with."""
    columns = [
        "link",
        "route",
        "sends",
        "#bytes",
        "#device",
        "#link",
        "#cloud",
        "#total",
        "why not",
    ]
    rows = [
        (
            plan.link,
            c.route,
            ", ".join(c.cut) or "-",
            format_bytes(c.payload_bytes),
            *(format_duration(s) for s in (c.device_s, c.link_s, c.cloud_s, c.total_s)),
            c.rejected or "chosen",
        )
        for plan in plans
        for c in plan.candidates
    ]
    return plain_table("Plans from given times", columns, rows)


def cuts_table(cuts: Sequence[Cut], profile: Profile) -> Table:
    """Every legal single cut with its bytes and the MACs before it."""
    total = max(1, profile.macs)
    rows = []
    for at in cuts:
        prefix = prefix_of(profile, [spec.name for spec in at.tensors])
        content = at.content[0]
        rows.append(
            (
                content.name,
                "×".join(map(str, content.shape)),
                format_bytes(at.nbytes()),
                format_count(prefix.macs),
                f"{prefix.macs / total:.0%}",
                format_bytes(prefix.weight_bytes),
                ", ".join(spec.name for spec in at.tensors[len(at.content) :]) or "-",
            )
        )
    columns = ["after", "shape", "#bytes", "#MACs before", "#share", "#weights", "rides along"]
    return plain_table(f"{len(cuts)} legal cuts", columns, rows)


def trials_table(trials: Sequence[Trial]) -> Table:
    """Predicted beside measured for every route on every link."""
    rows = [
        (
            trial.link,
            trial.route,
            format_duration(trial.predicted.mid.latency_s),
            format_duration(trial.measured.mid.latency_s),
            f"{format_duration(trial.measured.low.latency_s)} to "
            f"{format_duration(trial.measured.high.latency_s)}",
            f"{trial.error:+.1%}",
            format_bytes(trial.up_bytes) if trial.up_bytes else "-",
        )
        for trial in trials
    ]
    columns = ["link", "route", "#predicted", "#measured", "#spread", "#error", "#sent"]
    return plain_table("Predicted beside measured", columns, rows)


def answers_table(rows: Sequence[tuple[str, str, Answer]], *, title: str) -> Table:
    """One row per answer: input, label, route, time, reason."""
    cells = [
        (
            name,
            label,
            answer.inference_source.route,
            format_duration(answer_seconds(answer)),
            format_bytes(answer.trace.up_bytes) if answer.trace.up_bytes else "-",
            answer.inference_source.reason,
        )
        for name, label, answer in rows
    ]
    return plain_table(title, ["input", "label", "route", "#time", "#sent", "reason"], cells)


def demo_table(answers: Sequence[PageAnswer]) -> Table:
    """One row per answered photo: predicted beside measured, label, route, reason."""
    rows = [
        (
            shown.link,
            shown.name,
            shown.label,
            shown.answer.inference_source.route,
            "-" if shown.predicted_s is None else format_duration(shown.predicted_s),
            format_duration(answer_seconds(shown.answer)),
            format_bytes(shown.answer.trace.up_bytes) if shown.answer.trace.up_bytes else "-",
            shown.answer.inference_source.reason,
        )
        for shown in answers
    ]
    columns = ["link", "photo", "label", "route", "#predicted", "#measured", "#sent", "why"]
    return plain_table("Answers", columns, rows)


def answers_summary(answers: Sequence[PageAnswer]) -> str:
    """How many photos were answered, how many as the full network would."""
    same = sum(shown.same for shown in answers)
    alone = sum(shown.predicted_s is None for shown in answers)
    return (
        f"{len(answers)} photos answered, {same} as the full network would; "
        f"{alone} of them with the link cut"
    )
