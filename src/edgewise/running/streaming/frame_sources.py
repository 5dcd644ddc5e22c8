"""Where frames come from, one waiting at a time: the newest takes the place of an older one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import GeneratorType
from typing import Protocol

from edgewise.running.content import Input

_GOODBYE_S = 1.0
_LONGEST_PAUSE_S = 3600.0  # the system refuses some that are far longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A frame and when it was due; frames are numbered from 0 as they come."""

    number: int
    value: Input
    due_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What has come of a source's frames: taken are those that are neither.

    Args:
        offered: frames that came.
        superseded: those whose place a newer one took.
        waiting: 1 while one waits.
    """

    offered: int = 0
    superseded: int = 0
    waiting: int = 0


class FrameSource(Protocol):
    """What a stream takes its frames from."""

    @property
    def counts(self) -> Counts:
        """What has come of its frames so far."""

    @property
    def error(self) -> Exception | None:
        """What ended it early."""

    @property
    def lasts_s(self) -> float:
        """How long the frames that came take up by themselves."""

    def newest(self) -> Offered | None:
        """Wait for a frame and take the newest that is due; ``None`` at the end."""

    def close(self) -> None:
        """Take no more frames."""


class _Slot:
    """Room for one frame that waits."""

    def __init__(self) -> None:
        self._offered = 0
        self._superseded = 0
        self._frame: Offered | None = None

    @property
    def counts(self) -> Counts:
        return Counts(
            offered=self._offered,
            superseded=self._superseded,
            waiting=int(self._frame is not None),
        )

    @property
    def frame(self) -> Offered | None:
        return self._frame

    def put(self, value: Input, due_s: float) -> Offered:
        if self._frame is not None:
            self._superseded += 1
        self._frame = Offered(number=self._offered, value=value, due_s=due_s)
        self._offered += 1
        return self._frame

    def take(self) -> Offered | None:
        frame, self._frame = self._frame, None
        return frame


class PacedFrames:
    """Frames that are there already: one is due every ``1 / fps`` seconds, whoever is busy.

    Args:
        frames: taken from when one is due.
        fps: how many are due in a second.
        clock: seconds that only go forward.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        frames: Iterable[Input],
        *,
        fps: float,
        clock: Callable[[], float],
        pause: Callable[[float], None],
    ) -> None:
        self._frames: Iterator[Input] = iter(frames)
        self._fps = fps
        self._clock = clock
        self._pause = pause
        self._start_s: float | None = None
        self._slot = _Slot()
        self.error: Exception | None = None

    @property
    def counts(self) -> Counts:
        """What has come of its frames so far."""
        return self._slot.counts

    @property
    def lasts_s(self) -> float:
        """How long the frames that came take up by themselves."""
        return self._slot.counts.offered / self._fps

    def newest(self) -> Offered | None:
        """Wait for a frame and take the newest that is due; ``None`` at the end."""
        frame = self._slot.frame or self._pull()
        if frame is None:
            return None
        while (early_s := frame.due_s - self._clock()) > 0:
            self._pause(min(early_s, _LONGEST_PAUSE_S))
        now_s = self._clock()  # looked at once: a source slower than its rate never catches up
        while self._next_due_s <= now_s and self._pull() is not None:
            pass
        return self._slot.take()

    def close(self) -> None:
        """Take no more frames."""
        self._frames = iter(())

    @property
    def _next_due_s(self) -> float:
        if self._start_s is None:
            self._start_s = self._clock()
        return self._start_s + self._slot.counts.offered / self._fps

    def _pull(self) -> Offered | None:
        due_s = self._next_due_s
        try:
            return self._slot.put(next(self._frames), due_s)
        except StopIteration:
            return None
        except Exception as error:
            self.error = error
            self.close()
            return None


class LiveFrames:
    """Frames that come by themselves, as a camera's do; each is due when it comes.

    A thread takes them, so that none is late because the one before is still being answered.

    Args:
        frames: waits for each; a generator is closed at the end.
        clock: seconds that only go forward.
    """

    lasts_s = 0.0

    def __init__(self, frames: Iterable[Input], *, clock: Callable[[], float]) -> None:
        self._frames = frames
        self._clock = clock
        self._slot = _Slot()
        self._changed = threading.Condition()
        self._open = True
        self.error: Exception | None = None
        self._watcher = threading.Thread(target=self._watch, name="edgewise-frames", daemon=True)
        self._watcher.start()

    @property
    def counts(self) -> Counts:
        """What has come of its frames so far."""
        with self._changed:
            return self._slot.counts

    def newest(self) -> Offered | None:
        """Wait for a frame and take the newest that is due; ``None`` at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._slot.frame or not self._open)
            return self._slot.take()

    def close(self) -> None:
        """Take no more frames; one that is being waited for is not waited for long."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._watcher.join(_GOODBYE_S)

    def _watch(self) -> None:
        try:
            for value in self._frames:
                if not self._offer(value):
                    break
            if isinstance(self._frames, GeneratorType):
                self._frames.close()
        except Exception as error:  # whatever a camera's driver raises
            self.error = error
        finally:
            with self._changed:
                self._open = False
                self._changed.notify_all()

    def _offer(self, value: Input) -> bool:
        with self._changed:
            if self._open:
                self._slot.put(value, self._clock())
                self._changed.notify_all()
            return self._open
