"""Labelled examples in three disjoint parts, and what is measured on them."""

from edgewise.examples.example_set import Examples, Label, Source, Split
from edgewise.examples.loading import load_examples
from edgewise.examples.metrics import Interval, agreement, decisions, share, top1
from edgewise.examples.photos import demo_photos

__all__ = [
    "Examples",
    "Interval",
    "Label",
    "Source",
    "Split",
    "agreement",
    "decisions",
    "demo_photos",
    "load_examples",
    "share",
    "top1",
]
