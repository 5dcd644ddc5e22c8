"""The JSON form of both kinds of preparation."""

from __future__ import annotations

import json
from collections.abc import Mapping

from edgewise.errors import BadInput
from edgewise.preparation.image import ImagePreparation
from edgewise.preparation.text import TextPreparation
from edgewise.records import parse_json, read_record, write_record

Preparation = ImagePreparation | TextPreparation
_SCHEMA = 1
_KINDS: Mapping[str, type[Preparation]] = {"image": ImagePreparation, "text": TextPreparation}
_MAX_JSON_BYTES = 16_384
_WHERE = "the preparation"


def read_preparation(text: str) -> ImagePreparation | TextPreparation:
    """Read the JSON of the metadata key ``edgewise.preparation``.

    Raises:
        BadInput: on another schema or kind, or a field that does not fit.

    >>> read_preparation('{"schema": 1, "kind": "image", "input": "x", "height": 2, "width": 2,'
    ...                  ' "mode": "L", "mean": [0], "scale": [255]}').mode
    'L'
    >>> read_preparation('{"schema": 1, "kind": "text", "max_tokens": 64}').max_tokens
    64
    """
    data = parse_json(text, where=_WHERE, max_bytes=_MAX_JSON_BYTES)
    if not isinstance(data, dict):
        raise BadInput(
            expected=f"a table in {_WHERE}",
            found=type(data).__name__,
            remedy="correct the preparation in the model's metadata",
        )
    fields = dict(data)
    schema, kind = fields.pop("schema", None), fields.pop("kind", None)
    if type(schema) is not int or schema != _SCHEMA:
        raise _unknown(f"schema {_SCHEMA!r}", schema, "schema")
    if type(kind) is not str or kind not in _KINDS:
        raise _unknown(f"kind {' or '.join(map(repr, _KINDS))}", kind, "kind")
    return read_record(_KINDS[kind], fields, where=_WHERE)


def read_image_preparation(text: str) -> ImagePreparation:
    """Read a preparation where only pictures can be prepared.

    Raises:
        BadInput: when the network reads text, and as :func:`read_preparation` does.
    """
    preparation = read_preparation(text)
    if isinstance(preparation, TextPreparation):
        raise BadInput(
            expected="a network that reads pictures",
            found="one that reads text",
            remedy="pass its inputs as arrays: " + ", ".join(preparation.inputs),
        )
    return preparation


def write_preparation(preparation: ImagePreparation | TextPreparation) -> str:
    """The JSON of a preparation: the inverse of :func:`read_preparation`."""
    kinds = {kind: name for name, kind in _KINDS.items()}
    form = {"schema": _SCHEMA, "kind": kinds[type(preparation)], **write_record(preparation)}
    return json.dumps(form)


def _unknown(expected: str, found: object, name: str) -> BadInput:
    return BadInput(
        expected=f"a preparation of {expected}",
        found=f"{name} {str(found)[:40]!r}" if found is not None else f"no {name}",
        remedy="correct it, or install the edgewise that knows it",
    )
