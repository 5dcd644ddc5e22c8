"""Run candidate routes for real and compare them with what was predicted."""

from edgewise.trials.measure import Trial, answer_seconds, linked, measure_routes

__all__ = ["Trial", "answer_seconds", "linked", "measure_routes"]
