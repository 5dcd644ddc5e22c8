"""The server keeps to its own description, whatever is sent; the description is the table."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks

from edgewise.serving import RunningServer, server_process
from edgewise.serving.protocol.endpoints import ENDPOINTS
from edgewise.serving.protocol.openapi import openapi
from unit.serving import tiny_bundle as tiny

pytestmark = [pytest.mark.net, pytest.mark.engine]
load_all_checks()
_CHECKS = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "unsupported_method",
        "allow_header_conformance",
    )
]
_OPERATIONS = [(endpoint.method, path) for endpoint in ENDPOINTS for path in endpoint.paths]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    bundle = tiny.write_tiny_bundle(tmp_path_factory.mktemp("served") / "bundle")
    kept = f"--submissions=sqlite:///{tmp_path_factory.mktemp('kept')}/kept.db"
    with server_process(bundle.path, options=[kept]) as running:
        yield running


def test_the_description_is_served(server: RunningServer) -> None:
    with urllib.request.urlopen(f"{server.url}/v2/openapi.json", timeout=20) as reply:
        found = json.loads(reply.read())
    assert found == openapi(model="tiny")
    assert found["openapi"].startswith("3.1")


def test_every_reference_is_defined_and_every_name_used() -> None:
    description = openapi(model="tiny")
    used = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(description)))
    assert used == set(description["components"]["schemas"])
    operations = [
        operation["operationId"]
        for path in description["paths"].values()
        for operation in path.values()
    ]
    assert len(set(operations)) == len(operations) == len(_OPERATIONS)


@pytest.mark.parametrize(("method", "path"), _OPERATIONS)
def test_good_requests_are_answered_as_described(
    server: RunningServer, method: str, path: str
) -> None:
    _ask(server, method, path, schemathesis.GenerationMode.POSITIVE)


@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for method, path in _OPERATIONS if "{" in path]
)
def test_requests_for_other_models_are_answered_as_described(
    server: RunningServer, method: str, path: str
) -> None:
    _ask(server, method, path, schemathesis.GenerationMode.POSITIVE, known=False)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (endpoint.method, path)
        for endpoint in ENDPOINTS
        if endpoint.request
        for path in endpoint.paths
    ],
)
def test_bad_bodies_are_answered_as_described(
    server: RunningServer, method: str, path: str
) -> None:
    _ask(server, method, path, schemathesis.GenerationMode.NEGATIVE)


def _ask(
    server: RunningServer,
    method: str,
    path: str,
    mode: schemathesis.GenerationMode,
    *,
    known: bool = True,
) -> None:
    """A few requests, the same ones in every run; ``known`` ones for the model that is there."""
    description = schemathesis.openapi.from_dict(openapi(model="tiny"))
    description.config.update(base_url=server.url)

    @settings(
        max_examples=20,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=description[path][method].as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        if known:
            values = {"model": "tiny", "version": "1", "file": "full.onnx"}
            case.path_parameters = {name: values[name] for name in case.path_parameters}
        case.call_and_validate(checks=_CHECKS)

    check()
