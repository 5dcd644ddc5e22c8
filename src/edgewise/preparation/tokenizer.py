"""The one door to the tokenizers library: what a tokenizer.json claims is checked first."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewise.errors import BadInput, MissingExtra
from edgewise.preparation.tokenizer_form import read_tokenizer_form

if TYPE_CHECKING:
    import tokenizers

TOKENIZER_KEY = "edgewise.tokenizer"
"""The metadata key of an ONNX file that holds the text of a ``tokenizer.json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One text as tokens, special ones included.

    Args:
        ids: the number of each token in the vocabulary.
        attention_mask: a 1 for each.
        type_ids: which sentence each belongs to.
        lost: how many fell off at the end.
    """

    ids: tuple[int, ...]
    attention_mask: tuple[int, ...]
    type_ids: tuple[int, ...]
    lost: int = 0


class Tokenizer:
    """Turns texts into tokens; keeps no state between them.

    Args:
        inner: the tokenizer of the library, which neither truncates nor pads.
    """

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        self._inner = inner
        self._special = int(inner.num_special_tokens_to_add(is_pair=False))

    @property
    def vocabulary(self) -> int:
        """How many tokens it knows, added ones included."""
        return int(self._inner.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str, *, max_tokens: int) -> Tokens:
        """The tokens of one text; what does not fit falls off at the end.

        Args:
            text: checked by :func:`check_text`.
            max_tokens: the most tokens, special ones included.

        Raises:
            BadInput: when the special tokens alone are too many, the library fails, or the
                text has no tokens.
        """
        room = max_tokens - self._special
        if room < 0:
            raise BadInput(
                expected=f"max_tokens of at least {self._special} in the preparation",
                found=str(max_tokens),
                remedy="correct the preparation in the model's metadata",
            )
        encode = functools.partial(self._encode, text, room)
        encoding, lost = _guarded(encode, "a text it can read")
        if not encoding.ids:
            raise BadInput(
                expected="a text with at least one token",
                found="an empty one",
                remedy="leave it out",
            )
        return Tokens(
            ids=tuple(encoding.ids),
            attention_mask=tuple(encoding.attention_mask),
            type_ids=tuple(encoding.type_ids),
            lost=lost,
        )

    def _encode(self, text: str, room: int) -> tuple[Any, int]:
        # Special tokens are added after the cut: truncating with them would lose the last.
        encoding = self._inner.encode(text, add_special_tokens=False)
        lost = max(0, len(encoding.ids) - room)
        encoding.truncate(room)
        return self._inner.post_process(encoding), lost


def open_tokenizer(text: str) -> Tokenizer:
    """A tokenizer from the text of a ``tokenizer.json`` that nobody vouches for.

    Its own truncation and padding are ignored: the preparation says how long a text may be.

    Args:
        text: at most 8 MB.

    Raises:
        MissingExtra: when the tokenizers library is not installed.
        BadInput: when the text claims what is not allowed, or the library refuses it.
    """
    form = read_tokenizer_form(text)
    try:
        import tokenizers
    except ImportError:
        raise MissingExtra(extra="text", purpose="to read texts") from None
    inner = _guarded(
        functools.partial(tokenizers.Tokenizer.from_str, form), "a tokenizer.json that opens"
    )
    return Tokenizer(inner)


def _guarded(work: functools.partial[Any], expected: str) -> Any:
    """Run the library; a panic of Rust derives from BaseException and is a refusal too."""
    try:
        return work()
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        found = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise BadInput(
            expected=f"{expected} with the tokenizers library",
            found=found,
            remedy="write the tokenizer anew with its save()",
        ) from None
