"""Ways to answer a request, before and after their cost is known."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgewise.bundle import PayloadCodec, Route, RouteKind
from edgewise.cost import Forecast
from edgewise.examples import Examples, Split
from edgewise.graphs import PREPARATION_KEY, Cut, Model
from edgewise.preparation import Pixels, TextPreparation, read_preparation
from edgewise.profiling import Profile, check_sized, count, prefixes_of
from edgewise.tensors import Feeds, TensorSpec

FULL = "full"
PIXEL_CODECS = (PayloadCodec.PNG, PayloadCodec.JPEG, PayloadCodec.WEBP)
PixelKey = tuple[PayloadCodec, int | None]
TENSOR_CODECS = (PayloadCodec.FP32, PayloadCodec.FP16, PayloadCodec.INT8)


class Objective(enum.StrEnum):
    """What a plan makes as small as it can."""

    LATENCY = "latency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One example input: the model's tensors and, for a picture, its prepared pixels."""

    feeds: Feeds
    pixels: Pixels | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Disjoint examples: for finding ranges, and for judging candidates.

    Args:
        calibrate: the ranges of INT8 payloads come from these.
        select: candidates are judged on these; payload sizes and times come from them too.
        report: the agreement that is stated of what was chosen comes from these; without any it
            comes from ``select``.
    """

    calibrate: tuple[Sample, ...]
    select: tuple[Sample, ...]
    report: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a route must keep.

    Args:
        min_agreement: share of examples on which it decides as the full network does.
        max_latency_s: predicted seconds; ``None`` for no limit.
        raw_input_stays: forbid the routes that send the input itself.
    """

    min_agreement: float = 0.95
    max_latency_s: float | None = None
    raw_input_stays: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to plan.

    Args:
        quality_levels: of JPEG and WebP that are considered, 1 to 100.
        limits: what a route must keep.
        refined: how many of the best candidates of each link are timed with their own halves.
        anchors: how many cuts of each network are timed, the others placed between them;
            ``None`` times them all.
    """

    quality_levels: tuple[int, ...] = (90, 95)
    limits: Limits = Limits()
    refined: int = 6
    anchors: int | None = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A way to answer, not yet costed.

    Args:
        name: unique in a plan.
        kind: local, split or cloud.
        variant: which network: ``full`` or the name of a smaller one.
        cut: where it is cut; only for ``split``.
        position: index of the cut in its network's order; -1 without a cut.
        codec: the form in which the payload crosses.
        quality_level: of JPEG and WebP, 1 to 100.
        sends_input: whether an input crosses, as it is or merely written in another way.
        reads_text: whether the input is a text, whose tokens any feature gives away.
    """

    name: str
    kind: RouteKind
    variant: str = FULL
    cut: Cut | None = None
    position: int = -1
    codec: PayloadCodec = PayloadCodec.NONE
    quality_level: int | None = None
    sends_input: bool = False
    reads_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A way to answer with its predicted cost, and why it was rejected if it was.

    Args:
        sketch: what it is.
        route: how a bundle would hold it.
        device: cost on the device.
        link: cost of the transfer.
        cloud: cost in the cloud.
        total: all three, one after the other.
        payload_bytes: content and structure sent, without headers.
        rejected: the reason in words; ``None`` for the chosen one.
    """

    sketch: Sketch
    route: Route
    device: Forecast
    link: Forecast
    cloud: Forecast
    total: Forecast
    payload_bytes: int = 0
    rejected: str | None = None

    @property
    def total_s(self) -> float:
        """Predicted seconds from request to answer."""
        return self.total.mid.latency_s


def sketch_all(
    variants: Mapping[str, Model],
    cuts: Mapping[str, Sequence[Cut]],
    *,
    pixels: bool,
    quality_levels: Sequence[int],
) -> tuple[Sketch, ...]:
    """Every way to answer that this planner knows.

    Args:
        variants: networks by name; ``full`` is the original.
        cuts: legal cuts of each.
        pixels: whether inputs are pictures, which PNG, JPEG and WebP can carry.
        quality_levels: of JPEG and WebP.
    """
    local = [
        Sketch(name=_join("local", name), kind=RouteKind.LOCAL, variant=name) for name in variants
    ]
    keys = [(PayloadCodec.FP32, None), *(pixel_keys(quality_levels) if pixels else ())]
    cloud = [_sketch_cloud(codec, level) for codec, level in keys]
    split = [
        sketch
        for variant, legal in cuts.items()
        if legal
        for sketch in _sketch_splits(variant, variants[variant], legal)
    ]
    texts = _reads_text(variants[FULL])
    return tuple(replace(sketch, reads_text=texts) for sketch in (*local, *cloud, *split))


def _reads_text(model: Model) -> bool:
    text = model.metadata.get(PREPARATION_KEY)
    return text is not None and isinstance(read_preparation(text), TextPreparation)


def pixel_keys(quality_levels: Sequence[int]) -> list[PixelKey]:
    """Every pixel codec, the lossy ones at each quality.

    >>> [f"{codec}{level or ''}" for codec, level in pixel_keys((90, 95))]
    ['png', 'jpeg90', 'jpeg95', 'webp90', 'webp95']
    """
    lossy = (PayloadCodec.JPEG, PayloadCodec.WEBP)
    return [
        (codec, level)
        for codec in PIXEL_CODECS
        for level in (quality_levels if codec in lossy else (None,))
    ]


def _sketch_cloud(codec: PayloadCodec, quality_level: int | None) -> Sketch:
    return Sketch(
        name=f"cloud-{codec}{quality_level or ''}",
        kind=RouteKind.CLOUD,
        codec=codec,
        quality_level=quality_level,
        sends_input=True,
    )


def _sketch_splits(variant: str, model: Model, legal: Sequence[Cut]) -> Iterator[Sketch]:
    profile = count(model)
    check_sized(profile)
    raw = _send_input(model, profile, legal)
    for position, at in enumerate(legal):
        for codec in TENSOR_CODECS if narrows(at) else (PayloadCodec.FP32,):
            yield Sketch(
                name=_join(f"split{position}-{codec}", variant),
                kind=RouteKind.SPLIT,
                variant=variant,
                cut=at,
                position=position,
                codec=codec,
                sends_input=raw[position],
            )


def _send_input(model: Model, profile: Profile, cuts: Sequence[Cut]) -> list[bool]:
    """For each cut, whether an input rides along, or is only scaled, rounded, moved, looked up."""
    names = [[spec.name for spec in at.tensors] for at in cuts]
    inputs = {spec.name for spec in model.inputs}
    prefixes = prefixes_of(profile, names)
    return [
        not inputs.isdisjoint(crossing) or prefix.macs == 0
        for crossing, prefix in zip(names, prefixes, strict=True)
    ]


def narrows(at: Cut) -> bool:
    """Whether FP16 and INT8 payloads are narrower: integers cross as they are, whatever is asked.

    >>> def through(dtype):
    ...     return Cut(tensors=(TensorSpec(name="x", dtype=dtype, shape=(1, 8)),))
    >>> narrows(through("float32")), narrows(through("uint8"))
    (True, False)
    """
    return any(spec.dtype.startswith("float") for spec in at.content)


def count_elements(spec: TensorSpec) -> int:
    """Elements of a tensor at batch 1."""
    return spec.nbytes() // spec.itemsize_bytes


def _join(stem: str, variant: str) -> str:
    return stem if variant == FULL else f"{stem}-{variant}"


def take_samples(
    split: Split, *, calibrate: int = 16, select: int = 32, report: int = 32
) -> Samples:
    """Some examples of a split's parts, prepared and kept in memory.

    They are taken at equal steps: the first ones of class folders would all be of one class.

    Args:
        split: disjoint parts.
        calibrate: at most this many for ranges.
        select: at most this many for judging.
        report: at most this many for the figures that are stated.
    """
    return Samples(
        calibrate=_take(split.calibrate, calibrate),
        select=_take(split.select, select),
        report=_take(split.report, report),
    )


def _take(examples: Examples, count: int) -> tuple[Sample, ...]:
    taken = min(count, len(examples))
    places = [place * len(examples) // taken for place in range(taken)]
    return tuple(
        Sample(feeds=examples.feeds(place), pixels=examples.pixels(place)) for place in places
    )
