"""How much Python runs, counted in lines: the same on a busy machine as on an idle one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def lines_run(work: Callable[[], object]) -> int:
    """Lines executed in ``work``, each pass of a loop and of a comprehension anew.

    What runs inside one call of a compiled function counts nothing.
    """
    count = 0

    def trace(_: FrameType, event: str, __: object) -> Callable[..., object]:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
