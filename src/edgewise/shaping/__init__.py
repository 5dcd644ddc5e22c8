"""A real slow link: a TCP proxy process with rate, delay, jitter, loss, outages and traces."""

from edgewise.shaping.generated import shipped_traces
from edgewise.shaping.link import LinkStats, OutageMode, ShapedLink, shaped, stall_s
from edgewise.shaping.traces import RateTrace, read_rate_trace, write_rate_trace

__all__ = [
    "LinkStats",
    "OutageMode",
    "RateTrace",
    "ShapedLink",
    "read_rate_trace",
    "shaped",
    "shipped_traces",
    "stall_s",
    "write_rate_trace",
]
