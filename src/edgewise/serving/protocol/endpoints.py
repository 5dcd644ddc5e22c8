"""Every endpoint in one table: the routes of the server and its OpenAPI description.

Source of the form: OpenAPI Specification 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgewise.serving.protocol.conditions import FILE_ANSWER, conditional_answers, header_parameter
from edgewise.serving.protocol.descriptions import DIGEST_FIELD, package_version
from edgewise.tensors import OIP_DATATYPES
from edgewise.wire import HEADER_LENGTH_FIELD

Schema = dict[str, Any]
_MODEL = "/v2/models/{model}"
_BOTH = (_MODEL, f"{_MODEL}/versions/{{version}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One way to ask the server something.

    Args:
        paths: where; ``{model}`` and ``{version}`` are filled in by the client.
        answer: name of the method that answers.
        summary: what it is for.
        reply: name of the schema of a good reply; ``None`` when there never is one.
        method: of HTTP.
        request: name of the schema of the body, if there is one.
        refusals: the statuses beside 200, and beside the 401 of whatever is not open.
        is_open: answered without a key.
        conditions: header fields that a client may send, to be given less than everything.
    """

    paths: tuple[str, ...]
    answer: str
    summary: str
    reply: str | None
    method: str = "GET"
    request: str | None = None
    refusals: tuple[int, ...] = ()
    is_open: bool = False
    conditions: tuple[str, ...] = ()


ENDPOINTS = (  # asked for most first: they are found in this order
    Endpoint(
        paths=tuple(f"{path}/infer" for path in _BOTH),
        answer="infer",
        summary="Run the server part of one route",
        reply="InferReply",
        method="POST",
        request="InferRequest",
        refusals=(400, 404, 408, 409, 411, 413, 415, 429, 503, 504),
    ),
    Endpoint(paths=("/v2",), answer="server", summary="What this server is", reply="Server"),
    Endpoint(
        paths=("/v2/openapi.json",), answer="openapi", summary="This description", reply="Any"
    ),
    Endpoint(
        paths=("/v2/health/live",),
        answer="live",
        summary="Does it answer?",
        reply="Live",
        is_open=True,
    ),
    Endpoint(
        paths=("/v2/health/ready",),
        answer="ready",
        summary="Is it ready?",
        reply="Ready",
        refusals=(503,),
        is_open=True,
    ),
    Endpoint(
        paths=("/v2/models/stats",),
        answer="all_statistics",
        summary="What every model has done in this process",
        reply="Statistics",
    ),
    Endpoint(
        paths=_BOTH,
        answer="model",
        summary="What the model takes and gives",
        reply="Model",
        refusals=(404,),
    ),
    Endpoint(
        paths=tuple(f"{path}/ready" for path in _BOTH),
        answer="model_ready",
        summary="Is the model ready?",
        reply="ModelReady",
        refusals=(404,),
    ),
    Endpoint(
        paths=tuple(f"{path}/config" for path in _BOTH),
        answer="config",
        summary="The model's configuration and routes",
        reply="Config",
        refusals=(404,),
    ),
    Endpoint(
        paths=tuple(f"{path}/stats" for path in _BOTH),
        answer="statistics",
        summary="What the model, or one version of it, has done in this process",
        reply="Statistics",
        refusals=(404,),
    ),
    Endpoint(
        paths=tuple(f"{path}/bundle" for path in _BOTH),
        answer="bundle",
        summary="The manifest of the bundle, to the byte: its SHA-256 is the bundle's digest",
        reply="Any",
        refusals=(404,),
        conditions=("If-None-Match",),
    ),
    Endpoint(
        paths=tuple(f"{path}/bundle/files/{{file}}" for path in _BOTH),
        answer="bundle_file",
        summary="A file that the manifest lists for the device",
        reply="File",
        refusals=(404, 410, 416, 429),
        conditions=("If-None-Match", "Range", "If-Range"),
    ),
    Endpoint(
        paths=tuple(f"{path}/submit" for path in _BOTH),
        answer="submit",
        summary="Store what a device hands in, once under its key",
        reply="SubmitReply",
        method="POST",
        request="SubmitRequest",
        refusals=(400, 404, 408, 409, 411, 413, 415, 501, 503),
    ),
    Endpoint(
        paths=("/v2/repository/index",),
        answer="index",
        summary="Every model that this server has",
        reply="Index",
        method="POST",
        request="IndexRequest",
        refusals=(400, 408, 411, 413, 415),
    ),
    Endpoint(
        paths=tuple(f"/v2/repository/models/{{model}}/{verb}" for verb in ("load", "unload")),
        answer="no_loading",
        summary="Refused: which models are served is decided where the server is started",
        reply=None,
        method="POST",
        refusals=(403,),
    ),
)


