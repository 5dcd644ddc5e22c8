"""What a bundle says about itself: parts, routes, fallback, and fields kept for later."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgewise.bounds import Bound
from edgewise.errors import BadInput
from edgewise.tensors import TensorSpec

MANIFEST = "bundle.json"
SCHEMA = 1
MAX_VERSION = 2**31 - 1


class Side(enum.StrEnum):
    """Which half a file belongs to."""

    DEVICE = "device"
    SERVER = "server"
    BOTH = "both"


class RouteKind(enum.StrEnum):
    """One way to answer a request."""

    LOCAL = "local"
    SPLIT = "split"
    EXIT = "exit"
    CLOUD = "cloud"
    CASCADE = "cascade"


class PayloadCodec(enum.StrEnum):
    """The form in which a route's content crosses the link."""

    NONE = "none"
    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"


class FallbackKind(enum.StrEnum):
    """What answers when the cloud does not."""

    FULL = "full"
    SMALL = "small"
    EXIT = "exit"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One network of the bundle."""

    name: str
    path: str
    sha256: str
    bytes: int
    side: Side
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """A route's time as a formula of what is known only at run time.

    seconds = device_s + up_bytes/up_rate + down_bytes/down_rate + rtts · rtt
    + cloud_s · load. ``device_s`` is on the device that was planned for, its slowdown counted in.
    Bytes are whole HTTP messages, headers included.
    """

    device_s: float = 0.0
    cloud_s: float = 0.0
    up_bytes: int = 0
    down_bytes: int = 0
    rtts: int = 0
    device_j: float | None = None
    provider_usd: float | None = None

    def seconds(
        self, *, up_bytes_per_s: float, down_bytes_per_s: float, rtt_s: float, load: float = 1.0
    ) -> float:
        """Predicted seconds; ``device_s`` already holds the device's slowdown.

        >>> Coefficients(device_s=0.1, cloud_s=0.02, up_bytes=1000, rtts=1).seconds(
        ...     up_bytes_per_s=1e4, down_bytes_per_s=1e6, rtt_s=0.05)
        0.27
        """
        link_s = self.link_s(
            up_bytes_per_s=up_bytes_per_s, down_bytes_per_s=down_bytes_per_s, rtt_s=rtt_s
        )
        return self.device_s + link_s + self.cloud_s * load

    def link_s(self, *, up_bytes_per_s: float, down_bytes_per_s: float, rtt_s: float) -> float:
        """Predicted seconds of the link alone: bytes both ways, and round trips."""
        bytes_s = self.up_bytes / up_bytes_per_s + self.down_bytes / down_bytes_per_s
        return bytes_s + self.rtts * rtt_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well a route answers, with its 95 % interval, on ``n`` examples."""

    metric: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """What the strongest attack that we ship recovers from the bytes of a route. Reserved."""

    attack: str
    ssim: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One way to answer, ready to run.

    Args:
        name: unique in the bundle; requests name it.
        kind: what sort of route it is.
        cut: names of the content tensors it sends; empty for ``local``.
        codec: the form in which they cross.
        quality_level: JPEG or WebP quality, 1 to 100; ``None`` for other codecs.
        device_part: the network that runs on the device, if any.
        server_part: the network that runs on the server, if any.
        boundary: every tensor sent, with exact byte bounds.
        sends_input: whether the input itself, or its plain image, leaves the device.
        quality: agreement with the full network.
        leakage: what the bytes give away, once audited.
        coefficients: its time as a formula.
    """

    name: str
    kind: RouteKind
    cut: tuple[str, ...] = ()
    codec: PayloadCodec = PayloadCodec.NONE
    quality_level: int | None = None
    device_part: str | None = None
    server_part: str | None = None
    boundary: tuple[Bound, ...] = ()
    sends_input: bool = False
    quality: Quality | None = None
    leakage: Leakage | None = None
    coefficients: Coefficients


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What answers when the cloud does not, and with which network."""

    kind: FallbackKind
    part: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecTable:
    """A table of entropy models. Reserved."""

    name: str
    path: str
    sha256: str
    bytes: int
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitHead:
    """An early exit of a device part. Reserved."""

    name: str
    route: str
    output: str
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A stored input with its answer, to check an engine before it is trusted.

    Args:
        path: its file; see ``edgewise.bundle.probe`` for what is in it.
        sha256: of the file.
        bytes: of the file.
        tolerance: the largest gap between stored and given answer that still is engine noise,
            as a share of the largest stored value.
    """

    path: str
    sha256: str
    bytes: int
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """How the manifest is signed; the signature lies beside it. Reserved."""

    algorithm: str
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAway:
    """Weights that whoever downloads the device half gets."""

    part: str
    tensors: int
    bytes: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything a bundle says about itself; see the module.

    ``version`` tells bundles of one name apart where a server has several; the highest one
    answers whoever asks for none.
    ``tokenizer`` is the text of the ``tokenizer.json`` of a network that reads text.
    """

    schema: int
    name: str
    version: int = 1
    model_digest: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parts: tuple[Part, ...]
    routes: tuple[Route, ...]
    fallback: Fallback
    needs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    preparation: Mapping[str, Any] | None = None
    tokenizer: str | None = None
    codec_tables: tuple[CodecTable, ...] = ()
    exits: tuple[ExitHead, ...] = ()
    probe: Probe | None = None
    signature: Signature | None = None
    given_away: tuple[GivenAway, ...] = ()

    @property
    def device_files(self) -> tuple[Part | CodecTable | Probe, ...]:
        """Every file that a device needs beside the manifest: no network of the server's."""
        parts = (part for part in self.parts if part.side is not Side.SERVER)
        return (*parts, *self.codec_tables, *((self.probe,) if self.probe else ()))

    def part(self, name: str) -> Part:
        """The part of that name.

        Raises:
            BadInput: when there is none.
        """
        for part in self.parts:
            if part.name == name:
                return part
        names = ", ".join(part.name for part in self.parts)
        raise BadInput(
            expected=f"one of the parts {names}", found=repr(name[:80]), remedy="choose one"
        )

    def route(self, name: str) -> Route:
        """The route of that name.

        Raises:
            BadInput: when there is none.
        """
        for route in self.routes:
            if route.name == name:
                return route
        names = ", ".join(route.name for route in self.routes)
        raise BadInput(
            expected=f"one of the routes {names}", found=repr(name[:80]), remedy="choose one"
        )
