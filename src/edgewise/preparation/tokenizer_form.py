"""What a tokenizer.json may claim before the library that reads it sees a byte of it.

Source of the names: the JSON that version 0.23 of the tokenizers library writes. A regular
expression of a stranger can take for ever, and a chain of replacements can fill the memory, so
only published expressions are taken and growth is bounded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edgewise.errors import BadInput
from edgewise.records import parse_json

MAX_TOKENIZER_BYTES = 8_000_000
_MAX_TOKENS = 1_000_000
_MAX_ADDED = 10_000
_MAX_PARTS = 16
_MAX_STRING = 256
_MAX_WORD = 200
_MAX_GROWTH = 64
_MAX_LIST = 64

_NORMALIZERS = frozenset(
    {
        "BertNormalizer",
        "ByteLevel",
        "Lowercase",
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Nmt",
        "Precompiled",
        "Prepend",
        "Replace",
        "Sequence",
        "Strip",
        "StripAccents",
    }
)
_PRE_TOKENIZERS = frozenset(
    {
        "BertPreTokenizer",
        "ByteLevel",
        "CharDelimiterSplit",
        "Digits",
        "Metaspace",
        "Punctuation",
        "Sequence",
        "Split",
        "UnicodeScripts",
        "Whitespace",
        "WhitespaceSplit",
    }
)
_PROCESSORS = frozenset(
    {
        "BertProcessing",
        "ByteLevel",
        "RobertaProcessing",
        "Sequence",
        "TemplateProcessing",
    }
)
_MODELS: Mapping[str, frozenset[str]] = {
    "WordPiece": frozenset(
        {
            "type",
            "unk_token",
            "continuing_subword_prefix",
            "max_input_chars_per_word",
            "vocab",
        }
    ),
    "BPE": frozenset(
        {
            "type",
            "dropout",
            "unk_token",
            "continuing_subword_prefix",
            "end_of_word_suffix",
            "fuse_unk",
            "byte_fallback",
            "ignore_merges",
            "vocab",
            "merges",
        }
    ),
    "Unigram": frozenset(
        {
            "type",
            "unk_id",
            "vocab",
            "byte_fallback",
        }
    ),
}
_TOP = frozenset(
    {
        "version",
        "truncation",
        "padding",
        "added_tokens",
        "normalizer",
        "pre_tokenizer",
        "post_processor",
        "decoder",
        "model",
    }
)
_ADDED = frozenset(
    {
        "id",
        "content",
        "single_word",
        "lstrip",
        "rstrip",
        "normalized",
        "special",
    }
)
_EXPRESSIONS = frozenset(
    {
        r" {2,}",
        r"\s+",
        r"\n",
        r"[0-9]",
        r"\d{1,3}",
        # GPT-2, cl100k (also Llama 3) and Qwen 2 as their authors published them.
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| "
        r"?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| "
        r"?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    }
)


def read_tokenizer_form(text: str) -> str:
    """Check a ``tokenizer.json``.

    Args:
        text: its text.

    Returns:
        The same without truncation, padding and decoder, which preparing does not need.

    Raises:
        BadInput: when it is too large, no JSON, or claims what is not on the lists here.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TOKENIZER_BYTES:
        raise _refuse(f"at most {MAX_TOKENIZER_BYTES} bytes", f"{size} bytes")
    data = _table(parse_json(text, where="the tokenizer"), "a table at the top")
    _only(data, _TOP, "at the top")
    _check_model(_table(data.get("model"), "a table 'model'"))
    _check_added(data.get("added_tokens", []))
    normalizers = _parts(data.get("normalizer"), "normalizer", "normalizers", _NORMALIZERS)
    _check_growth(normalizers)
    pre = _parts(data.get("pre_tokenizer"), "pre_tokenizer", "pretokenizers", _PRE_TOKENIZERS)
    for part in pre:
        _check_pattern(part)
    processors = _parts(data.get("post_processor"), "post_processor", "processors", _PROCESSORS)
    for number in _walk(processors):
        if isinstance(number, int) and not isinstance(number, bool):
            _check_id(number)
    kept = {**data, "truncation": None, "padding": None, "decoder": None}
    return json.dumps({"version": "1.0", **kept}, ensure_ascii=False)


def _check_model(model: dict[str, Any]) -> None:
    kind = model.get("type")
    if not isinstance(kind, str) or kind not in _MODELS:
        raise _refuse(f"a model of type {', '.join(_MODELS)}", _shown(kind))
    _only(model, _MODELS[kind], f"in the {kind} model")
    _CHECKS[kind](model)


def _check_word_piece(model: dict[str, Any]) -> None:
    _check_vocabulary(model.get("vocab"))
    # Matching one word takes the square of its length.
    longest = model.get("max_input_chars_per_word", 100)
    if type(longest) is not int or not 1 <= longest <= _MAX_WORD:
        raise _refuse(f"max_input_chars_per_word from 1 to {_MAX_WORD}", _shown(longest))
    _check_strings(model, ("unk_token", "continuing_subword_prefix"))


def _check_bpe(model: dict[str, Any]) -> None:
    _check_vocabulary(model.get("vocab"))
    if model.get("dropout") not in (None, 0):
        raise _refuse("no dropout: the same text gives the same tokens", _shown(model["dropout"]))
    _check_strings(model, ("unk_token", "continuing_subword_prefix", "end_of_word_suffix"))
    merges = model.get("merges")
    if not isinstance(merges, list) or len(merges) > _MAX_TOKENS:
        raise _refuse(f"a list of at most {_MAX_TOKENS} merges", _size(merges))
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_token, pair)):
            raise _refuse("merges of two tokens each", _shown(merge))


