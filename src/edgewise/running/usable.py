"""What of a bundle a session can and may use."""

from __future__ import annotations

from collections.abc import Iterable

from edgewise.bundle import Manifest, Route, RouteKind
from edgewise.engines import Engine
from edgewise.errors import BadInput
from edgewise.running.content import PIXEL_CODECS
from edgewise.running.deciding.choice import Policy, allowed_routes
from edgewise.running.options import Options

_KINDS = (RouteKind.LOCAL, RouteKind.SPLIT, RouteKind.CLOUD)


def usable_routes(manifest: Manifest, options: Options, *, online: bool) -> tuple[Route, ...]:
    """The routes that the options allow, and without a server those that need none.

    Raises:
        BadInput: when there is none, or the bundle has a kind of route that nobody here knows.
    """
    for route in manifest.routes:
        _check_route(route, manifest)
    allowed = allowed_routes(
        manifest.routes,
        policy=options.policy,
        raw_input_stays=options.raw_input_stays,
        inputs=[spec.name for spec in manifest.inputs],
    )
    usable = tuple(route for route in allowed if online or route.server_part is None)
    if not usable:
        raise BadInput(
            expected=f"a server for {', '.join(route.name for route in allowed)}",
            found="no address",
            remedy="start: edgewise serve BUNDLE; and pass the address that it prints",
        )
    return usable


def device_parts(
    manifest: Manifest, routes: Iterable[Route], options: Options
) -> Iterable[tuple[str, list[str]]]:
    """Every network that the device may have to run, with the tensors it must give."""
    outputs = [spec.name for spec in manifest.outputs]
    remote = False
    for route in routes:
        sent = [bound.name for bound in route.boundary]
        remote = remote or route.server_part is not None
        if route.device_part is not None:
            yield route.device_part, sent or outputs
    fallback = fallback_part(manifest, options)
    if fallback is not None and remote:
        yield fallback, outputs


def _check_route(route: Route, manifest: Manifest) -> None:
    if route.kind not in _KINDS:
        raise BadInput(
            expected=f"routes of the kinds {', '.join(_KINDS)} in the bundle",
            found=f"{route.name!r} of the kind {route.kind}",
            remedy="install the edgewise that wrote the bundle, or plan it anew",
        )
    if route.kind is not RouteKind.CLOUD:
        return
    sent = [bound.name for bound in route.boundary]
    fits = {spec.name for spec in manifest.inputs}.issuperset(sent)
    if not fits or (route.codec in PIXEL_CODECS and len(sent) != 1):
        raise BadInput(
            expected=f"inputs of the model as what {route.name!r} sends, a photo alone",
            found=", ".join(sent),
            remedy="plan the bundle anew",
        )


def check_outputs(part: str, engine: Engine, wanted: Iterable[str]) -> None:
    """Refuse a network that does not give what the manifest says it does.

    Raises:
        BadInput: naming the missing tensor.
    """
    given = [spec.name for spec in engine.outputs]
    missing = [name for name in wanted if name not in given]
    if missing:
        raise BadInput(
            expected=f"the tensor {missing[0]!r} from the part {part!r} of the bundle",
            found=", ".join(given),
            remedy="plan the bundle anew",
        )


def fallback_part(manifest: Manifest, options: Options) -> str | None:
    """The network that answers without the cloud, if there is one and the policy lets it."""
    return None if options.policy is Policy.ONLY_IN_CLOUD else manifest.fallback.part


def fallback_route(manifest: Manifest) -> Route | None:
    """The route that the fallback is, if it is one."""
    part = manifest.fallback.part
    local = [route for route in manifest.routes if route.kind is RouteKind.LOCAL]
    return next((route for route in local if route.device_part == part), None)
