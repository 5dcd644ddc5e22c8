"""What planning needs to have measured: networks, segments, payload nodes and pixel codecs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgewise.bundle import PayloadCodec
from edgewise.engines import open_engine
from edgewise.graphs import Cut, Halves, Model, Payload, QuantRange, cut, to_bytes
from edgewise.planning.candidates import (
    FULL,
    PixelKey,
    Sample,
    Samples,
    Settings,
    count_elements,
    narrows,
    pixel_keys,
)
from edgewise.preparation import (
    ImagePreparation,
    PixelCodec,
    Pixels,
    decode_pixels,
    encode_pixels,
    normalise,
)
from edgewise.profiling import (
    NOTHING,
    NotFinite,
    Segments,
    Timing,
    measure_cuts,
    measure_together,
    measure_whole,
    time_interleaved,
)
from edgewise.progress import Progress

PAYLOADS: Mapping[PayloadCodec, Payload] = {
    PayloadCodec.FP32: Payload.FP32,
    PayloadCodec.FP16: Payload.FP16,
    PayloadCodec.INT8: Payload.INT8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelCost:
    """A pixel codec on the example pictures, on this machine.

    Args:
        encode: time to encode one.
        decode: time to decode and normalise one.
        mean_bytes: of the encoded pictures.
    """

    encode: Timing
    decode: Timing
    mean_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCost:
    """Seconds that payload nodes add to a half: ``fixed_s + per_element_s * elements``."""

    fixed_s: float = 0.0
    per_element_s: float = 0.0

    def seconds(self, elements: int) -> float:
        """For a tensor of that many elements.

        >>> NodeCost(fixed_s=1.0, per_element_s=0.5).seconds(4)
        3.0
        """
        return self.fixed_s + self.per_element_s * elements


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Everything measured on this machine for one plan.

    Args:
        whole: each network, by variant.
        cuts: legal cuts of each variant.
        segments: both halves of each cut, raw tensors crossing.
        encode_nodes: what the payload nodes of the head add, by codec.
        decode_nodes: what the payload nodes of the tail add, by codec.
        pixels: each pixel codec; empty when inputs are not pictures.
        normalise: pixels to the model's input.
    """

    whole: Mapping[str, Timing]
    cuts: Mapping[str, tuple[Cut, ...]]
    segments: Mapping[str, tuple[Segments, ...]]
    encode_nodes: Mapping[PayloadCodec, NodeCost]
    decode_nodes: Mapping[PayloadCodec, NodeCost]
    pixels: Mapping[PixelKey, PixelCost] = field(default_factory=dict)
    normalise: Timing = NOTHING


def measure(
    variants: Mapping[str, Model],
    cuts: Mapping[str, tuple[Cut, ...]],
    samples: Samples,
    *,
    preparation: ImagePreparation | None,
    settings: Settings,
    progress: Progress | None = None,
) -> Measurements:
    """Measure everything a plan of these networks needs, on this machine."""
    feeds = samples.select[0].feeds
    segments = {
        name: measure_cuts(
            variants[name], legal, feeds, anchors=settings.anchors, progress=progress
        )
        for name, legal in cuts.items()
    }
    full = variants[FULL]
    probes = _spread([at for at in cuts.get(FULL, ()) if narrows(at)])
    encode_nodes, decode_nodes = _measure_nodes(full, probes, samples.select[0])
    pixels = [s.pixels for s in samples.select if s.pixels is not None]
    pictures = preparation if pixels else None
    return Measurements(
        whole=measure_whole(variants, feeds),
        cuts=cuts,
        segments=segments,
        encode_nodes=encode_nodes,
        decode_nodes=decode_nodes,
        pixels={}
        if pictures is None
        else _measure_pixels(pixels, pictures, settings.quality_levels),
        normalise=NOTHING if pictures is None else _measure_normalise(pixels, pictures),
    )


class Cutter:
    """Cuts networks and gives the halves their payload nodes.

    Args:
        variants: networks by name.
        calibrate: examples that the ranges of INT8 payloads come from.
    """

    def __init__(self, variants: Mapping[str, Model], calibrate: Sequence[Sample]) -> None:
        self._variants = variants
        self._calibrate = calibrate
        self._ranges: dict[tuple[str, Cut], dict[str, QuantRange]] = {}

    def cut(self, variant: str, at: Cut, codec: PayloadCodec) -> Halves:
        """Both halves of a variant.

        Raises:
            NotFinite: when an INT8 payload has no range, because its values are infinite.
        """
        model = self._variants[variant]
        if codec is not PayloadCodec.INT8 or not narrows(at):
            return cut(model, at, payload=PAYLOADS[codec])
        key = (variant, at)
        if key not in self._ranges:
            self._ranges[key] = find_ranges(model, at, self._calibrate)
        return cut(model, at, payload=Payload.INT8, ranges=self._ranges[key])


