"""Follow a pickle without executing it: plain containers, scalars and named stand-ins, no more.

The opcodes come from :func:`pickletools.genops`, which only parses. Nothing is imported and no
callable of the file's choosing runs: a global is a :class:`Name`, and calling one goes through a
table that the caller gives. Every other opcode is refused.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

MAX_OPCODES = 200_000
"""Far above the 10 696 of EfficientNet-Lite0, and well under a second to refuse."""

_PLAIN = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"})
_CONSTANTS: Mapping[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NOTHING = frozenset({"PROTO"})
_DROPPED_STATE = frozenset({"_metadata"})


@dataclass(frozen=True, slots=True)
class Name:
    """A global that the pickle names, ``module attribute``; it stands for itself alone."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What a pickle may name, call and refer to.

    Args:
        names: globals that may be named but not called.
        calls: globals that may be called, each with what stands in for the call.
        persistent: what stands in for a persistent id.
    """

    names: frozenset[str] = frozenset()
    calls: Mapping[str, Callable[[tuple[object, ...]], object]]
    persistent: Callable[[object], object]


PLAIN = Vocabulary(calls={}, persistent=lambda _: _refuse("a persistent id"))
"""For pickles of plain values."""


def read_pickle(stream: BinaryIO, vocabulary: Vocabulary = PLAIN) -> object:
    r"""The value of the pickle that starts here; the stream is left just behind it.

    Args:
        stream: the bytes.
        vocabulary: what the pickle may name, call and refer to.

    Raises:
        ValueError: on anything but plain containers, scalars and the vocabulary.

    >>> import io
    >>> read_pickle(io.BytesIO(b"\x80\x02]K\x07a."))
    [7]
    """
    with warnings.catch_warnings():
        # genops decodes escapes in names, and warns of odd ones; such names are refused anyway.
        warnings.simplefilter("ignore", DeprecationWarning)
        return _follow(stream, _Reader(vocabulary))


def _follow(stream: BinaryIO, reader: _Reader) -> object:
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if count >= MAX_OPCODES:
            _refuse(f"more than {MAX_OPCODES} opcodes")
        if opcode.name == "STOP":
            return reader.result()
        reader.step(opcode.name, argument)
    raise ValueError("a pickle without an end")


def _refuse(what: str) -> object:
    raise ValueError(what)


class _Reader:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _PLAIN:
            self._stack.append(argument)
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode])
        elif opcode in _HANDLERS:
            _HANDLERS[opcode](self, argument)
        elif opcode not in _NOTHING:
            _refuse(f"the opcode {opcode}")

    def result(self) -> object:
        value = self._pop()
        if self._stack or self._marks:
            _refuse("values left over behind the last one")
        return value

    def _pop(self) -> Any:
        if not self._stack:
            _refuse("an opcode that takes more values than there are")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            _refuse(f"an opcode for a {kind.__name__} without one")
        return self._stack[-1]

    def mark(self, _: Any) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[Any]:
        if not self._marks:
            _refuse("an opcode for a marked group without a mark")
        items, self._stack = self._stack, self._marks.pop()
        return items

    def put(self, index: int) -> None:
        if not self._stack:
            _refuse("an empty stack to remember")
        self._memo[index] = self._stack[-1]

    def get(self, index: int) -> None:
        if index not in self._memo:
            _refuse("a reference to what was never remembered")
        self._stack.append(self._memo[index])

    def new_dict(self, _: Any) -> None:
        self._stack.append({})

    def new_list(self, _: Any) -> None:
        self._stack.append([])

    def tuple_of_marked(self, _: Any) -> None:
        items = self._pop_mark()
        self._stack.append(tuple(items))

    def tuple_of(self, length: int) -> None:
        items = [self._pop() for _ in range(length)]
        self._stack.append(tuple(reversed(items)))

    def set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        _insert(self._top(dict), key, value)

    def set_items(self, _: Any) -> None:
        items = self._pop_mark()
        if len(items) % 2:
            _refuse("a key without a value")
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            _insert(target, key, value)

    def append(self, _: Any) -> None:
        value = self._pop()
        self._top(list).append(value)

    def appends(self, _: Any) -> None:
        items = self._pop_mark()
        self._top(list).extend(items)

    def name(self, text: str) -> None:
        if text not in self._vocabulary.names and text not in self._vocabulary.calls:
            _refuse(f"the global {text[:80]!r}")
        self._stack.append(Name(text))

    def call(self, _: Any) -> None:
        arguments, target = self._pop(), self._pop()
        if type(target) is not Name or target.text not in self._vocabulary.calls:
            _refuse("a call of something that may not be called")
        if type(arguments) is not tuple:
            _refuse("a call without a tuple of arguments")
        self._stack.append(self._vocabulary.calls[target.text](arguments))

    def refer(self, _: Any) -> None:
        self._stack.append(self._vocabulary.persistent(self._pop()))

    def drop_state(self, _: Any) -> None:
        """Torch hangs version numbers on the state dict; they decide nothing here."""
        state = self._pop()
        self._top(dict)
        if type(state) is not dict or not _DROPPED_STATE.issuperset(state):
            _refuse("attributes set on a value")


def _insert(target: dict[str, Any], key: object, value: object) -> None:
    # Only str: the hash of nested tuples that share their members takes exponential time.
    if type(key) is not str:
        raise ValueError(f"a key of type {type(key).__name__}")
    if key in target:
        raise ValueError(f"the key {key[:80]!r} twice")
    target[key] = value


_HANDLERS: Mapping[str, Callable[[_Reader, Any], None]] = {
    "MARK": _Reader.mark,
    "BINPUT": _Reader.put,
    "LONG_BINPUT": _Reader.put,
    "BINGET": _Reader.get,
    "LONG_BINGET": _Reader.get,
    "EMPTY_DICT": _Reader.new_dict,
    "EMPTY_LIST": _Reader.new_list,
    "EMPTY_TUPLE": lambda reader, _: reader.tuple_of(0),
    "TUPLE": _Reader.tuple_of_marked,
    "TUPLE1": lambda reader, _: reader.tuple_of(1),
    "TUPLE2": lambda reader, _: reader.tuple_of(2),
    "TUPLE3": lambda reader, _: reader.tuple_of(3),
    "SETITEM": _Reader.set_item,
    "SETITEMS": _Reader.set_items,
    "APPEND": _Reader.append,
    "APPENDS": _Reader.appends,
    "GLOBAL": _Reader.name,
    "REDUCE": _Reader.call,
    "BINPERSID": _Reader.refer,
    "BUILD": _Reader.drop_state,
}
