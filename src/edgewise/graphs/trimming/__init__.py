"""Trim what only training needed from a network, with a proof after each change."""

from edgewise.graphs.trimming.results import Pass, Removal, Trim, Trimmed, Undone
from edgewise.graphs.trimming.table import PASSES
from edgewise.graphs.trimming.trimmer import trim

__all__ = ["PASSES", "Pass", "Removal", "Trim", "Trimmed", "Undone", "trim"]
