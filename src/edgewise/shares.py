"""How far an observed figure may be from the true one: 95 % intervals of shares and means."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

# The 97.5 % point of the normal distribution: intervals of 95 %.
Z_95 = 1.959963984540054


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of a share, 95 %: from where to where it may lie.

    Unlike the usual normal interval it is right for few examples and for shares near 0 and 1.
    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212; recommended by Brown, Cai and
    DasGupta, Statistical Science 16 (2001) 101-133.

    Args:
        successes: how many of the examples, 0 to ``n``.
        n: the number of examples, at least 1.

    >>> low, high = wilson(443, 500)
    >>> f"{low:.3f} to {high:.3f}"
    '0.855 to 0.911'
    """
    mid = successes / n
    centre = (mid + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(mid * (1 - mid) / n + Z_95**2 / (4 * n**2))
    return min(max(0.0, centre - half), mid), max(min(1.0, centre + half), mid)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The normal interval of a mean, 95 %: mean ± 1.96 standard errors; for 30 values or more.

    Args:
        values: at least two.

    >>> mean_interval([1.0, 1.0, 1.0])
    (1.0, 1.0)
    """
    mid = statistics.fmean(values)
    half = Z_95 * statistics.stdev(values) / math.sqrt(len(values))
    return mid - half, mid + half
