"""Metadata of ours that is not what its key says."""

import json

import onnx
import pytest
from onnx import helper

from edgewise.errors import BadInput
from edgewise.graphs import load, read_labels
from strategies import chain_file


def _with(**metadata: str) -> bytes:
    file = onnx.load_model_from_string(chain_file("Relu", "Tanh"))
    helper.set_model_props(file, {f"edgewise.{key}": text for key, text in metadata.items()})
    return file.SerializeToString()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("not JSON", "edgewise.labels"),
        ('{"a": 1}', "found dict"),
        ('["a", 1]', "found another member, of type int"),
        (json.dumps(["x" * 1001]), "1 names, the longest of 1001 characters"),
        (json.dumps(["x"] * 100_001), "100001 names"),
        ("[" * 100 + "]" * 100, "edgewise.labels"),
        ('["' + "x" * 8_000_000 + '"]', "edgewise.labels"),
    ],
    ids=["text", "object", "number", "long", "many", "deep", "giant"],
)
def test_labels_that_are_none(text: str, found: str) -> None:
    with pytest.raises(BadInput, match=found) as refusal:
        load(_with(labels=text))
    assert len(str(refusal.value)) < 1_000


def test_labels_are_read() -> None:
    assert read_labels('["cat", "Hündin"]') == ("cat", "Hündin")
    assert load(_with(labels='["a"]')).metadata == {"edgewise.labels": '["a"]'}


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '{"schema": 9, "kind": "image"}'])
def test_a_preparation_that_is_none(text: str) -> None:
    with pytest.raises(BadInput, match="preparation"):
        load(_with(preparation=text))


def test_a_giant_preparation() -> None:
    with pytest.raises(BadInput, match=r"at most 100000 bytes of edgewise\.preparation"):
        load(_with(preparation="x" * 100_001))


@pytest.mark.parametrize("text", ["", "{}", '{"model": {"type": "Other"}}', "[1]"])
def test_a_tokenizer_that_is_none(text: str) -> None:
    with pytest.raises(BadInput, match="tokenizer"):
        load(_with(tokenizer=text))


def test_more_metadata_than_anybody_needs() -> None:
    with pytest.raises(BadInput, match="at most 32000000 bytes of metadata"):
        load(_with(other="x" * 32_000_000))


def test_a_key_that_stands_twice() -> None:
    file = onnx.load_model_from_string(_with(labels='["a"]'))
    file.metadata_props.add(key="edgewise.labels", value='["b"]')
    with pytest.raises(BadInput, match=r"every metadata key once, found 'edgewise\.labels' twice"):
        load(file.SerializeToString())
