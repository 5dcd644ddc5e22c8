"""Does a manifest make sense as a whole? Field types are checked when it is read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from edgewise.bundle.manifest import (
    MANIFEST,
    MAX_VERSION,
    CodecTable,
    Coefficients,
    FallbackKind,
    Manifest,
    Part,
    Probe,
    Route,
    RouteKind,
    Side,
)
from edgewise.errors import BadInput
from edgewise.wire import MAX_TENSORS

NETWORK_ENDING = ".onnx"
DATA_ENDING = ".bin"
MAX_ROUTES = 64
MAX_PART_BYTES = 2**31
MAX_BOUNDARY_BYTES = 2**31
_FILE_NAME = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,127}")


def check_manifest(manifest: Manifest, where: str) -> None:
    """Refuse a manifest whose fields contradict each other.

    Raises:
        BadInput: naming the first contradiction.
    """
    _check_unique([part.name for part in manifest.parts], f"parts of {where}")
    files = (
        *manifest.parts,
        *manifest.codec_tables,
        *((manifest.probe,) if manifest.probe else ()),
    )
    _check_unique([file.path.lower() for file in files], f"files of {where}")
    _check_unique([route.name for route in manifest.routes], f"routes of {where}")
    if not 1 <= manifest.version <= MAX_VERSION:
        raise _unsound(where, f"a version from 1 to {MAX_VERSION}", str(manifest.version))
    if not 1 <= len(manifest.routes) <= MAX_ROUTES:
        raise _unsound(where, f"1 to {MAX_ROUTES} routes", str(len(manifest.routes)))
    for file in files:
        _check_file(file, where)
    if manifest.probe is not None:
        _check_tolerance(manifest.probe, where)
    for route in manifest.routes:
        _check_route(route, manifest, where)
    _check_fallback(manifest, where)


def _check_unique(names: list[str], what: str) -> None:
    if len(set(names)) != len(names):
        raise BadInput(
            expected=f"different names for the {what}", found="a name twice", remedy="plan it anew"
        )


def _check_file(file: Part | CodecTable | Probe, where: str) -> None:
    # Lower case: on some systems "Bundle.json" is the manifest's own file.
    if not _FILE_NAME.fullmatch(file.path) or file.path.lower() == MANIFEST:
        raise _unsound(where, "a plain file name for each part", repr(file.path[:80]))
    # Nothing that another program would run or read may come with a bundle.
    ending = NETWORK_ENDING if isinstance(file, Part) else DATA_ENDING
    if not file.path.endswith(ending):
        raise _unsound(where, f"a file name that ends in {ending}", repr(file.path[:80]))
    if not re.fullmatch(r"[0-9a-f]{64}", file.sha256):
        raise _unsound(where, f"a SHA-256 for {file.path!r}", repr(file.sha256[:80]))
    if not 0 < file.bytes <= MAX_PART_BYTES:
        raise _unsound(where, f"1 to {MAX_PART_BYTES} bytes for {file.path!r}", str(file.bytes))


def _check_tolerance(probe: Probe, where: str) -> None:
    if not (math.isfinite(probe.tolerance) and 0 < probe.tolerance < 1):
        raise _unsound(where, "a probe's tolerance above 0 and below 1", str(probe.tolerance))


def _check_route(route: Route, manifest: Manifest, where: str) -> None:
    sides = {part.name: part.side for part in manifest.parts}
    for name, side in ((route.device_part, Side.DEVICE), (route.server_part, Side.SERVER)):
        if name is not None and sides.get(name) not in (side, Side.BOTH):
            raise _unsound(where, f"a {side} part for the route {route.name!r}", repr(name[:80]))
    wanted = _PARTS_OF_KIND[route.kind]
    has = (route.device_part is not None, route.server_part is not None)
    if has != wanted:
        raise _unsound(where, f"the parts of a {route.kind} route in {route.name!r}", str(has))
    if bool(route.boundary) != (route.server_part is not None):
        raise _unsound(where, f"bounds for what {route.name!r} sends", "none or too many")
    _check_boundary(route, where)
    if route.quality_level is not None and not 1 <= route.quality_level <= 100:
        raise _unsound(where, "a quality level of 1 to 100", str(route.quality_level))
    if min(_numbers(route.coefficients)) < 0:
        raise _unsound(where, "coefficients of at least 0", f"less in {route.name!r}")


def _check_boundary(route: Route, where: str) -> None:
    _check_unique(
        [bound.name for bound in route.boundary], f"tensors of {route.name!r} in {where}"
    )
    if len(route.boundary) > MAX_TENSORS:
        raise _unsound(where, f"at most {MAX_TENSORS} tensors sent", str(len(route.boundary)))
    total = sum(bound.max_bytes for bound in route.boundary)
    if total > MAX_BOUNDARY_BYTES:
        raise _unsound(where, f"at most {MAX_BOUNDARY_BYTES} bytes sent", str(total))


_PARTS_OF_KIND: Mapping[RouteKind, tuple[bool, bool]] = {
    RouteKind.LOCAL: (True, False),
    RouteKind.SPLIT: (True, True),
    RouteKind.CLOUD: (False, True),
    RouteKind.EXIT: (True, True),
    RouteKind.CASCADE: (True, True),
}


def _numbers(c: Coefficients) -> tuple[float, ...]:
    optional = (c.device_j or 0.0, c.provider_usd or 0.0)
    return (c.device_s, c.cloud_s, c.up_bytes, c.down_bytes, c.rtts, *optional)


def _check_fallback(manifest: Manifest, where: str) -> None:
    fallback = manifest.fallback
    if (fallback.kind is FallbackKind.NONE) != (fallback.part is None):
        raise _unsound(where, "a part for every fallback but 'none'", repr(fallback.part))
    sides = {part.name: part.side for part in manifest.parts}
    if fallback.part is not None and sides.get(fallback.part) not in (Side.DEVICE, Side.BOTH):
        raise _unsound(where, "a device part as fallback", repr(fallback.part[:80]))


def _unsound(where: str, expected: str, found: str) -> BadInput:
    return BadInput(expected=f"{expected} in {where}", found=found, remedy="plan it anew")
