"""The recipe that turns a text into a network's inputs, and what it does to one text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewise.errors import BadInput
from edgewise.tensors import Array, TensorSpec

if TYPE_CHECKING:
    from edgewise.preparation.tokenizer import Tokenizer, Tokens

MAX_TOKENS = 65_536
MAX_TEXT_BYTES = 1_000_000
_REMEDY = "correct the preparation in the model's metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPreparation:
    """How a text becomes a network's inputs, each int64 [1, tokens].

    The tokenizer itself travels in the model's metadata as ``edgewise.tokenizer``, and in the
    manifest of a bundle. What is longer than ``max_tokens`` loses its end; special tokens count
    and stay. Where the network takes a fixed number of tokens, shorter texts are padded with
    zeros that the attention mask hides, and longer ones lose their end.

    Args:
        input_ids: the name of the input that takes the ids of the tokens.
        attention_mask: the name of the input that takes a 1 for each token, if there is one.
        token_type_ids: the name of the input that takes the number of the sentence, if any.
        max_tokens: the most tokens that the network takes, 1 to 65536.

    Raises:
        BadInput: when a field is outside these limits.

    >>> TextPreparation().inputs
    ('input_ids', 'attention_mask')
    """

    input_ids: str = "input_ids"
    attention_mask: str | None = "attention_mask"
    token_type_ids: str | None = None
    max_tokens: int = 128

    def __post_init__(self) -> None:
        if "" in self.inputs or len(set(self.inputs)) != len(self.inputs):
            raise BadInput(
                expected="different names of the network's inputs in the preparation",
                found=", ".join(map(repr, self.inputs)),
                remedy=_REMEDY,
            )
        if not 1 <= self.max_tokens <= MAX_TOKENS:
            raise BadInput(
                expected=f"max_tokens from 1 to {MAX_TOKENS} in the preparation",
                found=str(self.max_tokens),
                remedy=_REMEDY,
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs that it fills."""
        names = (self.input_ids, self.attention_mask, self.token_type_ids)
        return tuple(name for name in names if name is not None)


def fixed_length(preparation: TextPreparation, inputs: Sequence[TensorSpec]) -> int | None:
    """How many tokens the network always takes; ``None`` when any number will do.

    Args:
        preparation: which input takes the tokens.
        inputs: of the network.

    >>> ids = TensorSpec(name="input_ids", dtype="int64", shape=("batch", 64))
    >>> fixed_length(TextPreparation(), [ids])
    64
    """
    shapes = [spec.shape for spec in inputs if spec.name == preparation.input_ids]
    size = shapes[0][-1] if shapes and len(shapes[0]) == 2 else None
    return size if isinstance(size, int) else None


def prepare_text(
    text: str, preparation: TextPreparation, tokenizer: Tokenizer, *, length: int | None = None
) -> dict[str, Array]:
    """The inputs for one text: int64, batch 1.

    Args:
        text: at most 1 MB in UTF-8.
        preparation: which inputs there are, and the most tokens.
        tokenizer: from :func:`open_tokenizer`.
        length: how many tokens the network always takes, if it does; see :func:`fixed_length`.

    Raises:
        BadInput: when the text is too long, is no Unicode, has no tokens, or would have to be
            padded for a network without an attention mask.
    """
    tokens = read_tokens(text, preparation, tokenizer, length=length)
    return text_feeds(tokens, preparation, length=length)


def read_tokens(
    text: str, preparation: TextPreparation, tokenizer: Tokenizer, *, length: int | None = None
) -> Tokens:
    """The tokens of one text, as many as the network takes; see :func:`prepare_text`."""
    most = preparation.max_tokens if length is None else min(length, preparation.max_tokens)
    return tokenizer.encode(check_text(text), max_tokens=most)


def text_feeds(
    tokens: Tokens, preparation: TextPreparation, *, length: int | None = None
) -> dict[str, Array]:
    """The inputs for tokens that have been read; see :func:`prepare_text`."""
    missing = 0 if length is None else max(0, length - len(tokens.ids))
    if missing and preparation.attention_mask is None:
        raise BadInput(
            expected=f"a text of at least {length} tokens, for there is no attention mask",
            found=f"one of {len(tokens.ids)}",
            remedy="plan for a smaller size of the token axis, or export the model with a mask",
        )
    filled = {
        preparation.input_ids: tokens.ids,
        preparation.attention_mask: tokens.attention_mask,
        preparation.token_type_ids: tokens.type_ids,
    }
    padding = (0,) * missing
    return {
        name: np.array([values + padding], np.int64)
        for name, values in filled.items()
        if name is not None
    }


def check_text(text: str) -> str:
    """Refuse what is too long, or holds half a surrogate pair.

    Raises:
        BadInput: on either, and on what is no text.

    >>> check_text("a café")
    'a café'
    """
    if not isinstance(text, str):
        raise BadInput(
            expected="a text",
            found=f"a value of type {type(text).__name__}",
            remedy="pass a str",
        )
    try:
        size = len(text) if len(text) > MAX_TEXT_BYTES else len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise BadInput(
            expected="a text of whole Unicode characters",
            found=f"a lone surrogate at character {error.start}",
            remedy="decode the text anew, as what it is encoded in",
        ) from None
    if size > MAX_TEXT_BYTES:
        raise BadInput(
            expected=f"a text of at most {MAX_TEXT_BYTES} bytes in UTF-8",
            found=f"{'more than ' if size == len(text) else ''}{size}",
            remedy="cut it into passages",
        )
    return text
