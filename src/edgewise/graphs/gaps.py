"""How far apart two answers of a network are."""

from __future__ import annotations

import numpy as np

from edgewise.tensors import Array


def same_bits(want: Array, got: Array) -> bool:
    """Whether two arrays have the same type, shape and bits."""
    same_form = want.dtype == got.dtype and want.shape == got.shape
    return same_form and want.tobytes() == got.tobytes()


def gap_between(want: Array, got: Array) -> tuple[float, float]:
    """The largest difference, absolute and relative; infinite where shape or NaN differ."""
    if want.shape != got.shape:
        return float("inf"), float("inf")
    a, b = want.astype(np.float64), got.astype(np.float64)
    alike = (a == b) | (np.isnan(a) & np.isnan(b))
    if alike.all():
        return 0.0, 0.0
    gap = float(np.max(np.abs(a[~alike] - b[~alike])))
    scale = float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0))
    if not np.isfinite(gap):
        return float("inf"), float("inf")
    return gap, gap / scale if scale else float("inf")
