"""Values as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgewise.planning import Candidate, GivenPlan, Plan
from edgewise.reporting.sheet import Sheet
from edgewise.running import Answer
from edgewise.trials import Trial, answer_seconds
from edgewise.units import format_bytes, format_duration, format_rate

NOTHING_SENT = "nothing"


def candidates_table(plan: Plan, *, limit: int = 8) -> Sheet:
    """The fastest candidates of one plan, each with the reason why it was not chosen."""
    columns = ["route", "after", "#device", "#link", "#cloud", "#total", "#sent", "why not"]
    shown = [c for i, c in enumerate(plan.candidates) if i < limit or _matters(c, plan)]
    left = len(plan.candidates) - len(shown)
    return Sheet.of(
        f"{link_in_words(plan)}, on {plan.target.device.name}",
        columns,
        map(_candidate_row, shown),
        f"{left} slower splits not shown; --json lists them" if left else "",
    )


def link_in_words(plan: Plan) -> str:
    """The plan's link with its rates."""
    link = plan.target.link
    rates = f"{format_rate(link.up_bytes_per_s)} up, {format_rate(link.down_bytes_per_s)} down"
    return f"{link.name}: {rates}, {format_duration(link.rtt_s)} round trip"


def _matters(candidate: Candidate, plan: Plan) -> bool:
    return candidate.sketch.kind != "split" or candidate.sketch.name == plan.chosen.sketch.name


def _candidate_row(candidate: Candidate) -> tuple[str, ...]:
    parts = (candidate.device, candidate.link, candidate.cloud, candidate.total)
    sent = candidate.route.coefficients.up_bytes
    return (
        candidate.sketch.name,
        _after(candidate),
        *(format_duration(part.mid.latency_s) for part in parts),
        format_bytes(sent) if sent else "-",
        candidate.rejected or "chosen",
    )


def _after(candidate: Candidate) -> str:
    return ", ".join(candidate.route.cut) if candidate.sketch.kind == "split" else "-"


def plans_table(plans: Sequence[Plan]) -> Sheet:
    """What was chosen for each link."""
    columns = ["link", "limit", "route", "after", "#total", "#sent", "agreement"]
    return Sheet.of("What runs where", columns, map(_plan_row, plans))


def _plan_row(plan: Plan) -> tuple[str, ...]:
    chosen = plan.chosen
    quality = chosen.route.quality
    return (
        plan.target.link.name,
        "raw input stays" if plan.limits.raw_input_stays else "none",
        chosen.sketch.name,
        _after(chosen),
        format_duration(chosen.total_s),
        _sent(chosen.route.coefficients.up_bytes),
        "-" if quality is None else f"{100 * quality.value:.0f} % of {quality.n}",
    )


def given_table(plans: Sequence[GivenPlan]) -> Sheet:
    """Plans from given times, with what they were compared with."""
    columns = ["link", "route", "sends", "#bytes", "#device", "#link", "#cloud", "#total"]
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
    return Sheet.of("Plans from given times", [*columns, "why not"], rows)


def trials_table(trials: Sequence[Trial]) -> Sheet:
    """Predicted beside measured for every route on every link."""
    rows = [
        (
            trial.link,
            trial.route,
            format_duration(trial.predicted.mid.latency_s),
            format_duration(trial.measured.mid.latency_s),
            f"{format_duration(trial.measured.low.latency_s)} to "
            f"{format_duration(trial.measured.high.latency_s)}",
            f"{100 * trial.error:+.1f} %",
            _sent(trial.up_bytes),
        )
        for trial in trials
    ]
    columns = ["link", "route", "#predicted", "#measured", "#spread", "#error", "#sent"]
    return Sheet.of("Predicted beside measured", columns, rows)


def answer_cells(answer: Answer, predicted_s: float | None) -> Mapping[str, str]:
    """The figures of one answer in words: route, predicted, measured, sent, reason."""
    return {
        "route": answer.inference_source.route,
        "predicted": "-" if predicted_s is None else format_duration(predicted_s),
        "measured": format_duration(answer_seconds(answer)),
        "sent": _sent(answer.trace.up_bytes),
        "reason": answer.inference_source.reason,
    }


def _sent(count: float) -> str:
    return format_bytes(count) if count else NOTHING_SENT
