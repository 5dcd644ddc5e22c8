"""The Open Inference Protocol v2 over one bundle.

Source: Open Inference Protocol v2, REST, with its binary tensor data extension, in the bytes
that ``tritonclient[http]`` sends and expects.
"""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edgewise.bundle import Bundle
from edgewise.engines import Engine
from edgewise.errors import BadInput
from edgewise.serving.access import Access, Admission, error_reply, refusal
from edgewise.serving.account import account_of
from edgewise.serving.layers import build_layers
from edgewise.serving.parts import ServedBundle, load_bundle
from edgewise.serving.requests import Infer, declared_bytes, header_bytes, read_body, read_infer
from edgewise.tensors import OIP_DATATYPES, Array, Feeds, TensorSpec
from edgewise.wire import HEADER_LENGTH_FIELD, Frame, Message, encode_reply

VERSION = "1"
DIGEST_FIELD = "Edgewise-Bundle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where a request's time went, in seconds.

    >>> Timing(queue_s=0.0001, decode_s=0.002, compute_s=0.03).field
    'queue;dur=0.100, decode;dur=2.000, compute;dur=30.000'
    """

    queue_s: float
    decode_s: float
    compute_s: float

    @property
    def field(self) -> str:
        """The value of ``Server-Timing``, in milliseconds (W3C Server Timing, section 3)."""
        spans = (("queue", self.queue_s), ("decode", self.decode_s), ("compute", self.compute_s))
        return ", ".join(f"{name};dur={seconds * 1e3:.3f}" for name, seconds in spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply's frame and how long it took."""

    frame: Frame
    timing: Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the endpoints share.

    Args:
        served: the bundle, loaded.
        access: who is let in.
        admission: what is under way.
        engines: runs at once; more wait, and the wait is reported as ``queue``.
    """

    served: ServedBundle
    access: Access
    admission: Admission
    engines: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))

    async def live(self, _: Request) -> Response:
        """The process answers."""
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        """Every network is loaded and has run, or there would be no answer at all."""
        return JSONResponse({"ready": True})

    async def server(self, _: Request) -> Response:
        """What this server is."""
        return JSONResponse(
            {
                "name": "edgewise",
                "version": _package_version(),
                "extensions": ["binary_tensor_data"],
            }
        )

    async def model(self, request: Request) -> Response:
        """What the whole network takes and gives."""
        self._check_model(request)
        manifest = self.served.manifest
        return self._json(
            {
                "name": manifest.name,
                "versions": [VERSION],
                "platform": "onnxruntime_onnx",
                "inputs": [_describe(spec) for spec in manifest.inputs],
                "outputs": [_describe(spec) for spec in manifest.outputs],
            }
        )

    async def model_ready(self, request: Request) -> Response:
        """The model is this one, and it is ready."""
        self._check_model(request)
        return self._json({"name": self.served.manifest.name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Run the server part of one route."""
        self._check_model(request)
        headers = request.headers
        body_bytes = declared_bytes(headers, limit_bytes=self.served.max_body_bytes)
        start = header_bytes(headers, body_bytes=body_bytes)
        with self.admission.of(body_bytes):
            body = await read_body(request, body_bytes, access=self.access)
            asked = read_infer(body, self.served, header_bytes=start)
            account_of(request.scope).open(asked)
            answer = await anyio.to_thread.run_sync(
                _compute,
                asked,
                self.served.manifest.name,
                time.perf_counter(),
                limiter=self.engines,
            )
        return Response(
            answer.frame.body,
            media_type="application/octet-stream",
            headers={
                HEADER_LENGTH_FIELD: str(answer.frame.header_bytes),
                "Server-Timing": answer.timing.field,
                DIGEST_FIELD: self.served.digest,
            },
        )

    def _check_model(self, request: Request) -> None:
        name = self.served.manifest.name
        if request.path_params["model"] != name:
            raise refusal(
                404,
                expected=f"the model {name!r}, which this server serves",
                found="another name",
                remedy=f"ask for /v2/models/{name}",
            )
        if request.path_params.get("version", VERSION) != VERSION:
            raise refusal(
                404,
                expected=f"version {VERSION} of the model {name!r}",
                found="another version",
                remedy=f"ask for version {VERSION}, or for none",
            )

    def _json(self, data: Mapping[str, object]) -> Response:
        return JSONResponse(data, headers={DIGEST_FIELD: self.served.digest})


def create_app(bundle: Bundle, *, threads: int = 1, access: Access | None = None) -> Starlette:
    """The ASGI application of one bundle; it is ready as soon as it exists.

    Args:
        bundle: its server parts are loaded and run once, here.
        threads: threads of one engine run.
        access: who is let in; this machine alone unless said.

    Raises:
        BadInput: when the bundle has nothing to serve, or its parts do not fit its routes.
    """
    if threads < 1:
        raise BadInput(
            expected="at least 1 thread", found=str(threads), remedy="choose with --threads"
        )
    access = access or Access()
    desk = Desk(
        served=load_bundle(bundle, threads=threads),
        access=access,
        admission=Admission(access),
        engines=anyio.CapacityLimiter(max(1, _cores() // threads)),
    )
    layers = build_layers(desk.served, access=access, version=_package_version())
    app = Starlette(
        routes=_routes(desk),
        middleware=layers.middleware,
        exception_handlers={
            HTTPException: _answer_refusal,
            BadInput: _answer_bad_input,
        },
    )
    app.router.redirect_slashes = False
    app.state.layers = layers
    return app


def _routes(desk: Desk) -> list[Route]:
    routes = [
        Route("/v2", desk.server),
        Route("/v2/health/live", desk.live),
        Route("/v2/health/ready", desk.ready),
    ]
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            Route(path, desk.model),
            Route(f"{path}/ready", desk.model_ready),
            Route(f"{path}/infer", desk.infer, methods=["POST"]),
        ]
    return routes


def _compute(asked: Infer, model: str, submitted_s: float) -> Answer:
    """Decode, run and encode, in a worker thread, so that health checks are still answered."""
    start_s = time.perf_counter()
    feeds = asked.served.receive(asked.message.tensors)
    decoded_s = time.perf_counter()
    outputs = _run(asked.served.engine, feeds)
    computed_s = time.perf_counter()
    frame = encode_reply(
        Message(
            tensors={name: outputs[name] for name in asked.outputs},
            id=asked.message.id,
            parameters={"route": asked.served.route.name},
            model=model,
        )
    )
    timing = Timing(
        queue_s=start_s - submitted_s,
        decode_s=decoded_s - start_s,
        compute_s=computed_s - decoded_s,
    )
    return Answer(frame=frame, timing=timing)


def _run(engine: Engine, feeds: Feeds) -> dict[str, Array]:
    try:
        return engine.run(feeds)
    except BadInput as error:
        if error.__context__ is None:
            raise  # our own check, in our own words
        raise BadInput(
            expected=error.expected,
            found="inputs on which the engine fails",  # its words name files and nodes
            remedy=error.remedy,
        ) from error


def _describe(spec: TensorSpec) -> dict[str, object]:
    shape = [size if isinstance(size, int) else -1 for size in spec.shape]
    return {"name": spec.name, "datatype": OIP_DATATYPES[spec.dtype], "shape": shape}


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _package_version() -> str:
    try:
        return importlib.metadata.version("edgewise")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


async def _answer_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # Starlette dispatches on the type
    headers = dict(error.headers) if error.headers else None
    return error_reply(error.status_code, error.detail, headers)


async def _answer_bad_input(_: Request, error: Exception) -> Response:
    return error_reply(400, str(error))
