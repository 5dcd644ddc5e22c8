"""Values as the JSON that other programs rely on; keys carry their SI unit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgewise.planning import Candidate, GivenPlan, Plan
from edgewise.records import write_record
from edgewise.reporting.page import PageAnswer
from edgewise.trials import Trial, answer_seconds


def plans_json(plans: Sequence[Plan]) -> dict[str, Any]:
    """The first plan's keys, and all plans under ``plans``."""
    every = [plan_json(plan) for plan in plans]
    return {**every[0], "plans": every}


def given_json(plans: Sequence[GivenPlan]) -> dict[str, Any]:
    """The first plan's keys, and all plans under ``plans``."""
    every = [write_record(plan) for plan in plans]
    return {**every[0], "plans": every}


def trial_json(trial: Trial) -> dict[str, Any]:
    """One route on one link: predicted beside measured."""
    return {
        "route": trial.route,
        "kind": trial.kind,
        "link": trial.link,
        "predicted_s": trial.predicted.mid.latency_s,
        "measured_s": trial.measured.mid.latency_s,
        "measured_low_s": trial.measured.low.latency_s,
        "measured_high_s": trial.measured.high.latency_s,
        "error": trial.error,
        "up_bytes": trial.up_bytes,
        "runs": trial.runs,
    }


def plan_json(plan: Plan) -> dict[str, Any]:
    """One plan: what was chosen, the routes, and every candidate with its reason."""
    return {
        "link": plan.target.link.name,
        "device": plan.target.device.name,
        "cloud": plan.target.cloud.name,
        "objective": plan.objective.value,
        "limits": write_record(plan.limits),
        "model_digest": plan.model_digest,
        "variants": dict(plan.variants),
        "chosen": candidate_json(plan.chosen),
        "routes": [candidate_json(plan.chosen)],
        "fallback": candidate_json(plan.fallback),
        "candidates": [candidate_json(candidate) for candidate in plan.candidates],
        "bill": None,
    }


def candidate_json(candidate: Candidate) -> dict[str, Any]:
    """One way of answering with its predicted times."""
    coefficients = candidate.route.coefficients
    return {
        "name": candidate.sketch.name,
        "route": candidate.sketch.kind.value,
        "variant": candidate.sketch.variant,
        "codec": candidate.sketch.codec.value,
        "cut": list(candidate.route.cut),
        "payload_bytes": candidate.payload_bytes,
        "up_bytes": coefficients.up_bytes,
        "down_bytes": coefficients.down_bytes,
        "total_s": candidate.total.mid.latency_s,
        "total_low_s": candidate.total.low.latency_s,
        "total_high_s": candidate.total.high.latency_s,
        "device_s": candidate.device.mid.latency_s,
        "link_s": candidate.link.mid.latency_s,
        "cloud_s": candidate.cloud.mid.latency_s,
        "device_energy_j": coefficients.device_j,
        "evidence": candidate.total.evidence.value,
        "quality": write_record(candidate.route.quality),
        "rejected": candidate.rejected,
    }


def demo_json(plans: Sequence[Plan], answers: Sequence[PageAnswer], page: Path) -> dict[str, Any]:
    """What the demo planned and what came of it."""
    return {
        **plans_json(plans),
        "answers": [_answer_json(shown) for shown in answers],
        "page": str(page),
    }


def _answer_json(shown: PageAnswer) -> dict[str, Any]:
    trace = shown.answer.trace
    return {
        "link": shown.plan.target.link.name,
        "raw_input_stays": shown.plan.limits.raw_input_stays,
        "link_cut": shown.link_cut,
        "photo": shown.name,
        "label": shown.label,
        "as_full_network": shown.same,
        "planned": shown.plan.chosen.sketch.name,
        "predicted_s": shown.predicted_s,
        "measured_s": answer_seconds(shown.answer),
        "inference_source": write_record(shown.answer.inference_source),
        "up_bytes": trace.up_bytes,
        "spans": write_record(trace.spans),
    }
