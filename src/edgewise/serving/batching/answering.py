"""From a checked request to work for the dispatcher, and where its time went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from edgewise.engines import Engine
from edgewise.errors import BadInput
from edgewise.serving.batching.batcher import Entry
from edgewise.serving.batching.joining import Done, Job
from edgewise.serving.protocol.replies import Reply, encode_outputs
from edgewise.serving.protocol.requests import Infer
from edgewise.tensors import Array, Feeds
from edgewise.wire import Message

BATCH_FIELD = "Edgewise-Batch"
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where a request's time went, in seconds.

    >>> Timing(queue_s=0.0001, decode_s=0.002, compute_s=0.03).field
    'queue;dur=0.100, decode;dur=2.000, compute;dur=30.000'
    """

    queue_s: float
    decode_s: float
    compute_s: float
    encode_s: float = 0.0

    @property
    def stages(self) -> dict[str, float]:
        """What the answer says of it, by name, to the microsecond."""
        return {
            "queue": round(self.queue_s, 6),
            "decode": round(self.decode_s, 6),
            "compute": round(self.compute_s, 6),
        }

    @property
    def field(self) -> str:
        """The value of ``Server-Timing``, in milliseconds (W3C Server Timing, section 3)."""
        return (
            f"queue;dur={self.queue_s * 1e3:.3f}, decode;dur={self.decode_s * 1e3:.3f},"
            f" compute;dur={self.compute_s * 1e3:.3f}"
        )


def timing_of(done: Done[R], *, arrived_s: float) -> Timing:
    """Where the time of an answered request went; what is not its own work is waiting.

    Args:
        done: its answer.
        arrived_s: when it was there, on the clock of ``done``.
    """
    return Timing(
        queue_s=max(0.0, done.started_s - arrived_s - done.decode_s),
        decode_s=done.decode_s,
        compute_s=done.compute_s,
        encode_s=done.finish_s,
    )


def entry_of(asked: Infer, *, nbytes: int, began_s: float, arrived_s: float) -> Entry[Job[Reply]]:
    """The request as the dispatcher takes it.

    Args:
        asked: the request, checked.
        nbytes: what it keeps in memory while it waits.
        began_s: when its head was there, on the clock of the dispatcher.
        arrived_s: when all of it was there; its deadline counts from then on.
    """
    head, tensors = asked.head, asked.message.tensors
    part = head.route
    job = Job(
        receive=lambda: part.receive(tensors),
        run=lambda feeds: _run(part.engine, feeds),
        finish=lambda outputs: _encode(asked, outputs),
    )
    wanted_s = math.inf if head.deadline_us is None else head.deadline_us / 1e6
    return Entry(
        group=head.group,
        work=job,
        arrived_s=began_s,
        items=head.items or 1,
        nbytes=nbytes,
        deadline_s=arrived_s + wanted_s,
        alone=head.items is None,
    )


def _encode(asked: Infer, outputs: Mapping[str, Array]) -> Reply:
    head = asked.head
    return encode_outputs(
        Message(
            tensors={name: outputs[name] for name in head.asked.outputs},
            id=asked.message.id,
            parameters={"route": head.route.route.name},
            model=head.bundle.name,
            version=head.bundle.version,
        ),
        binary=head.asked.binary,
    )


def _run(engine: Engine, feeds: Feeds) -> dict[str, Array]:
    try:
        return engine.run(feeds)
    except BadInput as error:
        if error.__context__ is None:
            raise  # our own check, in our own words
        raise BadInput(
            expected=error.expected,
            found="inputs on which the engine fails",  # its words name files and nodes
            remedy=error.remedy,
        ) from error
