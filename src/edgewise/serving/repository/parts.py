"""A bundle's server half, loaded: one warm engine per network, one receiver per route."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgewise.bounds import Bound
from edgewise.bundle import (
    Bundle,
    Manifest,
    PayloadCodec,
    Route,
    StoredAnswers,
    read_probe,
    why_distrusted,
)
from edgewise.engines import Engine, open_engine
from edgewise.errors import BadInput
from edgewise.serving.batching.joining import joins
from edgewise.serving.repository.shelf import Shelf
from edgewise.tensors import Feeds, TensorSpec
from edgewise.wire import Message, TensorHeader, encode_reply, max_frame_bytes

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
# /v2/models/stats is about all models, and clients take dots for steps in the path.
_NOT_NAMES = ("stats", ".", "..")
_IMAGES = (PayloadCodec.PNG, PayloadCodec.JPEG, PayloadCodec.WEBP)

Receiver = Callable[[Feeds], Feeds]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRoute:
    """One route as the server sees it.

    Args:
        route: what the manifest says.
        engine: the network behind it; routes may share one.
        receive: turns what crossed the link into what the network takes.
        joins: whether requests may run together.
    """

    route: Route
    engine: Engine
    receive: Receiver
    joins: bool = False

    def items(self, sent: Sequence[TensorHeader]) -> int | None:
        """Rows that a request asks for; ``None`` when it must run alone."""
        if not self.joins:
            return None
        if self.route.codec in _IMAGES:
            return 1
        sizes = {tensor.shape[0] for tensor in sent}
        return sizes.pop() if len(sizes) == 1 else None

    def bucket(self, sent: Sequence[TensorHeader]) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
        """What requests of this route must have in common to run together."""
        if not self.joins or self.route.codec in _IMAGES:  # decoded, images have one shape
            return ()
        return tuple(sorted((tensor.name, tensor.dtype, tensor.shape[1:]) for tensor in sent))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedBundle:
    """Everything that requests need, ready.

    Args:
        manifest: of the bundle.
        digest: of the bundle.
        routes: those with a server part, in the manifest's order.
        max_body_bytes: the longest frame that any route takes.
        shelf: what devices download of it.
    """

    manifest: Manifest
    digest: str
    routes: tuple[ServedRoute, ...]
    max_body_bytes: int
    shelf: Shelf

    @property
    def name(self) -> str:
        """Of the model."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Of the model, as it stands in a path."""
        return str(self.manifest.version)


def load_bundle(bundle: Bundle, *, threads: int) -> ServedBundle:
    """Load and run once every network that requests may need.

    Raises:
        BadInput: when a network is missing, broken, does not take what its routes send, or does
            not give the bundle's stored answer on this machine.
        MissingExtra: when a route sends images and Pillow is not installed.
    """
    manifest = bundle.manifest
    if not _NAME.fullmatch(manifest.name):
        raise _unfit(manifest, "a name of 1 to 64 letters, digits and _ . -", repr(manifest.name))
    if manifest.name in _NOT_NAMES:
        raise _unfit(
            manifest, "a network file whose name means nothing else in a path", repr(manifest.name)
        )
    routes = [route for route in manifest.routes if route.server_part is not None]
    if not routes:
        raise _unfit(manifest, "a route with a server part", "only routes without")
    parts = dict.fromkeys(route.server_part for route in routes if route.server_part)
    stored = read_probe(bundle)
    engines = {name: _open_warm(bundle, name, threads, stored) for name in parts}
    joining = {name: joins(engine) for name, engine in engines.items()}
    served = tuple(
        replace(_serve_route(route, manifest, engines), joins=joining[route.server_part or ""])
        for route in routes
    )
    return ServedBundle(
        manifest=manifest,
        digest=bundle.digest,
        routes=served,
        max_body_bytes=max(max_frame_bytes(route.boundary) for route in routes),
        shelf=Shelf(bundle),
    )


