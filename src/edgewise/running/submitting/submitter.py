"""From a value that a caller hands in to its delivery, once in effect."""

from __future__ import annotations

import enum
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from edgewise.bundle import Bundle, Manifest
from edgewise.errors import BadInput, LinkFailed
from edgewise.running.deciding.choice import Policy
from edgewise.running.linking.backoff import Backoff, Patience
from edgewise.running.linking.patience import within
from edgewise.running.options import Options
from edgewise.running.submitting.outbox import Outbox
from edgewise.running.submitting.outbox_items import Entry, Receipt, Waiting
from edgewise.running.submitting.sealing import Randomness
from edgewise.submission import Submission
from edgewise.tensors import Array

if TYPE_CHECKING:
    from edgewise.running.linking.link import HttpLink

_MAX_REPLY_BYTES = 65_536
# What the server will never take, however often it is asked: ill-formed, other content under
# the same key, too large. All other refusals may pass, so the item goes on waiting.
_FOR_GOOD = (400, 409, 413, 422)
_END_S = 2.0
_SCALARS = (str, int, float, bool, type(None))
_MAX_WORDS = 200
_MAX_ENTRIES = 16

Submittable = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flushed:
    """What became of the outbox.

    Args:
        delivered: keys that the server has now, in order.
        waiting: how many items for this server are left.
        aside: what was set aside, by this flush or before.
        reason: why anything is left; empty when nothing is.
    """

    delivered: tuple[str, ...]
    waiting: int
    aside: tuple[Entry, ...]
    reason: str


class _CutShort(LinkFailed):
    """The caller's own time was up before the server's."""


class _Step(enum.Enum):
    NOTHING = enum.auto()
    DELIVERED = enum.auto()
    SET_ASIDE = enum.auto()
    FAILED = enum.auto()


