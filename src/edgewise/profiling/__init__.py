"""Count and time a network."""

from edgewise.profiling.counting import count
from edgewise.profiling.prefix import Prefix, prefix_of
from edgewise.profiling.profile import EdgeProfile, NodeProfile, Profile
from edgewise.profiling.segments import (
    NotFinite,
    Segments,
    measure_contenders,
    measure_cuts,
    measure_halves,
    measure_together,
    measure_whole,
    run_halves,
)
from edgewise.profiling.timing import NOTHING, Timing, summarise, time_interleaved
from edgewise.progress import Progress

__all__ = [
    "NOTHING",
    "EdgeProfile",
    "NodeProfile",
    "NotFinite",
    "Prefix",
    "Profile",
    "Progress",
    "Segments",
    "Timing",
    "count",
    "measure_contenders",
    "measure_cuts",
    "measure_halves",
    "measure_together",
    "measure_whole",
    "prefix_of",
    "run_halves",
    "summarise",
    "time_interleaved",
]