def find_ranges(model: Model, at: Cut, samples: Sequence[Sample]) -> dict[str, QuantRange]:
    """The least and the greatest value of each content tensor over some examples.

    Raises:
        NotFinite: when one of them is infinite or no number.
    """
    halves = cut(model, at)
    content = [
        (spec.name, crossed.name)
        for spec, crossed in zip(at.tensors, halves.boundary, strict=True)
        if spec in at.content
    ]
    seen: dict[str, list[float]] = {name: [] for name, _ in content}
    with open_engine(to_bytes(halves.head)) as engine:
        for sample in samples:
            outputs = engine.run(sample.feeds)
            for name, crossed_name in content:
                values = outputs[crossed_name]
                seen[name] += (float(np.min(values)), float(np.max(values)))
    for name, ends in seen.items():
        if not np.isfinite(ends).all():
            raise NotFinite(f"{name} holds values that are not finite")
    return {name: QuantRange(low=min(ends), high=max(ends)) for name, ends in seen.items()}


def _spread(cuts: Sequence[Cut], count: int = 4) -> tuple[Cut, ...]:
    """A few cuts from the largest payload to the smallest."""
    ordered = sorted(cuts, key=lambda at: at.nbytes())
    chosen = {round(i) for i in np.linspace(0, len(ordered) - 1, count)} if ordered else set()
    return tuple(ordered[i] for i in sorted(chosen))


def _measure_nodes(
    model: Model, probes: Sequence[Cut], sample: Sample
) -> tuple[dict[PayloadCodec, NodeCost], dict[PayloadCodec, NodeCost]]:
    timed: list[tuple[int, dict[str, Segments]]] = []
    for at in probes:
        with contextlib.suppress(NotFinite):  # then it tells nothing about the nodes
            elements = sum(count_elements(spec) for spec in at.content)
            timed.append((elements, measure_together(_every_payload(model, at), sample.feeds)))
    encode = {codec: _extra(codec, timed, lambda s: s.head.median_s) for codec in PAYLOADS}
    decode = {codec: _extra(codec, timed, lambda s: s.tail.median_s) for codec in PAYLOADS}
    return encode, decode


def _every_payload(model: Model, at: Cut) -> dict[str, Halves]:
    # Rounding takes as long whatever the range is, so no examples are run to find it.
    ranges = dict.fromkeys([spec.name for spec in at.content], QuantRange(low=-4.0, high=4.0))
    return {
        codec.value: cut(model, at, payload=payload, ranges=ranges)
        for codec, payload in PAYLOADS.items()
    }


def _extra(
    codec: PayloadCodec,
    timed: Sequence[tuple[int, Mapping[str, Segments]]],
    seconds: Callable[[Segments], float],
) -> NodeCost:
    if codec is PayloadCodec.FP32:
        return NodeCost()
    raw = PayloadCodec.FP32.value
    return fit_line(
        [elements for elements, _ in timed],
        [seconds(times[codec.value]) - seconds(times[raw]) for _, times in timed],
    )


def fit_line(elements: Sequence[int], extra_s: Sequence[float]) -> NodeCost:
    """Least squares of extra seconds over elements; neither part below 0.

    >>> fit_line([0, 100], [1.0, 2.0]).seconds(50)
    1.5
    """
    if len(set(elements)) < 2:
        return NodeCost(fixed_s=max(0.0, float(np.median(extra_s)))) if extra_s else NodeCost()
    slope, constant = np.polyfit(elements, extra_s, 1)
    if slope < 0:
        return NodeCost(fixed_s=max(0.0, float(np.mean(extra_s))))
    return NodeCost(fixed_s=max(0.0, round(float(constant), 12)), per_element_s=float(slope))


def _measure_pixels(
    pixels: Sequence[Pixels], preparation: ImagePreparation, quality_levels: Sequence[int]
) -> dict[PixelKey, PixelCost]:
    return {
        (codec, level): _measure_codec(pixels, preparation, PixelCodec(codec.value), level or 90)
        for codec, level in pixel_keys(quality_levels)
    }


def _measure_codec(
    pixels: Sequence[Pixels], preparation: ImagePreparation, codec: PixelCodec, quality: int
) -> PixelCost:
    raws = [encode_pixels(picture, codec, quality) for picture in pixels]
    middle = sorted(range(len(raws)), key=lambda i: len(raws[i]))[len(raws) // 2]
    times = time_interleaved(
        {
            "encode": lambda: encode_pixels(pixels[middle], codec, quality),
            "decode": lambda: normalise(
                decode_pixels(raws[middle], preparation, codec), preparation
            ),
        },
        repeats=9,
    )
    mean_bytes = float(np.mean([len(raw) for raw in raws]))
    return PixelCost(encode=times["encode"], decode=times["decode"], mean_bytes=mean_bytes)


def _measure_normalise(pixels: Sequence[Pixels], preparation: ImagePreparation) -> Timing:
    work: Callable[[], object] = lambda: normalise(pixels[0], preparation)  # noqa: E731
    return time_interleaved({"normalise": work}, repeats=9)["normalise"]
