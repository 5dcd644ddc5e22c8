"""Wait for work that may never end, and no longer than one cares to."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

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
    results: queue.SimpleQueue[tuple[T] | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((work(),))
        except BaseException as error:  # for whoever waits, if anybody still does
            results.put(error)

    # Not an executor's thread: Python waits for those when it ends, however long that takes.
    threading.Thread(target=run, name="edgewise-send", daemon=True).start()
    try:
        result = results.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, BaseException):
        try:
            raise result
        finally:
            del result  # or it would hold this frame, and this frame it
    return result[0]
