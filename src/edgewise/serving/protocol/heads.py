"""What was found in the headers of requests: devices send the same ones again, but for the id."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewise.serving.batching.batcher import Group
from edgewise.serving.protocol.request_parameters import Asked
from edgewise.wire import Header

if TYPE_CHECKING:
    from edgewise.serving.repository.parts import ServedBundle, ServedRoute

_ID_FIRST = re.compile(rb'\{"id": ?"([A-Za-z0-9_.\-]{1,64})", ?(?=")')
_REMEMBERED = 128
_LONGEST_BYTES = 2048

Key = tuple[bool, bytes, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request but for its id and its tensors, checked.

    Args:
        bundle: that answers.
        route: of it.
        header: as it was read; its id is that of the request it was read from.
        asked: the outputs.
        deadline_us: how long the answer is wanted from its arrival on; ``None`` for ever.
        items: rows that it asks for; ``None`` when it must run alone.
        group: what it may run together with.
    """

    bundle: ServedBundle
    route: ServedRoute
    header: Header
    asked: Asked
    deadline_us: int | None
    items: int | None
    group: Group


class Heads:
    """The last heads of one offer; whoever makes up new ones drives out old ones, no more.

    >>> heads = Heads()
    >>> heads.find((False, b"{}", 8)) is None
    True
    """

    def __init__(self) -> None:
        self._heads: dict[Key, Head] = {}
        self._keeping = threading.Lock()  # JSON and compressed requests are read in threads

    def find(self, key: Key) -> Head | None:
        """What was found in these bytes."""
        return self._heads.get(key)

    def keep(self, key: Key, head: Head) -> None:
        """Remember it; headers of an unusual length are not worth the memory."""
        if len(key[1]) > _LONGEST_BYTES:
            return
        with self._keeping:
            while len(self._heads) >= _REMEMBERED:
                del self._heads[next(iter(self._heads))]
            self._heads[key] = head


def without_id(raw: bytes, *, tensor_bytes: int) -> tuple[str | None, Key]:
    """The id that a header begins with, if it does, and what else the header says.

    Two headers with one key differ in that id alone: what is right of one is right of the other.

    Args:
        raw: the JSON.
        tensor_bytes: what follows it.

    >>> without_id(b'{"id":"7","inputs":[]}', tensor_bytes=0)
    ('7', (True, b'"inputs":[]}', 0))
    >>> without_id(b'{"inputs":[]}', tensor_bytes=0)
    (None, (False, b'{"inputs":[]}', 0))
    """
    match = _ID_FIRST.match(raw)
    if match is None:
        return None, (False, raw, tensor_bytes)
    return match[1].decode(), (True, raw[match.end() :], tensor_bytes)
