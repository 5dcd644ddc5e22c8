"""Trials made by hand."""

from __future__ import annotations

from edgewise.cost import Cost, Evidence, Forecast
from edgewise.trials import Trial


def trial(*, predicted_s: float, measured_s: float) -> Trial:
    """One route on one link."""
    return Trial(
        route="split3-int8",
        kind="split",
        link="lte",
        predicted=Forecast.exactly(Cost(latency_s=predicted_s), Evidence.PREDICTED),
        measured=Forecast.exactly(Cost(latency_s=measured_s), Evidence.MEASURED),
        up_bytes=1000.0,
        runs=5,
    )
