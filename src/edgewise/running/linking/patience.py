"""Wait for work that may never end, and no longer than one cares to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar, cast

from edgewise.running.racing import Race

T = TypeVar("T")


def within(timeout_s: float, work: Callable[[], T]) -> T:
    """The result of ``work``, or of waiting for it.

    The work runs in a thread of its own, which is left behind when the time is up; it keeps no
    process from ending.

    Args:
        timeout_s: how long to wait, above 0.
        work: whatever it raises is raised here.

    Raises:
        TimeoutError: when the time is up.

    >>> within(5.0, lambda: 6 * 7)
    42
    """
    race = Race()
    race.start("send", work)
    finished = race.wait(until_s=time.perf_counter() + timeout_s)
    if finished is None:
        raise TimeoutError
    if finished.error is not None:
        try:
            raise finished.error
        finally:
            del finished  # or its error would hold this frame, and this frame it
    return cast(T, finished.result)