def _check_unigram(model: dict[str, Any]) -> None:
    pieces = model.get("vocab")
    if not isinstance(pieces, list) or not 1 <= len(pieces) <= _MAX_TOKENS:
        raise _refuse(f"a vocabulary of 1 to {_MAX_TOKENS} pieces", _size(pieces))
    for piece in pieces:
        if not isinstance(piece, list) or len(piece) != 2 or not _is_token(piece[0]):
            raise _refuse("pieces of a token and its logarithmic probability", _shown(piece))
        if type(piece[1]) not in (int, float) or not math.isfinite(piece[1]):
            raise _refuse("finite logarithmic probabilities", _shown(piece[1]))
    unknown = model.get("unk_id")
    if unknown is not None and (type(unknown) is not int or not 0 <= unknown < len(pieces)):
        raise _refuse("unk_id within the vocabulary", _shown(unknown))


_CHECKS: Mapping[str, Callable[[dict[str, Any]], None]] = {
    "WordPiece": _check_word_piece,
    "BPE": _check_bpe,
    "Unigram": _check_unigram,
}


def _check_vocabulary(vocabulary: object) -> None:
    if not isinstance(vocabulary, dict) or not 1 <= len(vocabulary) <= _MAX_TOKENS:
        raise _refuse(f"a vocabulary of 1 to {_MAX_TOKENS} tokens", _size(vocabulary))
    for token, number in vocabulary.items():
        if not _is_token(token):
            raise _refuse(f"tokens of at most {_MAX_STRING} characters", f"{len(token)}")
        _check_id(number)
    if len(set(vocabulary.values())) != len(vocabulary):
        raise _refuse("a number of its own for each token", "the same one twice")


def _check_added(added: object) -> None:
    if not isinstance(added, list) or len(added) > _MAX_ADDED:
        raise _refuse(f"a list of at most {_MAX_ADDED} added tokens", _size(added))
    for each in added:
        token = _table(each, "added tokens that are tables")
        _only(token, _ADDED, "in an added token")
        _check_id(token.get("id"))
        if not _is_token(token.get("content")) or not token["content"]:
            raise _refuse("added tokens with their content", _shown(token.get("content")))


def _check_id(number: object) -> None:
    if type(number) is not int or not 0 <= number < _MAX_TOKENS:
        raise _refuse(f"token numbers from 0 to {_MAX_TOKENS - 1}", _shown(number))


def _parts(value: object, where: str, members: str, known: frozenset[str]) -> list[dict[str, Any]]:
    """A component and, when it is a Sequence, everything in it."""
    if value is None:
        return []
    found, queue = [], [value]
    while queue:
        part = _table(queue.pop(0), f"a table or null as {where}")
        kind = part.get("type")
        if not isinstance(kind, str) or kind not in known:
            raise _refuse(f"as {where} one of {', '.join(sorted(known))}", _shown(kind))
        found.append(part)
        if kind == "Sequence":
            inner = part.get(members)
            queue += inner if isinstance(inner, list) else [None]
        if len(found) + len(queue) > _MAX_PARTS:
            raise _refuse(f"at most {_MAX_PARTS} parts in the {where}", "more")
        _check_small({k: v for k, v in part.items() if k not in ("precompiled_charsmap", members)})
    return found


def _check_small(part: object) -> None:
    for value in _walk(part):
        if isinstance(value, str) and len(value) > _MAX_STRING:
            raise _refuse(f"settings of at most {_MAX_STRING} characters", f"{len(value)}")
        if isinstance(value, list | dict) and len(value) > _MAX_LIST:
            raise _refuse(f"settings with at most {_MAX_LIST} members", f"{len(value)}")


def _walk(value: object) -> Iterator[object]:
    queue = [value]
    while queue:
        item = queue.pop()
        yield item
        if isinstance(item, dict):
            queue += [*item, *item.values()]
        elif isinstance(item, list):
            queue += item


def _check_growth(normalizers: list[dict[str, Any]]) -> None:
    growth = 1
    for part in normalizers:
        if part["type"] != "Replace":
            continue
        pattern, content = _check_pattern(part), part.get("content")
        if not isinstance(content, str):
            raise _refuse("a Replace with its content", _shown(content))
        growth *= max(1, math.ceil(len(content.encode()) / max(1, len(pattern))))
        if growth > _MAX_GROWTH:
            raise _refuse(
                f"normalizers that make a text at most {_MAX_GROWTH} times longer", "more"
            )


def _check_pattern(part: dict[str, Any]) -> str:
    """The text that a part looks for; empty for a published regular expression."""
    if part["type"] not in ("Replace", "Split"):
        return ""
    pattern = part.get("pattern")
    if isinstance(pattern, dict) and isinstance(pattern.get("String"), str):
        if len(pattern) == 1 and pattern["String"]:
            return str(pattern["String"])
    elif isinstance(pattern, dict) and pattern.get("Regex") in _EXPRESSIONS and len(pattern) == 1:
        return ""
    raise _refuse("a pattern that is a String or a published Regex", _shown(pattern))


def _check_strings(model: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if model.get(name) is not None and not _is_token(model[name]):
            raise _refuse(f"{name} of at most {_MAX_STRING} characters", _shown(model[name]))


def _is_token(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_STRING


def _table(value: object, expected: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refuse(expected, _size(value))
    return value


def _only(table: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise _refuse(f"only {', '.join(sorted(known))} {where}", _shown(unknown[0]))


def _size(value: object) -> str:
    if isinstance(value, list | dict):
        return f"{type(value).__name__} of {len(value)}"
    return "nothing" if value is None else type(value).__name__


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)[:80]


def _refuse(expected: str, found: str) -> BadInput:
    return BadInput(
        expected=f"in the tokenizer {expected}",
        found=found,
        remedy="write it anew with the save() of the tokenizers library",
    )