def openapi(
    endpoints: Sequence[Endpoint] = ENDPOINTS, *, model: str, version: str = "1"
) -> Schema:
    """The OpenAPI 3.1 description of a server.

    Args:
        endpoints: what it answers.
        model: the name of one of its models, given as the example.
        version: one of that model's, likewise.

    >>> sorted(openapi(model="tiny")["paths"])[:2]
    ['/v2', '/v2/health/live']
    """
    examples = {"model": model, "version": version, "file": "probe.bin"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgewise: Open Inference Protocol v2",
            "version": package_version(),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            path: {endpoint.method.lower(): _operation(endpoint, path, examples)}
            for endpoint in endpoints
            for path in endpoint.paths
        },
        "components": {"schemas": _SCHEMAS},
    }


def _operation(endpoint: Endpoint, path: str, values: Mapping[str, str]) -> Schema:
    refusals = endpoint.refusals if endpoint.is_open else (401, *endpoint.refusals)
    named = [name for name in values if f"{{{name}}}" in path]
    operation: Schema = {
        "operationId": "_".join(part.strip("{}").split(".")[0] for part in path.split("/")[1:]),
        "summary": endpoint.summary,
        "parameters": [
            *(_parameter(name, values[name]) for name in named),
            *(header_parameter(name) for name in endpoint.conditions),
        ],
        "responses": {
            **{str(status): _refused(status) for status in refusals},
            **conditional_answers(endpoint.conditions),
        },
    }
    if endpoint.reply is not None:
        operation["responses"]["200"] = _answered(endpoint.reply)
    if endpoint.request is not None:
        operation["requestBody"] = _body(endpoint.request)
    return operation


def _parameter(name: str, example: str) -> Schema:
    kind = {"type": "string", "minLength": 1, "maxLength": 128 if name == "file" else 64}
    return {"name": name, "in": "path", "required": True, "schema": kind, "example": example}


def _answered(schema: str) -> Schema:
    if schema == "File":
        return dict(FILE_ANSWER)
    content: Schema = {"application/json": {"schema": _named(schema)}}
    if schema != "InferReply":
        return {"description": "Done", "content": content}
    # A reply with binary outputs: JSON, then raw tensors.
    content["application/octet-stream"] = {}
    length = {"description": "Length of the JSON", "schema": {"type": "string"}}
    return {
        "description": "The outputs",
        "content": content,
        "headers": {
            HEADER_LENGTH_FIELD: length,
            "Server-Timing": {
                "description": "Milliseconds of queue, decode and compute",
                "schema": {"type": "string"},
                "required": True,
            },
            DIGEST_FIELD: {
                "description": "The bundle's SHA-256",
                "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "required": True,
            },
        },
    }


def _refused(status: int) -> Schema:
    return {
        "description": _REASONS[status],
        "content": {"application/json": {"schema": _named("Error")}},
    }


def _body(schema: str) -> Schema:
    if schema == "SubmitRequest":  # a frame: JSON of the length that a header says, then tensors
        return {"required": True, "content": {"application/octet-stream": {}}}
    body: Schema = {
        "required": schema == "InferRequest",
        "content": {"application/json": {"schema": _named(schema)}},
    }
    return body


