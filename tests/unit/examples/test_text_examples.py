"""Texts in CSV and TSV, honest and hostile."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewise.errors import BadInput
from edgewise.examples import Examples, load_examples
from edgewise.preparation import ImagePreparation, TextPreparation
from edgewise.tensors import TensorSpec

SHARED = Path(__file__).resolve().parents[4] / "shared"
WORDS = ["[UNK]", "good", "bad", "day", "a"]
TOKENIZER = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {word: index for index, word in enumerate(WORDS)},
        },
    }
)
PREPARATION = TextPreparation(max_tokens=3)


def table(folder: Path, text: str | bytes, name: str = "texts.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def load(path: Path, preparation: TextPreparation = PREPARATION) -> Examples:
    return load_examples(path, preparation, tokenizer=TOKENIZER)


def test_texts_are_padded_or_cut_to_what_the_network_takes(tmp_path: Path) -> None:
    inputs = [
        TensorSpec(name=name, dtype="int64", shape=("batch", 2)) for name in PREPARATION.inputs
    ]
    path = table(tmp_path, "text\ngood\na good day\n")
    examples = load_examples(path, PREPARATION, inputs=inputs, tokenizer=TOKENIZER)
    np.testing.assert_array_equal(examples.feeds(0)["input_ids"], [[1, 0]])
    np.testing.assert_array_equal(examples.feeds(0)["attention_mask"], [[1, 0]])
    np.testing.assert_array_equal(examples.feeds(1)["input_ids"], [[4, 1]])
    assert examples.recipe != load(path).recipe


def test_texts_become_tokens_and_keep_their_lines(tmp_path: Path) -> None:
    path = table(tmp_path, 'text,label\na good day,1\n\n"bad, day",0\n')
    examples = load(path)
    assert examples.labels == (1, 0)
    assert examples.names == ("texts.csv:2", "texts.csv:4")
    feeds = examples.feeds(1)
    assert list(feeds) == ["input_ids", "attention_mask"]
    np.testing.assert_array_equal(feeds["input_ids"], [[2, 0, 3]])
    assert feeds["attention_mask"].dtype == np.int64
    assert examples.pixels(0) is None


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("text\na\nbad\n", (None, None)),
        ("id,sentence,label\n1,a,good\n2,bad,x y\n", ("good", "x y")),
        ("label,anything,more\n3,a,b\n4,bad,c\n", (3, 4)),
        ("group,sentence\n007,a\n7,bad\n", ("007", "7")),
        ("class_index,text,note\n3,a,\n4,bad,\n", (3, 4)),
        ("text,score\na,0.5\nbad,-2e1\n", (0.5, -20.0)),
        ("group, label ,text\ng,1,a\ng,2,bad\n", (1, 2)),
        ("\ufefftext,label\r\na,1\r\nbad,2\r\n", (1, 2)),
    ],
)
def test_columns_of_texts_and_labels_are_found(
    tmp_path: Path, text: str, labels: tuple[object, ...]
) -> None:
    examples = load(table(tmp_path, text))
    assert examples.labels == labels
    assert [feeds["input_ids"].tolist() for feeds in examples] == [[[4]], [[2]]]


def test_tabs_part_the_cells_of_tsv_and_quotes_are_text(tmp_path: Path) -> None:
    examples = load(table(tmp_path, 'group\tsentence\ng\t"good\nh\ta, day\n', "a.TSV"))
    assert examples.labels == ("g", "h")
    assert examples.feeds(0)["input_ids"].shape == (1, 2)  # the quote is a token
    assert examples.feeds(1)["input_ids"].shape == (1, 3)


def test_cells_of_several_lines_are_read(tmp_path: Path) -> None:
    examples = load(table(tmp_path, 'text,label\n"a\ngood",1\nbad,2\n'))
    assert examples.feeds(0)["input_ids"].tolist() == [[4, 1]]


def test_equal_texts_stay_together_whatever_their_label(tmp_path: Path) -> None:
    lines = "".join(f"{'a good day bad'[: 1 + i % 9]},{i}\n" for i in range(40))
    examples = load(table(tmp_path, f"text,label\n{lines}"))
    assert len(set(examples.keys)) == 9
    split = examples.split()
    parts = (split.calibrate, split.select, split.report)
    assert sum(len(set(part.keys)) for part in parts) == 9


def test_the_digest_follows_texts_labels_preparation_and_tokenizer(tmp_path: Path) -> None:
    path = table(tmp_path, "text,label\na,1\nbad,2\n")
    found = [
        load(path),
        load(path, TextPreparation(max_tokens=4)),
        load_examples(path, PREPARATION, tokenizer=TOKENIZER.replace("[UNK]", "[unk]")),
        load(table(tmp_path, "text,label\na,1\nbad,3\n", "b.csv")),
        load(table(tmp_path, "text,label\na,1\nday,2\n", "c.csv")),
    ]
    assert len({examples.digest for examples in found}) == len(found)
    assert load(table(tmp_path, "label,text\n1,a\n2,bad\n", "d.csv")).digest == found[0].digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a column of texts in .* found no columns"),
        ("label,score\n1,2\n", "a column of texts in .* found label, score"),
        ("text,label\n", "texts below the first line .* found none"),
        ("text;label\na;1\n", "names parted by commas .* found 'text;label'"),
        ("text\tlabel\na\t1\n", r"names parted by commas .* as \.tsv with tabs"),
        ("text,text\na,b\n", "different column names .* found 'text' twice"),
        ("text,label\na,1\n,2\n", "line 3 .* an empty cell in the column 'text'"),
        ("text,label\n   ,2\n", "line 2 .* an empty cell in the column 'text'"),
        ("text,label\na,\n", "line 2 .* an empty cell in the column 'label'"),
        ("text,label\na\n", "line 2 .* an empty cell in the column 'label'"),
        ("text,label\na,1,2\n", "line 2 .* found 3 cells for 2 columns"),
        ("text,score\na,much\n", "line 2 .* the score 'much', which is no number"),
        ("text,score\na,nan\n", "the score 'nan', which is no number"),
        ("text,score\na,1e999\n", "the score '1e999', which is no number"),
        ('text,label\n"a,1\n', "cells parted by commas in line 2 .* unexpected end of data"),
        ('text,label\n"a"b,1\n', "line 2 .* ',' expected after '\"'"),
        ("text,label\na\0,1\n", "UTF-8 text in .* found the byte 0x00 in line 2"),
        (b"text,label\na,1\n\xff,1\n", "UTF-8 text in .* found the byte 0xff in line 3"),
        ("text\na\n".encode("utf-16"), "UTF-8 text in .* found the byte 0xff in line 1"),
        (f"text,label\n{'a ' * 70_000},1\n", r"line 2 .* field larger than field limit"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    tmp_path: Path, text: str | bytes, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        load(table(tmp_path, text))


def test_an_endless_table_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "text\n")
    with path.open("r+b") as file:
        file.truncate(10**10)  # sparse
    with pytest.raises(BadInput, match="at most 64 MB"):
        load(path)


def test_too_many_texts_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "text\n" + "a\n" * 200_001)
    with pytest.raises(BadInput, match="at most 200000 examples"):
        load(path)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a readable table at"):
        load(tmp_path / "nowhere.csv")


def test_what_a_model_cannot_read_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "text\na\n")
    with pytest.raises(BadInput, match=r"a preparation for the texts in .*edgewise\.preparation"):
        load_examples(path)
    with pytest.raises(BadInput, match=r"a tokenizer for the texts in .*edgewise\.tokenizer"):
        load_examples(path, PREPARATION)
    grey = ImagePreparation(input="x", height=4, width=4, mode="L", mean=(0,), scale=(255,))
    with pytest.raises(BadInput, match=r"read the texts in .* found one that reads pictures"):
        load_examples(path, grey)
    with pytest.raises(BadInput, match=r"read the photos in .* reads text; pass a \.csv or"):
        load(tmp_path)
    with pytest.raises(BadInput, match="tokenizer"):
        load_examples(path, PREPARATION, tokenizer="{}")


def spec(name: str, dtype: str = "int64", shape: tuple[int | str, ...] = ("N", "L")) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([spec("input_ids")], "found also attention_mask"),
        (
            [spec("input_ids"), spec("attention_mask"), spec("token_type_ids")],
            "found none for token_type_ids",
        ),
        (
            [spec("input_ids", "int32"), spec("attention_mask")],
            "int32 .* found int64",
        ),
        (
            [spec("input_ids", shape=("N", 128)), spec("attention_mask", shape=("N", 64))],
            r"shape \[N, 64\] .* found \[1, 128\] for each example; .* symbolic axes",
        ),
        ([spec("input_ids", shape=(8, "L")), spec("attention_mask")], "a fixed batch of 8"),
    ],
)
def test_texts_that_the_model_cannot_take_are_refused_before_any_run(
    tmp_path: Path, inputs: list[TensorSpec], words: str
) -> None:
    path = table(tmp_path, "text\na\n")
    with pytest.raises(BadInput, match=words):
        load_examples(path, PREPARATION, tokenizer=TOKENIZER, inputs=inputs)
    fitting = [spec("input_ids"), spec("attention_mask")]
    assert len(load_examples(path, PREPARATION, tokenizer=TOKENIZER, inputs=fitting)) == 1


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=200), st.sampled_from(["a.csv", "a.tsv"]))
def test_any_bytes_give_examples_or_one_clear_refusal(
    tmp_path: Path, raw: bytes, name: str
) -> None:
    with contextlib.suppress(BadInput):  # anything else fails the test
        examples = load(table(tmp_path, b"text,label\n" + raw, name))
        assert len(examples) >= 1
        for index in range(len(examples)):
            with contextlib.suppress(BadInput):
                assert examples.feeds(index)["input_ids"].ndim == 2


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1)),
        min_size=1,
        max_size=8,
    )
)
def test_what_pythons_csv_writes_is_read_back(tmp_path: Path, rows: list[tuple[str]]) -> None:
    import csv
    import hashlib

    kept = [row for row in rows if row[0].strip()]
    path = tmp_path / "written.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text",), *kept])
    if kept:
        keys = tuple(hashlib.sha256(row[0].encode()).hexdigest() for row in kept)
        assert load(path).keys == keys


def test_the_720_benchmark_sentences_are_read() -> None:
    path = SHARED / "data" / "sentences.tsv"
    if not path.exists():
        pytest.skip("needs ../shared, which is absent")
    examples = load(path)
    assert len(examples) == 720
    assert len(set(examples.labels)) == 90


def test_photos_and_arrays_need_no_tokenizers_library(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3), np.float32))
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from edgewise.examples import load_examples\n"
        f"print(len(load_examples({str(tmp_path / 'a.npz')!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"
