"""Labelled examples in three disjoint parts, and what is measured on them."""

from edgewise.examples.deciding import agreement, decisions
from edgewise.examples.distances import cosine_similarity, kl_divergence
from edgewise.examples.example_set import Examples, Label, Source, Split
from edgewise.examples.intervals import Interval, Unit, estimate, paired_difference, share
from edgewise.examples.loading import load_examples
from edgewise.examples.metrics import METRICS, Metric, Target, load_metric, metric
from edgewise.examples.photos import demo_photos
from edgewise.examples.texts import read_texts

__all__ = [
    "METRICS",
    "Examples",
    "Interval",
    "Label",
    "Metric",
    "Source",
    "Split",
    "Target",
    "Unit",
    "agreement",
    "cosine_similarity",
    "decisions",
    "demo_photos",
    "estimate",
    "kl_divergence",
    "load_examples",
    "load_metric",
    "metric",
    "paired_difference",
    "read_texts",
    "share",
]