def _named(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_REASONS: Mapping[int, str] = {
    400: "The request is not one that a route takes",
    401: "No key, or one that this server does not know",
    403: "Not from outside",
    404: "Another model or version",
    408: "The body came too slowly",
    409: "For another bundle, or the key of a submission stands for other content",
    410: "No longer what the manifest lists",
    411: "No Content-Length",
    413: "Too long, before or after it is inflated",
    415: "Compressed in another way than gzip or deflate",
    416: "Behind the end of the file",
    429: "Too many wait, or this key's budget is used up; Retry-After says when to come back",
    501: "This server does not take submissions",
    503: "Too busy, about to end, or not stored; Retry-After says when to come back",
    504: "The request's deadline passed before the network ran",
}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    properties = required | (optional or {})
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_TEXT: Schema = {"type": "string"}
_TRUTH: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_SIZES = _list({"type": "integer", "minimum": -1})
_DATATYPE: Schema = {"enum": list(OIP_DATATYPES.values())}
_PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
    "maxProperties": 64,
}
_TENSOR = _object({"name": _TEXT, "datatype": _DATATYPE, "shape": _SIZES})
_SPAN = _object({"count": _COUNT, "ns": _COUNT})
_SPANS = (
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)
_SHAPE = _list({"type": "integer", "minimum": 1}) | {"maxItems": 16}
_VALUES = {"type": "array", "items": {"type": ["number", "boolean", "array"]}}
_ASKED_PARAMETERS: Schema = {
    **_PARAMETERS,
    "properties": {
        "route": _TEXT,
        "cut": _TEXT,
        "codec": _TEXT,
        "bundle": _TEXT,
        "deadline_us": {"type": "integer", "minimum": 1},
        "timeout": _COUNT,
        "priority": _COUNT,
        "binary_data_output": _TRUTH,
    },
}
_SCHEMAS: Schema = {
    "Any": {"type": "object"},
    "Error": _object({"error": _TEXT}) | {"additionalProperties": False},
    "Server": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
    "Live": _object({"live": {"const": True}}),
    "Ready": _object({"ready": {"const": True}}),
    "Model": _object(
        {
            "name": _TEXT,
            "versions": _list(_TEXT),
            "platform": _TEXT,
            "inputs": _list(_TENSOR),
            "outputs": _list(_TENSOR),
        }
    ),
    "ModelReady": _object({"name": _TEXT, "ready": {"const": True}}),
    "Config": _object(
        {
            "name": _TEXT,
            "platform": _TEXT,
            "max_batch_size": _COUNT,
            "input": _list(_object({"name": _TEXT, "data_type": _TEXT, "dims": _SIZES})),
            "output": _list(_object({"name": _TEXT, "data_type": _TEXT, "dims": _SIZES})),
        }
    ),
    "Statistics": _object(
        {
            "model_stats": _list(
                _object(
                    {
                        "name": _TEXT,
                        "version": _TEXT,
                        "last_inference": _COUNT,
                        "inference_count": _COUNT,
                        "execution_count": _COUNT,
                        "inference_stats": _object(dict.fromkeys(_SPANS, _SPAN)),
                    }
                )
            )
        }
    ),
    "SubmitReply": _object(
        {"key": _TEXT, "digest": _TEXT, "stored_at": _TEXT, "duplicate": _TRUTH}
    ),
    "IndexRequest": _object({}, {"ready": _TRUTH}),
    "Index": _list(_object({"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT})),
    "InferRequest": _object(
        {
            "inputs": _list(
                _object({"name": _TEXT, "datatype": _DATATYPE, "shape": _SHAPE, "data": _VALUES})
            )
            | {"minItems": 1, "maxItems": 64}
        },
        {
            "id": _TEXT | {"maxLength": 256},
            "parameters": _ASKED_PARAMETERS,
            "outputs": _list(_object({"name": _TEXT}, {"parameters": _PARAMETERS})),
        },
    ),
    "InferReply": _object(
        {
            "model_name": _TEXT,
            "outputs": _list(
                _object(
                    {"name": _TEXT, "datatype": _DATATYPE, "shape": _SIZES},
                    {"data": _VALUES, "parameters": _PARAMETERS},
                )
            ),
        },
        {"model_version": _TEXT, "id": _TEXT, "parameters": _PARAMETERS},
    ),
}
