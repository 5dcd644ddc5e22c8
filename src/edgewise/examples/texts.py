"""Texts in a table as a source of examples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewise.errors import BadInput
from edgewise.examples.example_set import MAX_EXAMPLES, Examples, Label
from edgewise.examples.matching import Form, check_inputs
from edgewise.examples.tables import LABEL_COLUMNS, Table, open_table
from edgewise.preparation import (
    TextPreparation,
    Tokenizer,
    fixed_length,
    open_tokenizer,
    prepare_text,
    write_preparation,
)
from edgewise.tensors import Array, TensorSpec

_TEXT_COLUMNS = ("text", "sentence")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSource:
    """Texts, turned into tokens one at a time when asked for.

    Args:
        texts: one per example.
        preparation: which inputs they become.
        tokenizer: cuts them into tokens.
        length: how many tokens the network always takes, if it does.
    """

    texts: tuple[str, ...]
    preparation: TextPreparation
    tokenizer: Tokenizer
    length: int | None = None

    def feeds(self, row: int) -> dict[str, Array]:
        """Every input by name, batch 1, as long as the text is or the network wants it."""
        return prepare_text(self.texts[row], self.preparation, self.tokenizer, length=self.length)

    def pixels(self, row: int) -> None:
        """A text is no picture."""


def text_examples(
    path: Path,
    preparation: TextPreparation,
    tokenizer: str | None,
    inputs: Sequence[TensorSpec],
) -> Examples:
    """Examples from a table with a column of texts and, if known, one of labels.

    The texts are in the column ``text`` or ``sentence``, or in the first that holds no labels.

    Raises:
        BadInput: when a text is missing, something is no UTF-8, or the model takes other inputs.
    """
    if tokenizer is None:
        raise BadInput(
            expected=f"a tokenizer for the texts in {path}",
            found="none",
            remedy="use a model with edgewise.tokenizer in its metadata",
        )
    length = fixed_length(preparation, inputs)
    form = Form(dtype="int64", shape=(1, length))
    check_inputs(dict.fromkeys(preparation.inputs, form), inputs, where=f"the texts of {path}")
    lines, texts, labels = zip(*read_texts(path), strict=True)
    return Examples(
        names=tuple(f"{path.name}:{line}" for line in lines),
        labels=labels,
        keys=tuple(hashlib.sha256(text.encode()).hexdigest() for text in texts),
        rows=tuple(range(len(texts))),
        source=TextSource(
            texts=texts,
            preparation=preparation,
            tokenizer=open_tokenizer(tokenizer),
            length=length,
        ),
        recipe=f"{write_preparation(preparation)}{length or ''}"
        + hashlib.sha256(tokenizer.encode()).hexdigest(),
    )


def read_texts(path: Path) -> list[tuple[int, str, Label | None]]:
    """Line, text and label of each row of a table; see :func:`load_examples` for its columns.

    Raises:
        BadInput: when there is no text, one is missing, or something is no UTF-8.
    """
    table = open_table(path)
    column = _text_column(table)
    label = table.label_column
    found: list[tuple[int, str, Label | None]] = []
    for line, row in table.rows(column, *(() if label is None else (label,))):
        if len(found) >= MAX_EXAMPLES:
            raise BadInput(
                expected=f"at most {MAX_EXAMPLES} examples in {table.path}",
                found="more",
                remedy="use a sample of them",
            )
        found.append((line, row[column], None if label is None else table.label(row[label], line)))
    if not found:
        raise BadInput(
            expected=f"texts below the first line of {table.path}",
            found="none",
            remedy="name the columns in the first line, such as text,label",
        )
    return found


def _text_column(table: Table) -> str:
    others = [name for name in table.columns if name not in LABEL_COLUMNS]
    column = next((name for name in (*_TEXT_COLUMNS, *others) if name in table.columns), None)
    if column is None:
        raise BadInput(
            expected=f"a column of texts in {table.path}",
            found=", ".join(table.columns)[:120] or "no columns",
            remedy="name it text in the first line",
        )
    return column
