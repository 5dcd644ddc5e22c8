"""Count and time a network."""

from edgewise.profiling.counting import check_sized, count
from edgewise.profiling.dominance import undominated
from edgewise.profiling.inspecting import inspect, open_axes
from edgewise.profiling.inspection import CutFigures, Inspection
from edgewise.profiling.liveness import Peak, find_peak
from edgewise.profiling.operators import (
    OperatorCost,
    costliest,
    operator_costs,
    operator_counts,
)
from edgewise.profiling.prefix import Prefix, prefix_of, prefixes_of
from edgewise.profiling.profile import EdgeProfile, NodeProfile, Profile, Unsized
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

__all__ = [
    "NOTHING",
    "CutFigures",
    "EdgeProfile",
    "Inspection",
    "NodeProfile",
    "NotFinite",
    "OperatorCost",
    "Peak",
    "Prefix",
    "Profile",
    "Segments",
    "Timing",
    "Unsized",
    "check_sized",
    "costliest",
    "count",
    "find_peak",
    "inspect",
    "measure_contenders",
    "measure_cuts",
    "measure_halves",
    "measure_together",
    "measure_whole",
    "open_axes",
    "operator_costs",
    "operator_counts",
    "prefix_of",
    "prefixes_of",
    "run_halves",
    "summarise",
    "time_interleaved",
    "undominated",
]
