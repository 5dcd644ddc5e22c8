"""One input of a request, in whichever form a route needs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgewise.bundle import Manifest, PayloadCodec, Route
from edgewise.engines import Pace
from edgewise.errors import BadInput
from edgewise.preparation import (
    ImagePreparation,
    PixelCodec,
    Pixels,
    encode_pixels,
    normalise,
    open_pixels,
    read_preparation,
)
from edgewise.running.texts import TextReader
from edgewise.tensors import Array, Feeds, TensorSpec, check_array

Input = Path | str | bytes | Array | Mapping[str, Array]

PIXEL_CODECS: Mapping[PayloadCodec, PixelCodec] = {
    PayloadCodec.PNG: PixelCodec.PNG,
    PayloadCodec.JPEG: PixelCodec.JPEG,
    PayloadCodec.WEBP: PixelCodec.WEBP,
}


class Content:
    """One input: prepared pixels, the model's own tensors, or both.

    Args:
        feeds: the model's inputs by name, made when first asked for.
        pixels: the cropped, resized 8-bit pixels when the input is a picture.
        pace: the pace of the device that does the work.
        note: what of the input was lost, in words; empty when nothing was.
    """

    def __init__(
        self,
        feeds: Callable[[], Feeds],
        *,
        pixels: Pixels | None = None,
        pace: Pace,
        note: str = "",
    ) -> None:
        self.note = note
        self._make_feeds = feeds
        self._feeds: Feeds | None = None
        self._pixels = pixels
        self._pace = pace

    def suits(self, route: Route) -> bool:
        """Whether the route can take this input: encoded pixels need a picture."""
        return route.codec not in PIXEL_CODECS or self._pixels is not None

    def feeds(self) -> Feeds:
        """The model's inputs by name."""
        if self._feeds is None:
            self._feeds = self._pace.run(self._make_feeds)
        return self._feeds

    def kept(self) -> Content:
        """The same input, safe from what its owner does with the arrays later."""
        if self._pixels is not None:
            return self  # decoded from the photo, so nobody else's
        feeds = {name: array.copy() for name, array in self.feeds().items()}
        return Content(lambda: feeds, pace=self._pace, note=self.note)

    def encoded(self, route: Route) -> dict[str, Array]:
        """The tensors that a cloud route sends."""
        codec = PIXEL_CODECS.get(route.codec)
        if codec is None or self._pixels is None:
            return {bound.name: self.feeds()[bound.name] for bound in route.boundary}
        (bound,) = route.boundary
        pixels = self._pixels
        raw = self._pace.run(lambda: encode_pixels(pixels, codec, route.quality_level or 90))
        return {bound.name: np.frombuffer(raw, np.uint8)}


class InputReader:
    """Turns what a caller has into :class:`Content`, as the bundle's manifest says.

    Args:
        manifest: of the bundle.
        pace: the pace of the device that does the work.
    """

    def __init__(self, manifest: Manifest, pace: Pace) -> None:
        self._inputs = {spec.name: spec for spec in _specs(manifest)}
        self._pace = pace
        self._preparation: ImagePreparation | None = None
        self._texts: TextReader | None = None
        if manifest.preparation is not None:
            preparation = read_preparation(json.dumps(manifest.preparation))
            if isinstance(preparation, ImagePreparation):
                self._preparation = preparation
            elif manifest.tokenizer is not None:
                self._texts = TextReader(preparation, manifest.tokenizer, manifest.inputs)

    def read(self, value: Input) -> Content:
        """Check and prepare one input.

        Args:
            value: a photo (path, file bytes, or 8-bit pixels H x W x C), a text if the network
                reads texts, the single input tensor, or all inputs by name.

        Raises:
            BadInput: when it does not fit the model.
        """
        if isinstance(value, Mapping):
            return self._from_feeds(value)
        if isinstance(value, np.ndarray):
            return self._from_array(value)
        if self._texts is not None:
            return self._from_text(value, self._texts)
        if isinstance(value, Path | str | bytes):
            return self._from_photo(value)
        raise _not_an_input("a photo (path, bytes or pixels), an array, or arrays by name", value)

    def _from_feeds(self, feeds: Feeds) -> Content:
        if sorted(feeds) != sorted(self._inputs):
            raise BadInput(
                expected=f"the inputs {', '.join(self._inputs)}",
                found=", ".join(map(str, feeds)) or "none",
                remedy="name each input as the model does",
            )
        for name, spec in self._inputs.items():
            if not isinstance(feeds[name], np.ndarray):
                raise _not_an_input(f"an array for the input {name!r}", feeds[name])
            check_array(feeds[name], spec)
        return Content(lambda: feeds, pace=self._pace)

    def _from_array(self, value: Array) -> Content:
        if value.dtype == np.uint8 and self._preparation is not None:
            return self._from_photo(value.astype(np.uint8, copy=False))
        return self._from_feeds({self._only_input(): value})

    def _from_photo(self, value: Path | str | bytes | Pixels) -> Content:
        preparation = self._preparation
        if preparation is None:
            raise BadInput(
                expected=f"arrays for the inputs {', '.join(self._inputs)}",
                found=f"a {type(value).__name__}, and the bundle does not say how to prepare it",
                remedy="pass arrays, or plan a model that has edgewise.preparation metadata",
            )
        source = Path(value) if isinstance(value, str) else value
        pixels = open_pixels(source, preparation)
        name = preparation.input
        return Content(
            lambda: {name: normalise(pixels, preparation)}, pixels=pixels, pace=self._pace
        )

    def _from_text(self, value: object, texts: TextReader) -> Content:
        if not isinstance(value, str):
            raise BadInput(
                expected="a text, or arrays by the names of the inputs",
                found=f"a value of type {type(value).__name__}, and this network reads text",
                remedy="pass the text itself as a str",
            )
        tokens = self._pace.run(lambda: texts.read(value))
        feeds = texts.feeds(tokens)
        return Content(lambda: feeds, pace=self._pace, note=texts.note(tokens))

    def _only_input(self) -> str:
        if len(self._inputs) != 1:
            raise BadInput(
                expected=f"a mapping with the inputs {', '.join(self._inputs)}",
                found="a single array",
                remedy="pass each input by its name",
            )
        return next(iter(self._inputs))


def _specs(manifest: Manifest) -> Sequence[TensorSpec]:
    """What one request may hold: what crosses the link has the size of one example."""
    if not any(route.server_part for route in manifest.routes):
        return manifest.inputs
    return [replace(spec, shape=spec.concrete()) for spec in manifest.inputs]


def _not_an_input(expected: str, value: object) -> BadInput:
    return BadInput(
        expected=expected,
        found=f"a value of type {type(value).__name__}",
        remedy="pass arrays as numpy.ndarray",
    )
