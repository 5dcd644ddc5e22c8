"""The Open Inference Protocol v2 over bundles.

Source: Open Inference Protocol v2, REST, with its binary tensor data extension, in the bytes
that ``tritonclient[http]`` sends and expects.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from edgewise.bundle import Bundle
from edgewise.errors import BadInput
from edgewise.serving.access.access import Access, Admission
from edgewise.serving.batching.answering import BATCH_FIELD, entry_of, timing_of
from edgewise.serving.batching.batcher import Limits
from edgewise.serving.batching.dispatch import Dispatcher
from edgewise.serving.layers import Layers, build_layers
from edgewise.serving.observing.account import account_of
from edgewise.serving.observing.counting import Counts
from edgewise.serving.protocol.descriptions import (
    model_config,
    model_metadata,
    repository_index,
    server_metadata,
)
from edgewise.serving.protocol.endpoints import ENDPOINTS
from edgewise.serving.protocol.fields import only
from edgewise.serving.protocol.intake import read_announced, read_small_body, read_tensors
from edgewise.serving.protocol.openapi import openapi
from edgewise.serving.protocol.refusals import refusal
from edgewise.serving.protocol.replies import Reply, reply_response
from edgewise.serving.protocol.requests import read_body
from edgewise.serving.repository.offers import Offer
from edgewise.serving.repository.parts import ServedBundle, load_bundle
from edgewise.serving.repository.repository import Repository
from edgewise.serving.submissions.taking import take_submission
from edgewise.serving.switchboard import Switchboard
from edgewise.wire import DIGEST_FIELD

if TYPE_CHECKING:
    from edgewise.serving.submissions.submission_store import SubmissionStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the endpoints share.

    Args:
        repository: the bundles, loaded.
        access: who is let in.
        admission: what is under way.
        dispatcher: the queue in front of the engines; its wait is reported as ``queue``.
        counts: what has been done.
        submissions: where they go; ``None`` refuses them.
        writers: submissions written at once.
        strangers: numbers those who do not say who they are.
    """

    repository: Repository
    access: Access
    admission: Admission
    dispatcher: Dispatcher[Reply]
    counts: Counts = field(default_factory=Counts)
    submissions: SubmissionStore | None = None
    writers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(4))
    strangers: Iterator[int] = field(default_factory=itertools.count)

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
        first = self.repository.snapshot.current[0]
        return JSONResponse(openapi(model=first.name, version=first.version))

    async def model(self, request: Request) -> Response:
        """What the whole network takes and gives."""
        served = self._described(request)
        return _json(model_metadata(served.manifest, self._versions(served)), served)

    async def config(self, request: Request) -> Response:
        """How the model is served, and what each of its routes takes."""
        served = self._described(request)
        return _json(model_config(served, self._versions(served)), served)

    async def statistics(self, request: Request) -> Response:
        """What the model, or one version of it, has done in this process."""
        offer = self._offer(request)
        data = self.counts.statistics((served.name, served.version) for served in offer.bundles)
        return _json(data, offer.default)

    async def all_statistics(self, _: Request) -> Response:
        """What every model has done in this process."""
        served = self.repository.snapshot.bundles
        return JSONResponse(self.counts.statistics((one.name, one.version) for one in served))

    async def index(self, request: Request) -> Response:
        """Every model that this server has."""
        # All are ready, whichever it asks for.
        await read_small_body(request, timeout_s=self.access.body_timeout_s)
        return JSONResponse(repository_index(self.repository.snapshot.bundles))

    async def no_loading(self, request: Request) -> Response:
        """Nobody outside decides what is served."""
        account_of(request.scope).refused = "loading"
        raise refusal(
            403,
            expected="requests for the models that this server was started with",
            found="one to load or unload a model",
            remedy="start a server with: edgewise serve BUNDLE",
        )

    async def model_ready(self, request: Request) -> Response:
        """The model is there, and it is ready."""
        served = self._described(request)
        return _json({"name": served.name, "ready": True}, served)

    async def bundle(self, request: Request) -> Response:
        """The manifest of the bundle, for devices that download it."""
        return self._described(request).shelf.manifest(request.headers)

    async def bundle_file(self, request: Request) -> Response:
        """One of the files that a device needs."""
        return await self._described(request).shelf.file(request)

    async def infer(self, request: Request) -> Response:
        """Run the server part of one route."""
        clock = self.dispatcher.clock
        began_s = clock()
        offer = self._offer(request)
        account = account_of(request.scope)
        with self.counts.request(account):
            announced = read_announced(request.headers, offer)
            with self.admission.of(announced.held_bytes):
                body = await read_body(
                    request, announced.body_bytes, timeout_s=self.access.body_timeout_s
                )
                arrived_s = clock()
                asked = await read_tensors(body, announced, offer)
                account.open(asked)
                entry = entry_of(asked, nbytes=len(body), began_s=began_s, arrived_s=arrived_s)
                done = await self.dispatcher.answer(entry, request.receive)
            timing = timing_of(done, arrived_s=arrived_s)
            self.counts.ran(
                account,
                items=account.items,
                executions=int(done.leads),
                queue_s=timing.queue_s,
                compute_input_s=timing.decode_s,
                compute_infer_s=timing.compute_s,
                compute_output_s=timing.encode_s,
            )
        account.ran_items = done.items if done.leads else 0
        account.stages = timing.stages
        account.own_compute_s = done.own_compute_s
        fields = {
            "Server-Timing": timing.field,
            DIGEST_FIELD: asked.head.bundle.digest,
            BATCH_FIELD: str(done.items),
        }
        return await reply_response(done.answer, request=request.headers, headers=fields)

    async def submit(self, request: Request) -> Response:
        """Store one submission, then acknowledge it."""
        self._offer(request)
        return await take_submission(
            request,
            self.submissions,
            timeout_s=self.access.body_timeout_s,
            admission=self.admission,
            writers=self.writers,
        )

    def _offer(self, request: Request) -> Offer:
        """What may answer, as one snapshot has it."""
        account = account_of(request.scope)
        offer = self.repository.snapshot.offer(
            request.path_params["model"],
            request.path_params.get("version"),
            client=account.budget.name if account.budget else f"#{next(self.strangers)}",
        )
        account.address(offer.default)
        return offer

    def _described(self, request: Request) -> ServedBundle:
        """The bundle that a device names in its header, if it is there, or the one by default."""
        offer = self._offer(request)
        return offer.named(only(request.headers, DIGEST_FIELD)) or offer.default

    def _versions(self, served: ServedBundle) -> tuple[str, ...]:
        return self.repository.snapshot.versions(served.name)


