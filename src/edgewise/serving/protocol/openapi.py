"""The server as OpenAPI describes it, made from the table of endpoints.

Sources: OpenAPI Specification 3.1; RFC 9110, sections 13 (conditional requests) and 14 (ranges).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgewise.serving.protocol.descriptions import package_version
from edgewise.serving.protocol.endpoints import ENDPOINTS, Endpoint
from edgewise.serving.protocol.schemas import SCHEMAS, Schema
from edgewise.wire import DIGEST_FIELD, HEADER_LENGTH_FIELD

_FILE: Schema = {
    "description": "The file",
    "content": {"application/octet-stream": {}},
    "headers": {
        "ETag": {
            "description": "The file's SHA-256",
            "schema": {"type": "string", "pattern": '^"[0-9a-f]{64}"$'},
            "required": True,
        }
    },
}
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


def openapi(*, model: str, version: str = "1") -> Schema:
    """The OpenAPI 3.1 description of a server.

    Args:
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
            for endpoint in ENDPOINTS
            for path in endpoint.paths
        },
        "components": {"schemas": SCHEMAS},
    }


def _operation(endpoint: Endpoint, path: str, values: Mapping[str, str]) -> Schema:
    refusals = endpoint.refusals if endpoint.is_open else (401, *endpoint.refusals)
    named = [name for name in values if f"{{{name}}}" in path]
    operation: Schema = {
        "operationId": "_".join(part.strip("{}").split(".")[0] for part in path.split("/")[1:]),
        "summary": endpoint.summary,
        "parameters": [
            *(_parameter(name, values[name]) for name in named),
            *(_header_parameter(name) for name in endpoint.conditions),
        ],
        "responses": {
            **{str(status): _refused(status) for status in refusals},
            **_conditional_answers(endpoint.conditions),
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
        return dict(_FILE)
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


def _header_parameter(name: str) -> Schema:
    return {"name": name, "in": "header", "schema": {"type": "string"}}


def _conditional_answers(conditions: Sequence[str]) -> Schema:
    """The good answers beside 200 to whoever sends one of these header fields."""
    answers: Schema = {}
    if "If-None-Match" in conditions:
        answers["304"] = {"description": "The client has it"}
    if "Range" in conditions:
        answers["206"] = {**_FILE, "description": "The range"}
    return answers
