from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.errors import BadInput
from edgewise.preparation import (
    ImagePreparation,
    TextPreparation,
    check_text,
    fixed_length,
    open_tokenizer,
    prepare_text,
    read_image_preparation,
    read_preparation,
    read_tokens,
    write_preparation,
)
from edgewise.tensors import TensorSpec

ROOT = Path(__file__).resolve().parents[3]
VECTORS = ROOT / "vectors" / "preparation" / "text"
SMALL = (VECTORS / "tokenizer-wordpiece.json").read_text(encoding="utf-8")
BYTES = (VECTORS / "tokenizer-bytes.json").read_text(encoding="utf-8")
UNIGRAM: dict[str, Any] = {
    "version": "1.0",
    "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
    "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["\u2581a", -1.5]]},
}

Change = Callable[[dict[str, Any]], object]


def changed(change: Change, base: str = SMALL) -> str:
    form = json.loads(base)
    change(form)
    return json.dumps(form)


def test_a_preparation_of_text_goes_to_json_and_back() -> None:
    preparation = TextPreparation(attention_mask=None, token_type_ids="types", max_tokens=9)
    text = write_preparation(preparation)
    assert json.loads(text)["kind"] == "text"
    assert read_preparation(text) == preparation
    assert preparation.inputs == ("input_ids", "types")


def test_a_fixed_length_is_that_of_the_input_of_tokens() -> None:
    def ids(*shape: int | str, name: str = "input_ids") -> list[TensorSpec]:
        return [TensorSpec(name=name, dtype="int64", shape=shape)]

    assert fixed_length(TextPreparation(), ids("batch", 64)) == 64
    assert fixed_length(TextPreparation(), ids("batch", "sequence")) is None
    assert fixed_length(TextPreparation(), ids(64)) is None
    assert fixed_length(TextPreparation(), ids(1, 64, name="other")) is None