def _json(data: Mapping[str, object], served: ServedBundle) -> Response:
    return JSONResponse(data, headers={DIGEST_FIELD: served.digest})


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An ASGI application, and what the process around it has to know.

    Args:
        answer: from the outermost layer in.
        layers: to be told of signals.
        repository: to be exchanged.
        drain: refuses what arrives from then on.
    """

    answer: ASGIApp
    layers: Layers
    repository: Repository
    drain: Callable[[], None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self.answer(scope, receive, send)


def create_app(
    bundles: Bundle | Sequence[Bundle],
    *,
    threads: int = 1,
    access: Access | None = None,
    submissions: SubmissionStore | None = None,
) -> Application:
    """The ASGI application of one bundle or of several; it is ready as soon as it exists.

    Args:
        bundles: their server parts are loaded and run once, here.
        threads: threads of one engine run.
        access: who is let in; this machine alone unless said.
        submissions: where they are stored; without it they are refused.

    Raises:
        BadInput: when a bundle has nothing to serve, its parts do not fit its routes, or two
            have the same name and version.
    """
    if threads < 1:
        raise BadInput(
            expected="at least 1 thread", found=str(threads), remedy="choose with --threads"
        )
    access = access or Access()
    chosen = access.operations
    repository = Repository(
        (bundles,) if isinstance(bundles, Bundle) else bundles,
        load=partial(load_bundle, threads=threads),
        canaries=chosen.canaries,
        keep_previous=chosen.keep_previous,
    )
    desk = Desk(
        repository=repository,
        access=access,
        admission=Admission(access),
        dispatcher=Dispatcher(_limits(access, chosen.workers * threads)),
        submissions=submissions,
    )
    layers = build_layers(repository, access=access)
    return Application(
        answer=layers.around(Switchboard(ENDPOINTS, desk)),
        layers=layers,
        repository=repository,
        drain=desk.dispatcher.drain,
    )


def _limits(access: Access, threads: int) -> Limits:
    """As many engines at once as there are cores for their threads."""
    return replace(access.batching, engines=max(1, _cores() // threads))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
