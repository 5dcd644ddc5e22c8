"""Answers in words and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewise.bundle import Bundle
from edgewise.errors import BadInput, MissingExtra
from edgewise.records import write_record
from edgewise.tensors import Array

if TYPE_CHECKING:
    from edgewise.running import Answer


def error_about(name: str, error: BadInput) -> BadInput:
    """The error with the input that it is about."""
    if Path(name).name in str(error) or isinstance(error, MissingExtra):
        return error
    return BadInput(expected=f"in {name} {error.expected}", found=error.found, remedy=error.remedy)


def top_label(answer: Answer, bundle: Bundle) -> str | None:
    """The class that an answer names; ``None`` unless the bundle has a label for each value."""
    labels, output = bundle.manifest.labels, _first_output(answer)
    return labels[int(np.argmax(output))] if labels and output.size == len(labels) else None


def top_words(answer: Answer, bundle: Bundle) -> str:
    """The class that an answer names; without labels, what can be said of any network's values."""
    label, output = top_label(answer, bundle), _first_output(answer)
    if label is not None:
        return label
    # A row may be classes or an embedding: nothing in a bundle without labels tells.
    if 0 < output.ndim <= 2 and output.size == output.shape[-1] > 1:
        return f"largest at {int(np.argmax(output))} of {output.size}"
    return f"{output.dtype}{list(output.shape)}"


def answer_json(name: str, answer: Answer, bundle: Bundle) -> Mapping[str, Any]:
    """One answer as the JSON that other programs rely on; keys carry their SI unit."""
    return {
        "input": name,
        "label": top_label(answer, bundle),
        "outputs": {name: _array_json(array) for name, array in answer.outputs.items()},
        "inference_source": write_record(answer.inference_source),
        "deadline_met": answer.deadline_met,
        "note": answer.note,
        "total_s": answer.trace.total_s,
        "up_bytes": answer.trace.up_bytes,
        "down_bytes": answer.trace.down_bytes,
        "spans": write_record(answer.trace.spans),
    }


def _first_output(answer: Answer) -> Array:
    return next(iter(answer.outputs.values()))


def _array_json(array: Array) -> Any:
    # JSON has no NaN: a network that gives one is shown as null.
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        return np.where(np.isfinite(array), array, np.array(None)).tolist()
    return array.tolist()
