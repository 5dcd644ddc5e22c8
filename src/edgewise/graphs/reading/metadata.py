"""Check what a file's metadata claims to be before anybody relies on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from edgewise.errors import BadInput
from edgewise.graphs.model import LABELS_KEY, PREPARATION_KEY
from edgewise.preparation import TOKENIZER_KEY, read_preparation
from edgewise.preparation.tokenizer_form import read_tokenizer_form
from edgewise.records import parse_json

MAX_LABELS = 100_000
MAX_LABEL_CHARACTERS = 1_000
_MAX_LABELS_BYTES = 8_000_000
_MAX_PREPARATION_BYTES = 100_000
_MAX_TOTAL_BYTES = 32_000_000


def check_metadata(proto: onnx.ModelProto) -> None:
    """Refuse metadata of ours that does not have its form, and more than anybody needs.

    Raises:
        BadInput: on a key that stands twice, on more than 32 MB, and when preparation, labels or
            tokenizer are not what their keys say.
    """
    found: dict[str, str] = {}
    for entry in proto.metadata_props:
        if entry.key in found:
            raise BadInput(
                expected="every metadata key once",
                found=f"{entry.key[:80]!r} twice",
                remedy="remove one of them",
            )
        found[entry.key] = entry.value
    size_bytes = sum(entry.ByteSize() for entry in proto.metadata_props)
    if size_bytes > _MAX_TOTAL_BYTES:
        raise _too_much("metadata", _MAX_TOTAL_BYTES, size_bytes)
    for key, read in _READERS.items():
        if key in found:
            read(found[key])


def read_labels(text: str) -> tuple[str, ...]:
    """The class names in a JSON list of texts.

    Raises:
        BadInput: when it is no such list, or one of more than 100 000 names or with a name of more
            than 1 000 characters.

    >>> read_labels('["cat", "dog"]')
    ('cat', 'dog')
    """
    labels = parse_json(text, where=LABELS_KEY, max_bytes=_MAX_LABELS_BYTES)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        listed = labels if isinstance(labels, list) else ()
        others = [type(label).__name__ for label in listed if not isinstance(label, str)]
        raise BadInput(
            expected=f"a JSON list of texts in the metadata {LABELS_KEY}",
            found=f"another member, of type {others[0]}" if others else type(labels).__name__,
            remedy='write ["first class", "second class", …]',
        )
    longest = max(map(len, labels), default=0)
    if len(labels) > MAX_LABELS or longest > MAX_LABEL_CHARACTERS:
        raise BadInput(
            expected=f"at most {MAX_LABELS} class names of at most {MAX_LABEL_CHARACTERS} "
            f"characters in the metadata {LABELS_KEY}",
            found=f"{len(labels)} names, the longest of {longest} characters",
            remedy="write one short name for each class",
        )
    return tuple(labels)


def _check_preparation(text: str) -> None:
    size_bytes = len(text.encode())
    if size_bytes > _MAX_PREPARATION_BYTES:
        raise _too_much(PREPARATION_KEY, _MAX_PREPARATION_BYTES, size_bytes)
    read_preparation(text)


def _too_much(what: str, most_bytes: int, found_bytes: int) -> BadInput:
    return BadInput(
        expected=f"at most {most_bytes} bytes of {what}",
        found=f"{found_bytes} bytes",
        remedy="store it in a file beside the model",
    )


_READERS: Mapping[str, Callable[[str], object]] = {
    PREPARATION_KEY: _check_preparation,
    LABELS_KEY: read_labels,
    TOKENIZER_KEY: read_tokenizer_form,
}
