"""Run a candidate on examples and compare its decisions with the full network's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgewise.bundle import PayloadCodec, Quality, RouteKind
from edgewise.engines import Engine, open_engine
from edgewise.examples import agreement
from edgewise.graphs import Halves, Model, to_bytes
from edgewise.planning.candidates import FULL, Candidate, Sample
from edgewise.planning.measuring import cut_for
from edgewise.preparation import (
    ImagePreparation,
    PixelCodec,
    decode_pixels,
    encode_pixels,
    normalise,
)
from edgewise.tensors import Array, Feeds


class Judge:
    """Knows the full network's decisions and compares routes with them.

    Args:
        variants: networks by name; ``full`` is the reference.
        calibrate: examples that INT8 ranges come from.
        select: examples to compare on; disjoint from ``calibrate``.
        preparation: of pictures, when inputs are pictures.
    """

    def __init__(
        self,
        variants: Mapping[str, Model],
        *,
        calibrate: Sequence[Sample],
        select: Sequence[Sample],
        preparation: ImagePreparation | None,
    ) -> None:
        self._variants = variants
        self._calibrate = calibrate
        self._select = select
        self._preparation = preparation
        self._output = variants[FULL].outputs[0].name
        self._reference = self._run_model(variants[FULL], [s.feeds for s in select])

    def judge(self, candidate: Candidate) -> Quality:
        """Share of examples on which the candidate decides as the full network does."""
        return judged(self._run(candidate), self._reference)

    def _run(self, candidate: Candidate) -> list[Array]:
        sketch = candidate.sketch
        model = self._variants[sketch.variant]
        if sketch.kind is RouteKind.SPLIT:
            assert sketch.cut is not None
            halves = cut_for(model, sketch.cut, sketch.codec, self._calibrate)
            return self._run_halves(halves)
        feeds = [self._as_sent(sample, candidate) for sample in self._select]
        return self._run_model(model, feeds)

    def _as_sent(self, sample: Sample, candidate: Candidate) -> Feeds:
        codec, preparation = candidate.sketch.codec, self._preparation
        if codec in (PayloadCodec.NONE, PayloadCodec.FP32):
            return sample.feeds
        assert preparation is not None
        assert sample.pixels is not None
        pixel_codec = PixelCodec(codec.value)
        raw = encode_pixels(sample.pixels, pixel_codec, candidate.sketch.quality_level or 90)
        pixels = decode_pixels(raw, preparation, pixel_codec)
        return {preparation.input: normalise(pixels, preparation)}

    def _run_model(self, model: Model, inputs: Sequence[Feeds]) -> list[Array]:
        with open_engine(to_bytes(model)) as engine:
            return [engine.run(feeds)[self._output] for feeds in inputs]

    def _run_halves(self, halves: Halves) -> list[Array]:
        with (
            open_engine(to_bytes(halves.head)) as head,
            open_engine(to_bytes(halves.tail)) as tail,
        ):
            return [run_halves(head, tail, sample.feeds)[self._output] for sample in self._select]


def run_halves(head: Engine, tail: Engine, feeds: Feeds) -> dict[str, Array]:
    """Outputs of tail(head(x)); inputs that the tail needs too ride along."""
    known = {**feeds, **head.run(feeds)}
    return tail.run({spec.name: known[spec.name] for spec in tail.inputs})


def judged(outputs: Sequence[Array], reference: Sequence[Array]) -> Quality:
    """Decision agreement of two lists of outputs, with its 95 % interval."""
    interval = agreement(np.concatenate(list(outputs)), np.concatenate(list(reference)))
    return Quality(
        metric="agreement",
        value=interval.mid,
        low=interval.low,
        high=interval.high,
        n=interval.n,
    )
