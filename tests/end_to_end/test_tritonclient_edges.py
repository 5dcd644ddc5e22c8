"""What else tritonclient can ask: taken where it means something here, else refused in words."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper
from tritonclient import http as sync_client

from certificates import write_certificate
from command_line import serving
from edgewise.bounds import Bound
from edgewise.bundle import Bundle, Side, describe_part, write_bundle
from edgewise.serving import RunningServer, server_process
from edgewise.wire import HEADER_LENGTH_FIELD
from triton_calls import KINDS, Call, calling, refused, tensor
from unit.serving import tiny_bundle as tiny

pytestmark = [pytest.mark.net, pytest.mark.engine]
IMAGE = np.random.default_rng(1).normal(size=tiny.IMAGE.concrete()).astype(np.float32)


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


def _check(result: sync_client.InferResult) -> None:
    weights = tiny.weights()
    expected = weights.logits(weights.feature(IMAGE))
    np.testing.assert_allclose(result.as_numpy("logits"), expected, rtol=1e-5, atol=1e-6)


# What is taken


def test_many_at_once_over_several_connections(server: RunningServer) -> None:
    address = server.url.removeprefix("http://")
    with sync_client.InferenceServerClient(address, concurrency=4) as client:
        asked = [client.async_infer("tiny", [tensor("image", IMAGE)]) for _ in range(12)]
        for one in asked:
            _check(one.get_result())


def test_a_query_and_headers_of_the_clients_own_change_nothing(call: Call) -> None:
    _check(
        call(
            "infer",
            "tiny",
            [tensor("image", IMAGE)],
            query_params={"route": "nowhere", "many": [1, 2]},
            headers={"X-Trace": "1"},
        )
    )


def test_bodies_made_and_read_by_the_client_and_carried_by_another(server: RunningServer) -> None:
    client = sync_client.InferenceServerClient
    body, length = client.generate_request_body([tensor("image", IMAGE)])
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    connection.request("POST", "/v2/models/tiny/infer", body, {HEADER_LENGTH_FIELD: str(length)})
    reply = connection.getresponse()
    found = int(reply.headers[HEADER_LENGTH_FIELD])
    _check(client.parse_response_body(reply.read(), header_length=found))
    connection.close()


@pytest.mark.parametrize("priority", [0, 1, 2**32])
def test_any_priority_and_no_timeout(call: Call, priority: int) -> None:
    _check(call("infer", "tiny", [tensor("image", IMAGE)], priority=priority, timeout=0))


@pytest.mark.parametrize("id", ["seven", "é ☃", "a\nb", "x" * 256])
def test_an_id_comes_back_as_it_was(call: Call, id: str) -> None:
    result = call("infer", "tiny", [tensor("image", IMAGE)], request_id=id)
    assert result.get_response()["id"] == id


def test_over_tls(bundle: Bundle, tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    words = ("--tls-cert", str(files.cert), "--tls-key", str(files.key))
    with (
        serving(bundle.path, *words) as (url, _),
        sync_client.InferenceServerClient(
            url.removeprefix("https://"), ssl=True, ssl_options={"ca_certs": str(files.ca)}
        ) as client,
    ):
        assert client.is_server_ready()
        _check(client.infer("tiny", [tensor("image", IMAGE)]))


# What is refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("other",), "expected the model 'tiny', which this server serves, found another name"),
        (("tiny", "2"), "expected version 1 of the model 'tiny', found another version"),
    ],
)
@pytest.mark.parametrize(
    "method", ["get_model_metadata", "get_model_config", "get_inference_statistics"]
)
def test_another_model_or_version_is_told(
    call: Call, method: str, arguments: tuple[str, ...], words: str
) -> None:
    status, text = refused(call, method, *arguments)
    assert (status, text.startswith(words)) == ("404", True), text


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_trace_settings", ()),
        ("update_trace_settings", ("tiny", {"trace_level": "OFF"})),
        ("get_log_settings", ()),
        ("update_log_settings", ({},)),
        ("get_system_shared_memory_status", ()),
        ("register_system_shared_memory", ("region", "key", 8)),
        ("unregister_system_shared_memory", ()),
        ("get_cuda_shared_memory_status", ()),
        ("unregister_cuda_shared_memory", ()),
    ],
)
def test_what_this_server_does_not_offer_is_not_found(
    call: Call, method: str, arguments: tuple[object, ...]
) -> None:
    status, text = refused(call, method, *arguments)
    assert status == "404"
    assert text.startswith("expected a path and a method that this server answers, found another")


def test_a_model_sent_along_is_not_loaded(call: Call) -> None:
    files = {"file:1/model.onnx": bytes(300_000)}
    status, text = refused(call, "load_model", "tiny", config="{}", files=files)
    assert (status, "expected requests for the models that this" in text) == ("403", True)
    _check(call("infer", "tiny", [tensor("image", IMAGE)]))


def test_shared_memory_is_refused(call: Call) -> None:
    shared = sync_client.InferInput("image", list(IMAGE.shape), "FP32")
    shared.set_shared_memory("region", IMAGE.nbytes)
    assert refused(call, "infer", "tiny", [shared])[0] == "400"
    wanted = sync_client.InferRequestedOutput("logits")
    wanted.set_shared_memory("region", 20)
    status, text = refused(call, "infer", "tiny", [tensor("image", IMAGE)], outputs=[wanted])
    assert (status, "found 'shared_memory_byte_size'" in text) == ("400", True)


def test_half_precision_of_the_other_kind_is_refused(call: Call) -> None:
    brain = IMAGE.astype(ml_dtypes.bfloat16)
    status, text = refused(call, "infer", "tiny", [tensor("image", brain, "BF16")])
    assert status == "400"
    assert "a known datatype" in text
    assert "'BF16'" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"inputs": [tensor("image", IMAGE)] * 2}, "expected tensors with different names"),
        ({"inputs": []}, "expected a list of 1 to 64 inputs, found 0"),
        ({"sequence_id": "a", "sequence_end": True}, "requests that stand alone"),
        ({"timeout": -5}, "expected a whole number of at least 0 for 'timeout', found -5"),
        ({"request_id": "x" * 257}, "expected id as text of at most 256 characters"),
        ({"parameters": {"cut": "nowhere"}}, "found cut 'nowhere'"),
        ({"parameters": {"route": 7}}, "expected a request for one of the routes"),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    call: Call, arguments: dict[str, Any], words: str
) -> None:
    asked = {"inputs": [tensor("image", IMAGE)]} | arguments
    status, text = refused(call, "infer", "tiny", **asked)
    assert (status, words in text) == ("400", True), text


# Outputs that JSON has no words for


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of a network whose outputs are half precision, and infinite for large inputs."""
    folder = tmp_path_factory.mktemp("halves")
    whole = tiny.write_tiny_bundle(folder / "whole").manifest
    take = replace(tiny.FEATURE, name="x")
    gives = (replace(take, name="half", dtype="float16"), replace(take, name="double"))
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Add", ["x", "x"], ["double"]),
    ]
    raw = tiny.network(nodes, [take], gives, {})
    route = replace(whole.route("cloud-raw"), cut=("x",), boundary=(Bound.exactly(take),))
    manifest = replace(
        whole,
        inputs=(take,),
        outputs=gives,
        parts=(describe_part("full", raw, side=Side.BOTH, inputs=(take,), outputs=gives),),
        routes=(whole.route("local"), route),
        preparation=None,
    )
    bundle = write_bundle(folder / "bundle", manifest, {"full": raw})
    with server_process(bundle.path) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_comes_back_as_binary_alone(halves: RunningServer, kind: str) -> None:
    feature = tiny.weights().feature(IMAGE)
    with calling(kind, halves.url) as call:
        result = call("infer", "tiny", [tensor("x", feature)])
        np.testing.assert_array_equal(result.as_numpy("half"), feature.astype(np.float16))
        wanted = [sync_client.InferRequestedOutput("half", binary_data=False)]
        status, text = refused(call, "infer", "tiny", [tensor("x", feature)], outputs=wanted)
    assert (status, "expected FP16 as binary data for 'half'" in text) == ("400", True)


def test_what_overflows_comes_back_as_binary_alone(halves: RunningServer) -> None:
    huge = np.full(tiny.FEATURE.concrete(), 3e38, np.float32)
    with calling("sync", halves.url) as call:
        assert np.isinf(call("infer", "tiny", [tensor("x", huge)]).as_numpy("double")).all()
        wanted = [sync_client.InferRequestedOutput("double", binary_data=False)]
        status, text = refused(call, "infer", "tiny", [tensor("x", huge)], outputs=wanted)
    assert status == "400"
    assert text == (
        "expected finite numbers in the output 'double' to write as JSON, found NaN or infinity;"
        " ask for the output as binary data"
    )
