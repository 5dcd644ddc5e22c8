"""Unmodified tritonclient, sync and asyncio, against a real server process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient import http as sync_client

from edgewise.bundle import Bundle
from edgewise.serving import RunningServer, server_process
from triton_calls import KINDS, Call, calling, refused, tensor
from unit.serving import tiny_bundle as tiny

pytestmark = [pytest.mark.net, pytest.mark.engine]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny.write_tiny_bundle(tmp_path_factory.mktemp("served") / "bundle")


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[RunningServer]:
    with server_process(bundle.path) as running:
        yield running


@pytest.fixture(params=KINDS)
def call(request: pytest.FixtureRequest, server: RunningServer) -> Iterator[Call]:
    with calling(request.param, server.url) as call:
        yield call


def _image(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=tiny.IMAGE.concrete()).astype(np.float32)


def _logits(image: np.ndarray) -> np.ndarray:
    weights = tiny.weights()
    return weights.logits(weights.feature(image))


# What a server says of itself


def test_health_and_readiness(call: Call) -> None:
    assert call("is_server_live")
    assert call("is_server_ready")
    assert call("is_model_ready", "tiny")
    assert call("is_model_ready", "tiny", "1")
    assert not call("is_model_ready", "tiny", "2")
    assert not call("is_model_ready", "other")


def test_metadata(call: Call) -> None:
    assert call("get_server_metadata")["name"] == "edgewise"
    for version in ("", "1"):
        model = call("get_model_metadata", "tiny", version)
        assert (model["name"], model["versions"]) == ("tiny", ["1"])
        assert model["platform"] == "onnxruntime_onnx"
        assert model["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [1, 3, 16, 16]}]
        assert model["outputs"][0] == {"name": "logits", "datatype": "FP32", "shape": [1, 5]}


def test_config_names_the_routes_with_what_they_take(call: Call) -> None:
    config = call("get_model_config", "tiny", "1")
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [1, 3, 16, 16]}]
    assert config["max_batch_size"] == 0
    route = json.loads(config["parameters"]["route:split-fp16"]["string_value"])
    assert (route["cut"], route["codec"]) == ("feature", "fp16")
    assert route["inputs"][0]["datatype"] == "FP16"


def test_statistics_count_what_was_done(call: Call) -> None:
    def entry(*names: str) -> dict[str, Any]:
        (found,) = call("get_inference_statistics", *names)["model_stats"]
        assert (found["name"], found["version"]) == ("tiny", "1")
        return found

    before = entry()
    call("infer", "tiny", [tensor("image", _image())])
    refused(call, "infer", "tiny", [tensor("images", _image())])
    after = entry("tiny", "1")
    for name in ("inference_count", "execution_count"):
        assert after[name] == before[name] + 1
    assert after["last_inference"] > 1_600_000_000_000
    old, new = before["inference_stats"], after["inference_stats"]
    spans = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
    assert [new[name]["count"] - old[name]["count"] for name in spans] == [1] * 6
    assert new["compute_infer"]["ns"] > old["compute_infer"]["ns"]
    assert new["success"]["ns"] - old["success"]["ns"] > sum(
        new[name]["ns"] - old[name]["ns"] for name in ("compute_input", "compute_infer")
    )
    assert (new["cache_hit"], new["cache_miss"]) == ({"count": 0, "ns": 0},) * 2


def test_the_index_lists_the_model_and_loading_isrefused(call: Call) -> None:
    assert call("get_model_repository_index") == [
        {"name": "tiny", "version": "1", "state": "READY", "reason": ""}
    ]
    for verb in ("load_model", "unload_model"):
        status, text = refused(call, verb, "tiny")
        assert status == "403"
        assert text == (
            "expected requests for the models that this server was started with, found one to"
            " load or unload a model; start a server with: edgewise serve BUNDLE"
        )
    assert call("is_model_ready", "tiny")


# Inference in every form


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_infer_with_and_without_binary_data(
    call: Call, binary_in: bool, binary_out: bool | None
) -> None:
    image = _image()
    outputs = None
    if binary_out is not None:
        outputs = [
            sync_client.InferRequestedOutput(name, binary_data=binary_out)
            for name in ("means", "logits")
        ]
    result = call(
        "infer",
        "tiny",
        [tensor("image", image, binary=binary_in)],
        model_version="1",
        outputs=outputs,
        request_id="seven",
    )
    reply = result.get_response()
    assert (reply["id"], reply["model_name"]) == ("seven", "tiny")
    assert [output["name"] for output in reply["outputs"]] == (
        ["logits", "means"] if outputs is None else ["means", "logits"]
    )
    assert all(("data" in output) == (binary_out is False) for output in reply["outputs"])
    np.testing.assert_allclose(result.as_numpy("logits"), _logits(image), rtol=1e-5, atol=1e-6)


def test_each_output_has_its_own_form(call: Call) -> None:
    wanted = [
        sync_client.InferRequestedOutput("logits", binary_data=False),
        sync_client.InferRequestedOutput("means", binary_data=True),
    ]
    result = call("infer", "tiny", [tensor("image", _image())], outputs=wanted)
    first, second = result.get_response()["outputs"]
    assert ("data" in first, "data" in second) == (True, False)
    both = call("infer", "tiny", [tensor("image", _image())])
    for name in ("logits", "means"):
        np.testing.assert_array_equal(result.as_numpy(name), both.as_numpy(name))


def test_half_precision_and_bytes_cross_as_the_routes_say(call: Call) -> None:
    feature = tiny.weights().feature(_image())
    half = feature.astype(np.float16)
    result = call("infer", "tiny", [tensor("half", half, "FP16")])
    assert result.get_response()["parameters"]["route"] == "split-fp16"
    expected = tiny.weights().logits(half.astype(np.float32))
    np.testing.assert_allclose(result.as_numpy("logits"), expected, rtol=1e-5, atol=1e-6)
    byte = np.clip(np.rint(feature / tiny.SCALE) + tiny.ZERO, -128, 127).astype(np.int8)
    answers = [
        call("infer", "tiny", [tensor("byte", byte, "INT8", binary=binary)]).as_numpy("logits")
        for binary in (True, False)
    ]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression_both_ways(call: Call, algorithm: str, binary: bool) -> None:
    image = _image()
    wanted = [sync_client.InferRequestedOutput("logits", binary_data=binary)]
    result = call(
        "infer",
        "tiny",
        [tensor("image", image, binary=binary)],
        outputs=wanted,
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_allclose(result.as_numpy("logits"), _logits(image), rtol=1e-5, atol=1e-6)


def test_parameters_choose_the_route(call: Call) -> None:
    image = [tensor("image", _image())]
    feature = [tensor("feature", tiny.weights().feature(_image()))]

    def route(inputs: list[sync_client.InferInput], **parameters: object) -> str:
        result = call("infer", "tiny", inputs, parameters=parameters)
        return str(result.get_response()["parameters"]["route"])

    assert route(image, route="cloud-raw", deadline_us=60_000_000) == "cloud-raw"
    assert route(image, cut="image", codec="fp32") == "cloud-raw"
    assert route(feature, cut="feature", codec="fp32", anything="else") == "split-fp32"


def test_timeout_and_priority_are_taken(call: Call) -> None:
    call("infer", "tiny", [tensor("image", _image())], timeout=60_000_000, priority=1)


# Refusals


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ({"model_name": "other"}, "404", "expected the model 'tiny'"),
        ({"model_version": "2"}, "404", "expected version 1 of the model 'tiny'"),
        ({"sequence_id": 7, "sequence_start": True}, "400", "requests that stand alone"),
        ({"timeout": 1}, "504", "expected to answer before the deadline"),
        ({"parameters": {"deadline_us": -5}}, "400", "at least 1 for 'deadline_us', found -5"),
        ({"parameters": {"route": "nowhere"}}, "400", "expected a request for one of the routes"),
        ({"parameters": {"route": "cloud-raw", "codec": "int8"}}, "400", "codec 'int8'"),
        ({"parameters": {"cut": "pooled"}}, "400", "found cut 'pooled'"),
    ],
)
def test_what_nobody_serves_isrefused(
    call: Call, arguments: dict[str, Any], status: str, words: str
) -> None:
    asked = {"model_name": "tiny", "inputs": [tensor("image", _image())]} | arguments
    found, text = refused(call, "infer", **asked)
    assert (found, words in text) == (status, True), text


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    ("name", "array", "datatype", "words"),
    [
        ("picture", _image(), "FP32", "picture"),
        ("image", _image().astype(np.float64), "FP64", "image"),
        ("image", _image()[:, :, :8], "FP32", "image"),
        ("image", _image()[0], "FP32", "image"),
        ("image", np.array([[b"text"]], np.object_), "BYTES", "BYTES"),
    ],
)
def test_wrong_tensors_arerefused(
    call: Call, name: str, array: np.ndarray, datatype: str, words: str, binary: bool
) -> None:
    status, text = refused(call, "infer", "tiny", [tensor(name, array, datatype, binary=binary)])
    assert (status, words in text, text.startswith("expected ")) == ("400", True, True), text


def test_unknown_outputs_and_classes_arerefused(call: Call) -> None:
    for output, words in (
        (sync_client.InferRequestedOutput("y"), "expected outputs among logits, means, found 'y'"),
        (sync_client.InferRequestedOutput("logits", class_count=2), "'classification'"),
    ):
        status, text = refused(
            call, "infer", "tiny", [tensor("image", _image())], outputs=[output]
        )
        assert (status, words in text) == ("400", True), text


# The same part elsewhere


@pytest.mark.parametrize(
    ("part", "name", "datatype"), [("tail-half", "half", "FP16"), ("tail-byte", "byte", "INT8")]
)
def test_a_part_alone_answers_as_the_server_does(
    call: Call, bundle: Bundle, part: str, name: str, datatype: str
) -> None:
    """The file as it lies in the bundle, in plain onnxruntime, as any other server runs it."""
    import onnxruntime

    kind = np.float16 if datatype == "FP16" else np.int8
    payload = (tiny.weights().feature(_image()) * 10).astype(kind)
    path = bundle.path / bundle.manifest.part(part).path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = session.run(["logits", "means"], {name: payload})
    result = call("infer", "tiny", [tensor(name, payload, datatype)])
    for output, array in zip(("logits", "means"), expected, strict=True):
        np.testing.assert_array_equal(result.as_numpy(output), array)