def _open_warm(bundle: Bundle, part: str, threads: int, stored: StoredAnswers | None) -> Engine:
    engine = open_engine(bundle.read_part(part), threads=threads)
    # The first run allocates and packs weights; no request should wait for that.
    zeros = {spec.name: np.zeros(spec.concrete(), spec.dtype) for spec in engine.inputs}
    # Encoding shows now, not in every answer, whether the protocol has words for the outputs.
    encode_reply(Message(tensors=engine.run(zeros), model=bundle.manifest.name))
    if stored is not None:
        _check_answer(bundle.manifest, part, engine, stored)
    return engine


def _check_answer(manifest: Manifest, part: str, engine: Engine, stored: StoredAnswers) -> None:
    """Serve nothing that computes other than it did when it was planned."""
    why = why_distrusted(stored, manifest, manifest.part(part), engine.run)
    if why:
        raise _unfit(manifest, f"the stored answer from the part {part[:80]!r}", why)


def _serve_route(route: Route, manifest: Manifest, engines: Mapping[str, Engine]) -> ServedRoute:
    engine = engines[route.server_part or ""]
    if route.codec in _IMAGES:
        return ServedRoute(route=route, engine=engine, receive=_images(route, manifest, engine))
    sent = {(bound.name, bound.dtype) for bound in route.boundary}
    taken = {(spec.name, spec.dtype) for spec in engine.inputs}
    if sent != taken:
        raise _unfit(
            manifest,
            f"a server part that takes what {route.name!r} sends, {_list(sent)}",
            f"one that takes {_list(taken)}",
        )
    return ServedRoute(route=route, engine=engine, receive=_tensors)


def _tensors(feeds: Feeds) -> Feeds:
    """Raw tensors go to the network as they are; it holds the Cast and Dequantize nodes itself."""
    # A frame's header has any length, so its tensors may start at any address; kernels want
    # theirs on whole elements.
    return {name: array if array.flags.aligned else array.copy() for name, array in feeds.items()}


def _images(route: Route, manifest: Manifest, engine: Engine) -> Receiver:
    from edgewise.preparation import (
        PixelCodec,
        decode_pixels,
        encode_pixels,
        normalise,
        read_image_preparation,
    )

    bound, spec = _one_image(route, manifest, engine)
    preparation = read_image_preparation(json.dumps(manifest.preparation))
    codec = PixelCodec(route.codec.value)

    def receive(feeds: Feeds) -> Feeds:
        pixels = decode_pixels(feeds[bound.name].tobytes(), preparation, codec)
        return {spec.name: normalise(pixels, preparation)}

    # Loads the decoder, and shows before the first request that it is there and fits the part.
    blank = encode_pixels(np.zeros(preparation.pixels_shape, np.uint8), codec)
    engine.run(receive({bound.name: np.frombuffer(blank, np.uint8)}))
    return receive


def _one_image(route: Route, manifest: Manifest, engine: Engine) -> tuple[Bound, TensorSpec]:
    if manifest.preparation is None:
        raise _unfit(manifest, f"a preparation for the images of {route.name!r}", "none")
    flat = [b for b in route.boundary if b.dtype == "uint8" and len(b.shape) == 1]
    if len(route.boundary) != 1 or len(flat) != 1 or len(engine.inputs) != 1:
        raise _unfit(
            manifest,
            f"one flat uint8 tensor for one network input in the route {route.name!r}",
            f"{len(route.boundary)} tensors for {len(engine.inputs)} inputs",
        )
    return flat[0], engine.inputs[0]


def _list(pairs: set[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in sorted(pairs))


def _unfit(manifest: Manifest, expected: str, found: str) -> BadInput:
    return BadInput(
        expected=f"{expected} in the bundle {manifest.name[:80]!r}",
        found=found,
        remedy="plan it anew with: edgewise plan MODEL -o BUNDLE",
    )
