"""The vectors that every implementation of text preparation must meet.

``EDGEWISE_REGEN=1 pytest tests/unit/preparation/test_text_vectors.py`` writes them anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.errors import BadInput
from edgewise.preparation import (
    TextPreparation,
    open_tokenizer,
    prepare_text,
    read_preparation,
    write_preparation,
)

FOLDER = Path(__file__).resolve().parents[3] / "vectors" / "preparation" / "text"
SENTENCES = (
    "",
    " ",
    "Red running shoes, size 10!",
    "un\u00efcode t\u00ebxt and \U0001f642 emoji",
    "tabs\tand\nlines\r\n\u00a0and\u200bspaces",
    "\u4e2d\u6587 and na\u0131ve I\u0307stanbul",
    "e\u0301 composed \u00e9",
    "unknownwordofmanypieces " * 3,
    "[CLS] shoes [SEP]",
    "x" * 101,
    "a b c d e f g h i j k l m n o p q r s t",
    "nul \u0000 and \ufffd gone",
)
PREPARATIONS = {
    "wordpiece": TextPreparation(token_type_ids="token_type_ids", max_tokens=16),
    "bytes": TextPreparation(input_ids="tokens", attention_mask=None, max_tokens=12),
    "padded": TextPreparation(token_type_ids="token_type_ids", max_tokens=16),
}
TOKENIZERS = {"wordpiece": "wordpiece", "bytes": "bytes", "padded": "wordpiece"}
LENGTHS = {"padded": 10}  # of a network that takes that many tokens, always


def _word_piece() -> dict[str, Any]:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789,!.?"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{each}" for each in letters)]
    tokens += ["red", "run", "##ning", "shoe", "##s", "size", "and", "text", "\u4e2d", "un"]
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": token, "special": True, **special}
            for i, token in enumerate(tokens[:4])
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {
                name: {"id": name, "ids": [tokens.index(name)], "tokens": [name]}
                for name in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: number for number, token in enumerate(dict.fromkeys(tokens))},
        },
    }


def _bytes() -> dict[str, Any]:
    """Byte pairs as in GPT-2: every byte is a printable character."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = [chr(byte) for byte in shown] + [chr(256 + i) for i in range(len(hidden))]
    merges = [["s", "h"], ["o", "e"], ["sh", "oe"], ["\u0120", "a"], ["\u0120a", "n"]]
    merges += [["\u0120an", "d"], ["i", "z"], ["r", "e"]]
    tokens = [*letters, *("".join(pair) for pair in merges)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": merges,
        },
    }


def _case(name: str, text: str) -> dict[str, Any]:
    """What one text becomes; ``inputs`` is null where it has no tokens and is refused."""
    file = FOLDER / f"tokenizer-{TOKENIZERS[name]}.json"
    tokenizer = open_tokenizer(file.read_text(encoding="utf-8"))
    try:
        inputs = prepare_text(text, PREPARATIONS[name], tokenizer, length=LENGTHS.get(name))
    except BadInput:
        return {"text": text, "inputs": None}
    return {"text": text, "inputs": {key: value[0].tolist() for key, value in inputs.items()}}


def _regenerate() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, tokenizer in (("wordpiece", _word_piece()), ("bytes", _bytes())):
        file = FOLDER / f"tokenizer-{name}.json"
        file.write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, preparation in PREPARATIONS.items():
        file = FOLDER / f"tokenizer-{TOKENIZERS[name]}.json"
        form = {
            "schema": 1,
            "tokenizer": file.name,
            "tokenizer_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "preparation": json.loads(write_preparation(preparation)),
            "length": LENGTHS.get(name),
            "cases": [_case(name, text) for text in SENTENCES],
        }
        text = json.dumps(form, indent=1) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
    refused = [{"reason": reason, "preparation": form} for reason, form in _refused().items()]
    (FOLDER / "refused.json").write_text(json.dumps(refused) + "\n", encoding="utf-8")


def _refused() -> dict[str, dict[str, Any]]:
    good = json.loads(write_preparation(TextPreparation()))
    changes: dict[str, dict[str, Any]] = {
        "schema": {"schema": 2},
        "kind": {"kind": "speech"},
        "max_tokens": {"max_tokens": 0},
        "too many tokens": {"max_tokens": 65_537},
        "not a number of tokens": {"max_tokens": 1.5},
        "no name": {"input_ids": ""},
        "one name twice": {"attention_mask": "input_ids"},
        "unknown field": {"height": 224},
    }
    return {reason: good | change for reason, change in changes.items()}


if os.environ.get("EDGEWISE_REGEN") == "1":
    _regenerate()


def _read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PREPARATIONS)
def test_texts_become_the_tokens_of_the_vector(name: str) -> None:
    vector = _read(name)
    data = (FOLDER / vector["tokenizer"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == vector["tokenizer_sha256"]
    preparation = read_preparation(json.dumps(vector["preparation"]))
    assert isinstance(preparation, TextPreparation)
    tokenizer = open_tokenizer(data.decode())
    assert [case["text"] for case in vector["cases"]] == list(SENTENCES)
    for case in vector["cases"]:
        if case["inputs"] is None:
            with pytest.raises(BadInput, match="at least one token"):
                prepare_text(case["text"], preparation, tokenizer)
            continue
        inputs = prepare_text(case["text"], preparation, tokenizer, length=vector["length"])
        assert {key: value.tolist() for key, value in inputs.items()} == {
            key: [value] for key, value in case["inputs"].items()
        }
        assert {value.dtype for value in inputs.values()} == {np.dtype(np.int64)}


def test_the_vectors_are_no_accident() -> None:
    words, letters = _read("wordpiece"), _read("bytes")
    shoes = words["cases"][2]["inputs"]["input_ids"]
    tokens = list(_read("tokenizer-wordpiece")["model"]["vocab"])
    assert [tokens[number] for number in shoes] == [
        *("[CLS]", "red", "run", "##ning", "shoe", "##s", ",", "size", "1", "##0", "!", "[SEP]"),
    ]
    assert words["cases"][0]["inputs"]["input_ids"] == [2, 3]
    assert letters["cases"][0]["inputs"] is None
    cut = words["cases"][10]["inputs"]["input_ids"]
    assert (len(cut), cut[0], cut[-1]) == (16, 2, 3)
    assert len(letters["cases"][10]["inputs"]["tokens"]) == 12
    padded = [case["inputs"] for case in _read("padded")["cases"]]
    assert {len(values) for inputs in padded for values in inputs.values()} == {10}
    assert padded[0]["attention_mask"] == [1, 1, *[0] * 8]
    assert padded[0]["input_ids"] == [2, 3, *[0] * 8]
    assert padded[10]["input_ids"][-1] == 3


@pytest.mark.parametrize("case", _read("refused"), ids=lambda case: case["reason"])
def test_what_the_vectors_refuse_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        read_preparation(json.dumps(case["preparation"]))
