"""A plan in a folder: ``bundle.json`` and the networks of both halves.

The manifest lists every file with its size and SHA-256, every route with the tensors it sends
and their exact byte bounds, and what happens when the cloud is gone. Anything unknown in it is
refused. The digest of a bundle is the SHA-256 of its manifest.
"""

from edgewise.bundle.folder import Bundle, describe_part, open_bundle, read_manifest, write_bundle
from edgewise.bundle.manifest import (
    MANIFEST,
    MAX_VERSION,
    SCHEMA,
    CodecTable,
    Coefficients,
    ExitHead,
    Fallback,
    FallbackKind,
    GivenAway,
    Leakage,
    Manifest,
    Part,
    PayloadCodec,
    Probe,
    Quality,
    Route,
    RouteKind,
    Side,
    Signature,
)
from edgewise.bundle.support import check_supported

__all__ = [
    "MANIFEST",
    "MAX_VERSION",
    "SCHEMA",
    "Bundle",
    "CodecTable",
    "Coefficients",
    "ExitHead",
    "Fallback",
    "FallbackKind",
    "GivenAway",
    "Leakage",
    "Manifest",
    "Part",
    "PayloadCodec",
    "Probe",
    "Quality",
    "Route",
    "RouteKind",
    "Side",
    "Signature",
    "check_supported",
    "describe_part",
    "open_bundle",
    "read_manifest",
    "write_bundle",
]
