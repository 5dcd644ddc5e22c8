"""Run a candidate on examples and compare its decisions with the full network's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgewise.bundle import PayloadCodec, Quality, RouteKind
from edgewise.engines import open_engine
from edgewise.examples import agreement
from edgewise.graphs import Halves, Model, to_bytes
from edgewise.planning.candidates import FULL, Sample, Sketch
from edgewise.planning.measuring import Cutter
from edgewise.preparation import (
    ImagePreparation,
    PixelCodec,
    decode_pixels,
    encode_pixels,
    normalise,
)
from edgewise.profiling import run_halves
from edgewise.tensors import Array, Feeds

_AS_IT_IS = (PayloadCodec.NONE, PayloadCodec.FP32)


class Judge:
    """Knows the full network's decisions and compares routes with them.

    Args:
        variants: networks by name; ``full`` is the reference.
        cutter: cuts them.
        select: examples to compare on; disjoint from those of the cutter.
        preparation: of pictures, when inputs are pictures.
    """

    def __init__(
        self,
        variants: Mapping[str, Model],
        *,
        cutter: Cutter,
        select: Sequence[Sample],
        preparation: ImagePreparation | None,
    ) -> None:
        self._variants = variants
        self._cutter = cutter
        self._select = select
        self._preparation = preparation
        self._output = variants[FULL].outputs[0].name
        self._reference = self._run_model(variants[FULL], [s.feeds for s in select])

    def judge(self, sketch: Sketch) -> Quality:
        """Share of examples on which a way to answer decides as the full network does.

        Raises:
            NotFinite: when a half gives what the other cannot take.
        """
        return judged(self._run(sketch), self._reference)

    def _run(self, sketch: Sketch) -> Sequence[Array]:
        model = self._variants[sketch.variant]
        if sketch.kind is RouteKind.SPLIT:
            assert sketch.cut is not None
            return self._run_halves(self._cutter.cut(sketch.variant, sketch.cut, sketch.codec))
        if sketch.variant == FULL and sketch.codec in _AS_IT_IS:
            return self._reference
        return self._run_model(model, [self._as_sent(sample, sketch) for sample in self._select])

    def _as_sent(self, sample: Sample, sketch: Sketch) -> Feeds:
        codec, preparation = sketch.codec, self._preparation
        if codec in _AS_IT_IS:
            return sample.feeds
        assert preparation is not None
        assert sample.pixels is not None
        pixel_codec = PixelCodec(codec.value)
        raw = encode_pixels(sample.pixels, pixel_codec, sketch.quality_level or 90)
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
