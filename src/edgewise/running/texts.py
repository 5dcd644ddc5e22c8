"""Texts to the inputs of a network that reads them."""

from __future__ import annotations

from collections.abc import Sequence

from edgewise.preparation import (
    TextPreparation,
    Tokens,
    fixed_length,
    open_tokenizer,
    read_tokens,
    text_feeds,
)
from edgewise.tensors import Array, TensorSpec


class TextReader:
    """Reads texts as a bundle's manifest says.

    Args:
        preparation: which inputs they become.
        tokenizer: the text of the ``tokenizer.json``.
        inputs: of the network.

    Raises:
        MissingExtra: when the tokenizers library is not installed.
        BadInput: when the tokenizer cannot be used.
    """

    def __init__(
        self, preparation: TextPreparation, tokenizer: str, inputs: Sequence[TensorSpec]
    ) -> None:
        self._preparation = preparation
        self._tokenizer = open_tokenizer(tokenizer)
        self._length = fixed_length(preparation, inputs)

    def read(self, text: str) -> Tokens:
        """The tokens of a text, as many as the network takes.

        Raises:
            BadInput: when it is too long to be read, no Unicode, or has no tokens.
        """
        return read_tokens(text, self._preparation, self._tokenizer, length=self._length)

    def feeds(self, tokens: Tokens) -> dict[str, Array]:
        """The inputs for these tokens, by name."""
        return text_feeds(tokens, self._preparation, length=self._length)

    def note(self, tokens: Tokens) -> str:
        """What was lost, in words."""
        kept = len(tokens.ids)
        return f"cut to {kept} tokens, {tokens.lost} lost" if tokens.lost else ""
