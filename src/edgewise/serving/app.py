"""The Open Inference Protocol v2 over one bundle.

Source: Open Inference Protocol v2, REST, with its binary tensor data extension, in the bytes
that ``tritonclient[http]`` sends and expects.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edgewise.bundle import Bundle
from edgewise.engines import Engine
from edgewise.errors import BadInput
from edgewise.serving.access import Access, Admission, Guard, error_reply, refusal
from edgewise.serving.batching import Entry, Group, Limits, read_deadline_s
from edgewise.serving.dispatch import TURNED_AWAY, Dispatcher
from edgewise.serving.joining import Job
from edgewise.serving.parts import ServedBundle, load_bundle
from edgewise.serving.requests import Infer, declared_bytes, header_bytes, read_body, read_infer
from edgewise.tensors import OIP_DATATYPES, Array, Feeds, TensorSpec
from edgewise.wire import HEADER_LENGTH_FIELD, Frame, Message, encode_reply

VERSION = "1"
DIGEST_FIELD = "Edgewise-Bundle"
BATCH_FIELD = "Edgewise-Batch"


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
class Desk:
    """What the endpoints share.

    Args:
        served: the bundle, loaded.
        access: who is let in.
        admission: what is under way.
        dispatcher: the queue in front of the engines; its wait is reported as ``queue``.
    """

    served: ServedBundle
    access: Access
    admission: Admission
    dispatcher: Dispatcher[Frame]

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
        arrived_s = self.dispatcher.clock()
        self._check_model(request)
        headers = request.headers
        body_bytes = declared_bytes(headers, limit_bytes=self.served.max_body_bytes)
        start = header_bytes(headers, body_bytes=body_bytes)
        with self.admission.of(body_bytes):
            body = await read_body(request, body_bytes, access=self.access)
            asked = read_infer(body, self.served, header_bytes=start)
            entry = self._entry(asked, nbytes=body_bytes, arrived_s=arrived_s)
            queued_s = self.dispatcher.clock()
            done = await self.dispatcher.answer(entry, request.receive)
        timing = Timing(
            queue_s=max(0.0, done.started_s - queued_s - done.decode_s),
            decode_s=done.decode_s,
            compute_s=done.compute_s,
        )
        return Response(
            done.answer.body,
            media_type="application/octet-stream",
            headers={
                HEADER_LENGTH_FIELD: str(done.answer.header_bytes),
                "Server-Timing": timing.field,
                DIGEST_FIELD: self.served.digest,
                BATCH_FIELD: str(done.items),
            },
        )

    def _entry(self, asked: Infer, *, nbytes: int, arrived_s: float) -> Entry[Job[Frame]]:
        model, tensors = self.served.manifest.name, asked.message.tensors
        job = Job(
            receive=lambda: asked.served.receive(tensors),
            run=lambda feeds: _run(asked.served.engine, feeds),
            finish=lambda outputs: _encode(asked, outputs, model),
        )
        items = asked.served.items(tensors)
        return Entry(
            group=Group(
                model=model, route=asked.served.route.name, tensors=asked.served.bucket(tensors)
            ),
            work=job,
            arrived_s=arrived_s,
            items=items or 1,
            nbytes=nbytes,
            deadline_s=read_deadline_s(asked.message.parameters, arrived_s=arrived_s),
            alone=items is None,
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
        dispatcher=Dispatcher(_limits(access, threads)),
    )
    app = Starlette(
        routes=_routes(desk),
        middleware=[Middleware(Guard, access=access)],
        exception_handlers={
            HTTPException: _answer_refusal,
            BadInput: _answer_bad_input,
            **TURNED_AWAY,
        },
    )
    app.state.drain = desk.dispatcher.drain
    app.router.redirect_slashes = False
    return app


def _limits(access: Access, threads: int) -> Limits:
    """As many engines at once as there are cores for their threads."""
    return replace(access.batching, engines=max(1, _cores() // threads))


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


def _encode(asked: Infer, outputs: Mapping[str, Array], model: str) -> Frame:
    return encode_reply(
        Message(
            tensors={name: outputs[name] for name in asked.outputs},
            id=asked.message.id,
            parameters={"route": asked.served.route.name},
            model=model,
        )
    )


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