class Submitter:
    """Stores submissions, then delivers them, the oldest first.

    Args:
        outbox: closed with this.
        link: to the server, and closed with this; ``None`` lets everything wait.
        bundle: what the device runs.
        options: its policy and ``raw_input_stays`` hold here too.
        patience: how deliveries are tried again.
        in_background: deliver without being asked to.
        randomness: gives that many random bytes.
        clock: seconds that only go forward.
    """

    def __init__(  # noqa: PLR0913 - a session's own values, and three that tests replace
        self,
        outbox: Outbox,
        *,
        link: HttpLink | None,
        bundle: Bundle,
        options: Options,
        patience: Patience | None = None,
        in_background: bool = True,
        randomness: Randomness = os.urandom,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._manifest, self._digest = bundle.manifest, bundle.digest
        self._options = options
        self._patience = patience or Patience()
        self._randomness = randomness
        self._clock = clock
        self._link = None if options.policy is Policy.ONLY_ON_DEVICE else link
        self._backoff = Backoff(self._patience, chance=lambda: randomness(1)[0] / 255)
        self._not_before_s = clock()
        self._reason = ""
        self._one_at_a_time = threading.Lock()
        self._wake, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._in_background = in_background

    def start(self) -> None:
        """Begin to deliver in the background, if that is wanted and there is a server."""
        if self._in_background and self._link is not None:
            self._thread = threading.Thread(
                target=self._deliver_for_ever, name="edgewise-outbox", daemon=True
            )
            self._thread.start()

    def submit(
        self, value: Submittable, *, key: str | None = None, sensitive: bool = False
    ) -> Receipt:
        """Store a value, to be delivered when there is a way; see :meth:`Session.submit`."""
        tensors, record = split_value(value)
        check_may_leave(tensors, record, manifest=self._manifest, options=self._options)
        return self._keep(tensors, record, key=key, sensitive=sensitive)

    def leave(self, payload: Mapping[str, Array], *, route: str) -> Receipt:
        """Store what a route would have sent, to be handed in when there is a way.

        Args:
            payload: of a route that the options allow.
            route: its name.

        Raises:
            NotStored: when there is no room.
        """
        return self._keep(payload, {"route": route})

    def _keep(
        self,
        tensors: Mapping[str, Array],
        record: Mapping[str, object],
        *,
        key: str | None = None,
        sensitive: bool = False,
    ) -> Receipt:
        if key is None:
            key = str(uuid.UUID(bytes=self._randomness(16), version=4))
        submission = Submission(key=key, tensors=tensors, record=record, bundle=self._digest)
        receipt = self._outbox.put(submission, model=self._manifest.name, sensitive=sensitive)
        self._wake.set()
        return receipt

    def flush(self, *, timeout_s: float) -> Flushed:
        """Deliver what waits, trying again until it is done or the time is up.

        Raises:
            NotStored: when the outbox's file cannot be used.
        """
        until_s = self._clock() + timeout_s
        delivered: list[str] = []
        self._outbox.set_aged_aside()
        while not self._ended.is_set() and self._link is not None:
            left_s = until_s - self._clock()
            pause_s = self._not_before_s - self._clock()
            if left_s <= 0 or pause_s >= left_s:
                break
            if pause_s > 0:
                self._ended.wait(pause_s)
                continue
            step, key = self._deliver_oldest(left_s)
            if step is _Step.NOTHING:
                break
            delivered += [key] if step is _Step.DELIVERED else []
        return self._flushed(delivered)

    def close(self) -> None:
        """Stop delivering; what waits goes on waiting."""
        self._ended.set()
        self._wake.set()
        if self._link is not None:
            self._link.close()
        if self._thread is not None:
            self._thread.join(_END_S)  # it may still look for a server that is nowhere
        if self._link is not None:
            self._link.close()  # again: it may have begun a delivery after the first time
        self._outbox.close()

    def _flushed(self, delivered: list[str]) -> Flushed:
        entries = self._outbox.entries("waiting", "aside")
        mine = [entry for entry in entries if entry.model == self._manifest.name]
        waiting = sum(entry.state == "waiting" for entry in mine)
        reason = self._reason or ("it takes longer" if self._link else "there is no server")
        return Flushed(
            delivered=tuple(delivered),
            waiting=waiting,
            aside=tuple(entry for entry in mine if entry.state == "aside"),
            reason=reason if waiting else "",
        )

    def _deliver_for_ever(self) -> None:
        while not self._ended.is_set():
            self._wake.clear()
            pause_s: float | None = None  # until something is submitted
            try:
                self._outbox.set_aged_aside()
                while not self._ended.is_set() and self._not_before_s <= self._clock():
                    step, _ = self._deliver_oldest(self._patience.timeout_s)
                    if step is _Step.NOTHING:
                        break
                else:
                    pause_s = max(0.0, self._not_before_s - self._clock())
            except BadInput:  # the file cannot be used just now: `submit` and `flush` say so
                pause_s = self._backoff.failed()
            if pause_s is None:
                self._wake.wait()
            else:
                self._ended.wait(pause_s)

    def _deliver_oldest(self, left_s: float) -> tuple[_Step, str]:
        """What came of the item that has waited longest, and its key."""
        with self._one_at_a_time:
            if self._not_before_s > self._clock():
                return _Step.FAILED, ""  # another thread has just tried
            item = None if self._ended.is_set() else self._outbox.oldest(self._manifest.name)
            if item is None:
                self._reason = ""
                return _Step.NOTHING, ""
            try:
                step = self._send(item, min(left_s, self._patience.timeout_s))
            except LinkFailed as error:
                # An attempt that had no time left says less than the one before it.
                if not (self._reason and isinstance(error, _CutShort)):
                    self._reason = error.reason
                self._not_before_s = self._clock() + self._backoff.failed()
                self._outbox.failed(item.key, error.reason)
                return _Step.FAILED, item.key
            self._reason = ""
            self._backoff.succeeded()
            return step, item.key

    def _send(self, item: Waiting, timeout_s: float) -> _Step:
        """Whether the server has it, or never will.

        Raises:
            LinkFailed: when another attempt may help.
        """
        from edgewise.running.linking.refusals import read_object, refusal_words

        status, raw = self._post(item, timeout_s)
        reply = read_object(raw)
        if status == 200 and (reply.get("key"), reply.get("digest")) == (item.key, item.digest):
            self._outbox.delivered(item.key)
            return _Step.DELIVERED
        if status == 200:
            raise LinkFailed("the server answered 200, and not that it stored this")
        words = refusal_words(status, raw)
        if status not in _FOR_GOOD or "error" not in reply:
            raise LinkFailed(words)
        self._outbox.set_aside(item.key, words)
        return _Step.SET_ASIDE

    def _post(self, item: Waiting, timeout_s: float) -> tuple[int, bytes]:
        link = self._link
        assert link is not None  # nobody delivers without one
        send = partial(
            link.post,
            self._manifest.name,
            "submit",
            item.frame,
            limit_bytes=_MAX_REPLY_BYTES,
            timeout_s=timeout_s,
        )
        try:
            return within(timeout_s, send)
        except TimeoutError:
            link.close()  # ends the thread that still waits, and its connection
            kind = _CutShort if timeout_s < self._patience.timeout_s else LinkFailed
            raise kind(f"no answer within {timeout_s:.2f} s") from None


def split_value(value: Submittable) -> tuple[dict[str, Array], dict[str, object]]:
    """Arrays by name, and the rest.

    Raises:
        BadInput: when it is no mapping of names.

    >>> split_value({"logits": np.zeros(2), "seen": "cat"})[1]
    {'seen': 'cat'}
    """
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise BadInput(
            expected="a mapping of names to arrays and to what JSON can hold",
            found=f"a value of type {type(value).__name__}",
            remedy="pass for example {'logits': answer.outputs['logits'], 'seen': 'cat'}",
        )
    tensors = {name: item for name, item in value.items() if isinstance(item, np.ndarray)}
    return tensors, {name: item for name, item in value.items() if name not in tensors}


def check_may_leave(
    tensors: Mapping[str, Array],
    record: Mapping[str, object],
    *,
    manifest: Manifest,
    options: Options,
) -> None:
    """Refuse what the options keep on the device.

    With ``raw_input_stays`` arrays must be the network's outputs, by name, type and shape, and
    the record flat, of short scalars: neither has room for a picture. What a person types into a
    short text is the caller's to judge.

    Raises:
        BadInput: naming what may not leave.
    """
    if options.policy is Policy.ONLY_ON_DEVICE:
        raise BadInput(
            expected="a policy under which something may leave the device",
            found=str(options.policy),
            remedy="choose another policy, or keep it on the device",
        )
    if options.raw_input_stays:
        _check_arrays(tensors, manifest)
        _check_record(record)


def _check_arrays(tensors: Mapping[str, Array], manifest: Manifest) -> None:
    outputs = {spec.name: spec for spec in manifest.outputs}
    inputs = {spec.name for spec in manifest.inputs}
    for name, array in tensors.items():
        spec = outputs.get(name)
        if spec is None or name in inputs or not _fits(array, spec.dtype, spec.shape):
            raise BadInput(
                expected=f"outputs of the network alone under raw_input_stays:"
                f" {', '.join(outputs)}",
                found=f"the array {name[:80]!r}, {array.dtype}{list(array.shape)}",
                remedy="submit what session.run gave",
            )


def _check_record(record: Mapping[str, object]) -> None:
    for name, item in record.items():
        if not isinstance(item, _SCALARS) or len(f"{name}{item}") > _MAX_WORDS:
            raise BadInput(
                expected=f"short texts, numbers and truth values under raw_input_stays,"
                f" of at most {_MAX_WORDS} characters with their name",
                found=f"{type(item).__name__} in {name[:80]!r}",
                remedy="submit less",
            )
    if len(record) > _MAX_ENTRIES:
        raise BadInput(
            expected=f"at most {_MAX_ENTRIES} entries in the record under raw_input_stays",
            found=str(len(record)),
            remedy="submit less",
        )


def _fits(array: Array, dtype: str, shape: tuple[int | str, ...]) -> bool:
    sizes = zip(array.shape, shape, strict=False)
    return (
        array.dtype.name == dtype
        and array.ndim == len(shape)
        and all(isinstance(want, str) or size == want for size, want in sizes)
    )
