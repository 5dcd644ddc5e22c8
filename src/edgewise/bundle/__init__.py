"""A plan in a folder: ``bundle.json`` and the networks of both halves.

The manifest lists every file with its size and SHA-256, every route with the tensors it sends
and their exact byte bounds, and what happens when the cloud is gone. Anything unknown in it is
refused. The digest of a bundle is the SHA-256 of its manifest.
"""

from edgewise.bundle.folder import (
    MAX_MANIFEST_BYTES,
    Bundle,
    ListedFile,
    open_bundle,
    read_manifest,
)
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
from edgewise.bundle.probe import (
    INPUT,
    StoredAnswers,
    encode_probe,
    largest_gap,
    probe_feeds,
    probed_parts,
    read_probe,
    why_distrusted,
)
from edgewise.bundle.support import check_supported
from edgewise.bundle.writing import (
    OLD_ENDING,
    check_replaceable,
    describe_part,
    describe_probe,
    install,
    unwritable,
    write_bundle,
)

__all__ = [
    "INPUT",
    "MANIFEST",
    "MAX_MANIFEST_BYTES",
    "MAX_VERSION",
    "OLD_ENDING",
    "SCHEMA",
    "Bundle",
    "CodecTable",
    "Coefficients",
    "ExitHead",
    "Fallback",
    "FallbackKind",
    "GivenAway",
    "Leakage",
    "ListedFile",
    "Manifest",
    "Part",
    "PayloadCodec",
    "Probe",
    "Quality",
    "Route",
    "RouteKind",
    "Side",
    "Signature",
    "StoredAnswers",
    "check_replaceable",
    "check_supported",
    "describe_part",
    "describe_probe",
    "encode_probe",
    "install",
    "largest_gap",
    "open_bundle",
    "probe_feeds",
    "probed_parts",
    "read_manifest",
    "read_probe",
    "unwritable",
    "why_distrusted",
    "write_bundle",
]