def test_padding_is_hidden_and_what_is_cut_is_counted() -> None:
    preparation, tokenizer = TextPreparation(max_tokens=6), open_tokenizer(SMALL)
    short = prepare_text("red", preparation, tokenizer, length=8)
    assert short["input_ids"][0].tolist() == [2, 84, 3, 0, 0, 0, 0, 0]
    assert short["attention_mask"][0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    for length, kept in ((8, 6), (4, 4)):  # the network's size, and the most that it knows
        tokens = read_tokens("red " * 9, preparation, tokenizer, length=length)
        assert (len(tokens.ids), tokens.lost) == (kept, 11 - kept)
        assert tokens.ids[-1] == 3
    assert read_tokens("red", preparation, tokenizer).lost == 0


def test_without_a_mask_nothing_can_be_padded() -> None:
    preparation, tokenizer = TextPreparation(attention_mask=None), open_tokenizer(SMALL)
    with pytest.raises(BadInput) as caught:
        prepare_text("red", preparation, tokenizer, length=4)
    assert str(caught.value) == (
        "expected a text of at least 4 tokens, for there is no attention mask, found one of 3; "
        "plan for a smaller size of the token axis, or export the model with a mask"
    )
    assert prepare_text("red red", preparation, tokenizer, length=4)["input_ids"].shape == (1, 4)


def test_where_only_pictures_will_do_text_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        read_image_preparation(write_preparation(TextPreparation()))
    assert str(caught.value) == (
        "expected a network that reads pictures, found one that reads text; "
        "pass its inputs as arrays: input_ids, attention_mask"
    )
    grey = ImagePreparation(input="x", height=1, width=1, mode="L", mean=(0,), scale=(1,))
    assert read_image_preparation(write_preparation(grey)) == grey


@pytest.mark.parametrize(
    ("text", "expected", "found"),
    [
        ("a\ud800b", "whole Unicode characters", "a lone surrogate at character 1"),
        ("x" * 1_000_001, "at most 1000000 bytes", "more than 1000001"),
        ("\u00e9" * 500_001, "at most 1000000 bytes", "1000002"),
        (b"bytes", "a text", "a value of type bytes"),
    ],
    ids=("surrogate", "long", "long in UTF-8", "bytes"),
)
def test_what_is_no_text_is_refused(text: Any, expected: str, found: str) -> None:
    with pytest.raises(BadInput) as caught:
        prepare_text(text, TextPreparation(), open_tokenizer(SMALL))
    assert expected in caught.value.expected
    assert caught.value.found == found


def test_the_longest_text_is_taken() -> None:
    assert check_text("x" * 1_000_000)


def test_too_few_tokens_for_the_special_ones() -> None:
    with pytest.raises(BadInput, match="max_tokens of at least 2 in the preparation, found 1;"):
        prepare_text("red", TextPreparation(max_tokens=1), open_tokenizer(SMALL))
    two = prepare_text("red", TextPreparation(max_tokens=2), open_tokenizer(SMALL))
    assert two["input_ids"].tolist() == [[2, 3]]


def test_its_own_truncation_and_padding_are_ignored() -> None:
    def pad(form: dict[str, Any]) -> None:
        form["truncation"] = {
            "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0,
        }  # fmt: skip
        form["padding"] = {"strategy": {"Fixed": 64}, "direction": "Right"}

    plain = prepare_text("red running shoes", TextPreparation(), open_tokenizer(SMALL))
    found = prepare_text("red running shoes", TextPreparation(), open_tokenizer(changed(pad)))
    assert found["input_ids"].tolist() == plain["input_ids"].tolist()


def test_a_unigram_tokenizer_opens() -> None:
    tokenizer = open_tokenizer(json.dumps(UNIGRAM))
    assert tokenizer.encode("a", max_tokens=4).ids == (1,)
    assert tokenizer.vocabulary == 2


def set_model(**fields: Any) -> Change:
    return lambda form: form["model"].update(fields)


def set_top(**fields: Any) -> Change:
    return lambda form: form.update(fields)


def replace(pattern: Any, content: Any) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


HOSTILE: dict[str, tuple[Change, str]] = {
    "model type": (set_model(type="WordLevel"), "a model of type WordPiece, BPE, Unigram"),
    "no model": (set_top(model=None), "a table 'model'"),
    "a file": (set_model(vocab_file="/etc/passwd"), "only continuing_subword_prefix, max_"),
    "unknown at the top": (set_top(plugin="x"), "only added_tokens, decoder"),
    "vocabulary": (set_model(vocab=["a"]), "a vocabulary of 1 to 1000000 tokens"),
    "empty vocabulary": (set_model(vocab={}), "a vocabulary of 1 to 1000000 tokens"),
    "negative number": (set_model(vocab={"a": -1}), "token numbers from 0 to 999999"),
    "truth as number": (set_model(vocab={"a": True}), "token numbers from 0 to 999999"),
    "huge number": (set_model(vocab={"a": 10**9}), "token numbers from 0 to 999999"),
    "a number twice": (set_model(vocab={"a": 0, "b": 0}), "a number of its own for each token"),
    "long token": (set_model(vocab={"a" * 257: 0}), "tokens of at most 256 characters"),
    "long words": (set_model(max_input_chars_per_word=10**6), "max_input_chars_per_word from 1"),
    "prefix": (set_model(continuing_subword_prefix=7), "continuing_subword_prefix of at most"),
    "normalizer": (set_top(normalizer={"type": "Shell"}), "as normalizer one of Bert"),
    "normalizer text": (set_top(normalizer="NFC"), "a table or null as normalizer"),
    "pre-tokenizer": (set_top(pre_tokenizer={"type": "Jieba"}), "as pre_tokenizer one of"),
    "post-processor": (set_top(post_processor={"type": "Own"}), "as post_processor one of"),
    "number of a special token": (
        set_top(post_processor={"type": "BertProcessing", "sep": ["s", 2**31], "cls": ["c", 1]}),
        "token numbers from 0 to 999999",
    ),
    "expression": (
        set_top(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}}),
        "a pattern that is a String or a published Regex",
    ),
    "replaced expression": (
        set_top(normalizer=replace({"Regex": "(.*)*"}, "x")),
        "a pattern that is a String or a published Regex",
    ),
    "nothing replaced": (set_top(normalizer=replace({"String": ""}, "x")), "a pattern that is"),
    "growth": (
        set_top(
            normalizer={
                "type": "Sequence",
                "normalizers": [replace({"String": "a"}, "a" * 9) for _ in range(2)],
            }
        ),
        "normalizers that make a text at most 64 times longer",
    ),
    "long setting": (
        set_top(normalizer={"type": "Prepend", "prepend": "x" * 300}),
        "settings of at most 256 characters",
    ),
    "many parts": (
        set_top(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [{"type": "Whitespace"}] * 17,
            }
        ),
        "at most 16 parts in the pre_tokenizer",
    ),
    "many settings": (
        set_top(
            post_processor={
                "type": "TemplateProcessing",
                "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 65,
            }
        ),
        "settings with at most 64 members",
    ),
    "added tokens": (set_top(added_tokens={}), "a list of at most 10000 added tokens"),
    "added token": (set_top(added_tokens=[{"id": 1, "content": ""}]), "with their content"),
    "added number": (set_top(added_tokens=[{"id": -1, "content": "x"}]), "token numbers from 0"),
    "no vocabulary entry for unknown": (
        set_model(unk_token="missing"), "with the tokenizers library",
    ),
    "incomplete": (
        set_top(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        "with the tokenizers library",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tokenizer_is_refused(name: str) -> None:
    change, expected = HOSTILE[name]
    with pytest.raises(BadInput) as caught:
        prepare_text("a \u2603 text!", TextPreparation(), open_tokenizer(changed(change)))
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (set_model(dropout=0.5), "no dropout"),
        (set_model(merges="a b"), "a list of at most 1000000 merges"),
        (set_model(merges=[["a"]]), "merges of two tokens each"),
        (set_model(merges=[["qq", "zz"]]), "with the tokenizers library"),
    ],
)
def test_hostile_byte_pairs_are_refused(change: Change, expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_tokenizer(changed(change, BYTES))
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"vocab": []}, "a vocabulary of 1 to 1000000 pieces"),
        ({"vocab": [["a"]]}, "pieces of a token and its logarithmic probability"),
        ({"vocab": [["a", "b"]]}, "finite logarithmic probabilities"),
        ({"vocab": [["a", -1.0]], "unk_id": 1}, "unk_id within the vocabulary"),
    ],
)
def test_hostile_unigrams_are_refused(model: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_tokenizer(json.dumps({**UNIGRAM, "model": {"type": "Unigram", **model}}))
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 5000, '"\\ud800"']
)
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        open_tokenizer(text)


def test_mutated_tokenizers_are_opened_or_refused() -> None:
    random = np.random.default_rng(5)
    original, refused = SMALL.encode(), 0
    for _ in range(300):
        data = bytearray(original)
        data[random.integers(0, len(data))] = random.integers(32, 127)
        try:
            tokenizer = open_tokenizer(data.decode("utf-8", "replace"))
            prepare_text("red \u2603 shoes", TextPreparation(), tokenizer)
        except BadInput:
            refused += 1
    assert 0 < refused < 300


def test_a_tokenizer_that_is_too_large_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(BadInput) as caught:
        open_tokenizer("[" + " " * 8_000_000)
    assert str(caught.value) == (
        "expected in the tokenizer at most 8000000 bytes, found 8000001 bytes; "
        "write it anew with the save() of the tokenizers library"
    )


def test_without_the_library_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from edgewise.errors import MissingExtra\n"
        "from edgewise.preparation import open_tokenizer\n"
        "try: open_tokenizer(sys.stdin.read())\n"
        "except MissingExtra as error: sys.stdout.write(str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=SMALL, capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "expected the optional part 'text' to read texts, found it not installed; "
        "run: pip install 'edgewise[text]'"
    )
