"""Decide what runs where."""

from edgewise.planning.bundling import build_bundle, left_out, routes_of
from edgewise.planning.candidates import (
    FULL,
    Candidate,
    Limits,
    Objective,
    Sample,
    Samples,
    Settings,
    Sketch,
    take_samples,
)
from edgewise.planning.given import GivenCandidate, GivenPlan, plan_given, read_profile
from edgewise.planning.prediction import Target
from edgewise.planning.search import Split, all_cloud, all_local, best_split, evaluate
from edgewise.planning.study import Plan, Study, begin_study, plan

__all__ = [
    "FULL",
    "Candidate",
    "GivenCandidate",
    "GivenPlan",
    "Limits",
    "Objective",
    "Plan",
    "Sample",
    "Samples",
    "Settings",
    "Sketch",
    "Split",
    "Study",
    "Target",
    "all_cloud",
    "all_local",
    "begin_study",
    "best_split",
    "build_bundle",
    "evaluate",
    "left_out",
    "plan",
    "plan_given",
    "read_profile",
    "routes_of",
    "take_samples",
]
