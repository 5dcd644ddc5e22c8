"""The Open Inference Protocol v2 over one bundle.

Source: Open Inference Protocol v2, REST, with its binary tensor data extension, in the bytes
that ``tritonclient[http]`` sends and expects.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edgewise.bundle import Bundle
from edgewise.errors import BadInput
from edgewise.serving.access import Access, Admission, error_reply, refusal
from edgewise.serving.account import account_of
from edgewise.serving.answering import BATCH_FIELD, entry_of, timing_of
from edgewise.serving.batching import Limits
from edgewise.serving.counting import Counts
from edgewise.serving.descriptions import (
    DIGEST_FIELD,
    VERSION,
    model_config,
    model_metadata,
    repository_index,
    server_metadata,
)
from edgewise.serving.dispatch import TURNED_AWAY, Dispatcher
from edgewise.serving.endpoints import ENDPOINTS, openapi
from edgewise.serving.intake import read_announced, read_small_body, read_tensors
from edgewise.serving.layers import build_layers
from edgewise.serving.parts import ServedBundle, load_bundle
from edgewise.serving.replies import Reply, reply_response
from edgewise.serving.requests import read_body
from edgewise.serving.submission_store import SubmissionStore
from edgewise.serving.submissions import take_submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the endpoints share.

    Args:
        served: the bundle, loaded.
        access: who is let in.
        admission: what is under way.
        dispatcher: the queue in front of the engines; its wait is reported as ``queue``.
        counts: what has been done.
        submissions: where they go; ``None`` refuses them.
        writers: submissions written at once.
    """

    served: ServedBundle
    access: Access
    admission: Admission
    dispatcher: Dispatcher[Reply]
    counts: Counts = field(default_factory=Counts)
    submissions: SubmissionStore | None = None
    writers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(4))

    async def live(self, _: Request) -> Response:
        """The process answers."""
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        """Every network is loaded and has run, or there would be no answer at all."""
        return JSONResponse({"ready": True})

    async def server(self, _: Request) -> Response:
        """What this server is."""
        return JSONResponse(server_metadata())

    async def openapi(self, _: Request) -> Response:
        """This server, as OpenAPI describes it."""
        return JSONResponse(openapi(model=self.served.manifest.name))

    async def model(self, request: Request) -> Response:
        """What the whole network takes and gives."""
        self._check_model(request)
        return self._json(model_metadata(self.served.manifest))

    async def config(self, request: Request) -> Response:
        """How the model is served, and what each of its routes takes."""
        self._check_model(request)
        return self._json(model_config(self.served))

    async def statistics(self, request: Request) -> Response:
        """What the model has done in this process."""
        self._check_model(request)
        return await self.all_statistics(request)

    async def all_statistics(self, _: Request) -> Response:
        """What every model has done in this process."""
        name = self.served.manifest.name
        return self._json({"model_stats": [self.counts.statistics(name, VERSION)]})

    async def index(self, request: Request) -> Response:
        """Every model that this server has."""
        await read_small_body(request, access=self.access)  # all are ready, whichever it asks for
        return JSONResponse(repository_index(self.served.manifest))

    async def no_loading(self, _: Request) -> Response:
        """Nobody outside decides what is served."""
        raise refusal(
            403,
            expected="requests for the models that this server was started with",
            found="one to load or unload a model",
            remedy="start a server with: edgewise serve BUNDLE",
        )

    async def model_ready(self, request: Request) -> Response:
        """The model is this one, and it is ready."""
        self._check_model(request)
        return self._json({"name": self.served.manifest.name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Run the server part of one route."""
        clock = self.dispatcher.clock
        began_s = clock()
        self._check_model(request)
        with self.counts.request():
            announced = read_announced(request.headers, self.served)
            with self.admission.of(announced.held_bytes):
                body = await read_body(request, announced.body_bytes, access=self.access)
                arrived_s = clock()
                asked = await read_tensors(body, announced, self.served)
                account = account_of(request.scope)
                account.open(asked)
                entry = entry_of(
                    asked, self.served, nbytes=len(body), began_s=began_s, arrived_s=arrived_s
                )
                done = await self.dispatcher.answer(entry, request.receive)
        timing = timing_of(done, arrived_s=arrived_s)
        self.counts.ran(
            items=account.items,
            executions=int(done.leads),
            queue_s=timing.queue_s,
            compute_input_s=timing.decode_s,
            compute_infer_s=timing.compute_s,
            compute_output_s=timing.encode_s,
        )
        account.ran_items = done.items if done.leads else 0
        fields = {
            "Server-Timing": timing.field,
            DIGEST_FIELD: self.served.digest,
            BATCH_FIELD: str(done.items),
        }
        return await reply_response(done.answer, request=request.headers, headers=fields)

    async def submit(self, request: Request) -> Response:
        """Store one submission, then acknowledge it."""
        self._check_model(request)
        return await take_submission(
            request,
            self.submissions,
            access=self.access,
            admission=self.admission,
            writers=self.writers,
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


def create_app(
    bundle: Bundle,
    *,
    threads: int = 1,
    access: Access | None = None,
    submissions: SubmissionStore | None = None,
) -> Starlette:
    """The ASGI application of one bundle; it is ready as soon as it exists.

    Args:
        bundle: its server parts are loaded and run once, here.
        threads: threads of one engine run.
        access: who is let in; this machine alone unless said.
        submissions: where they are stored; without it they are refused.

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
        submissions=submissions,
    )
    layers = build_layers(desk.served, access=access)
    app = Starlette(
        routes=_routes(desk),
        middleware=layers.middleware,
        exception_handlers={
            HTTPException: _answer_refusal,
            BadInput: _answer_bad_input,
            **TURNED_AWAY,
        },
    )
    app.router.redirect_slashes = False
    app.state.layers = layers
    app.state.drain = desk.dispatcher.drain
    return app


def _routes(desk: Desk) -> list[Route]:
    return [
        Route(path, getattr(desk, endpoint.answer), methods=[endpoint.method])
        for endpoint in ENDPOINTS
        for path in endpoint.paths
    ]


def _limits(access: Access, threads: int) -> Limits:
    """As many engines at once as there are cores for their threads."""
    return replace(access.batching, engines=max(1, _cores() // threads))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# Starlette refuses paths and methods by the status alone.
_NO_ROUTE = (
    "expected a path and a method that this server answers, found another;"
    " GET /v2/openapi.json lists them"
)


async def _answer_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # Starlette dispatches on the type
    headers = dict(error.headers) if error.headers else None
    is_routing = error.detail == HTTPStatus(error.status_code).phrase
    text = _NO_ROUTE if is_routing else error.detail
    return error_reply(error.status_code, text, headers)


async def _answer_bad_input(_: Request, error: Exception) -> Response:
    return error_reply(400, str(error))
