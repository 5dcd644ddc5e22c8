"""How a server is run: what an operator chooses, beside whom it lets in."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from edgewise.serving.access.keys import KeyRing
from edgewise.serving.repository.canary import Canary


class LogForm(StrEnum):
    """What a line about a request looks like."""

    OFF = "off"
    HUMAN = "human"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What an operator chooses; by default nothing is asked for, counted or written.

    Args:
        keys: asked for when given; health stays open.
        read_keys_again: called on SIGHUP for the keys to let in from then on.
        metrics: whether ``/metrics`` answers: on this machine, and to whoever has a key.
        log: one line per request on stderr, in this form.
        name_keys: whether metrics and log say which key asked, by the operator's name for it.
        tls: serve HTTPS with it.
        notice_s: after SIGTERM, not ready but answering for so long.
        drain_s: afterwards, what is under way may take so long.
        canaries: versions on trial.
        keep_previous: bundles of each name that answer on after others replaced them on SIGHUP.
        workers: processes that answer; each has the limits of ``Access`` for itself, and an equal
            part of every key's budget.

    >>> Operations().log.value
    'off'
    """

    keys: KeyRing | None = None
    read_keys_again: Callable[[], KeyRing] | None = None
    metrics: bool = False
    log: LogForm = LogForm.OFF
    name_keys: bool = False
    tls: ssl.SSLContext | None = None
    notice_s: float = 0.0
    drain_s: float = 10.0
    canaries: tuple[Canary, ...] = ()
    keep_previous: int = 1
    workers: int = 1
