"""Every endpoint in one table: the routes of the server, and what its description is made of."""

from __future__ import annotations

from dataclasses import dataclass

_MODEL = "/v2/models/{model}"
_BAD_BODY = (400, 408, 411, 413, 415)


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


def _of_model(what: str = "") -> tuple[str, str]:
    """The path of the version that a model answers with by default, and of each."""
    return f"{_MODEL}{what}", f"{_MODEL}/versions/{{version}}{what}"


ENDPOINTS = (  # asked for most first: they are found in this order
    Endpoint(
        paths=_of_model("/infer"),
        answer="infer",
        summary="Run the server part of one route",
        reply="InferReply",
        method="POST",
        request="InferRequest",
        refusals=(*_BAD_BODY, 404, 409, 429, 503, 504),
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
        paths=_of_model(),
        answer="model",
        summary="What the model takes and gives",
        reply="Model",
        refusals=(404,),
    ),
    Endpoint(
        paths=_of_model("/ready"),
        answer="model_ready",
        summary="Is the model ready?",
        reply="ModelReady",
        refusals=(404, 503),
    ),
    Endpoint(
        paths=_of_model("/config"),
        answer="config",
        summary="The model's configuration and routes",
        reply="Config",
        refusals=(404,),
    ),
    Endpoint(
        paths=_of_model("/stats"),
        answer="statistics",
        summary="What the model, or one version of it, has done in this process",
        reply="Statistics",
        refusals=(404,),
    ),
    Endpoint(
        paths=_of_model("/bundle"),
        answer="bundle",
        summary="The manifest of the bundle, to the byte: its SHA-256 is the bundle's digest",
        reply="Any",
        refusals=(404,),
        conditions=("If-None-Match",),
    ),
    Endpoint(
        paths=_of_model("/bundle/files/{file}"),
        answer="bundle_file",
        summary="A file that the manifest lists for the device",
        reply="File",
        refusals=(404, 410, 416, 429),
        conditions=("If-None-Match", "Range", "If-Range"),
    ),
    Endpoint(
        paths=_of_model("/submit"),
        answer="submit",
        summary="Store what a device hands in, once under its key",
        reply="SubmitReply",
        method="POST",
        request="SubmitRequest",
        refusals=(*_BAD_BODY, 404, 409, 501, 503),
    ),
    Endpoint(
        paths=("/v2/repository/index",),
        answer="index",
        summary="Every model that this server has",
        reply="Index",
        method="POST",
        request="IndexRequest",
        refusals=_BAD_BODY,
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
