"""Give a request up from another thread than the one that waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edgewise.errors import EdgewiseError


class GivenUp(EdgewiseError):  # noqa: N818 - the caller's wish, and no fault
    """The caller gave the request up before there was an answer."""


class Cancellation:
    """Gives one request up, at any time and from any thread; what is under way is ended.

    >>> cancellation = Cancellation()
    >>> cancellation.cancel()
    >>> cancellation.on_cancel(lambda: print("stop"))
    stop
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._stop: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Give the request up; once it is answered, nothing happens."""
        with self._lock:
            self._cancelled, stop = True, self._stop
        if stop is not None:
            stop()

    def on_cancel(self, stop: Callable[[], None]) -> None:
        """Have ``stop`` called when the request is given up, at once if it is already."""
        with self._lock:
            self._stop, cancelled = stop, self._cancelled
        if cancelled:
            stop()
