"""A made-up input and what every part of a bundle gives on it, for its probe."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgewise.bundle import (
    INPUT,
    Manifest,
    Part,
    encode_probe,
    largest_gap,
    probe_feeds,
    probed_parts,
)
from edgewise.engines import Optimisation, open_engine
from edgewise.errors import BadInput
from edgewise.graphs import PREPARATION_KEY, Model, random_feeds
from edgewise.preparation import ImagePreparation, Pixels, normalise, read_preparation
from edgewise.tensors import Array, Feeds

LEAST_TOLERANCE = 1e-3
MOST_TOLERANCE = 0.25
_MARGIN = 4.0
_SEED = 0
_NOISE = 24
_NUDGE, _NUDGES = 1e-4, 3


def probe_input(full: Model) -> dict[str, Array]:
    """An input of the whole network that is nobody's: the same one for the same network.

    Nothing of the examples is in it, since a bundle goes to every device. For a network of
    pictures it is a coloured pattern with some noise, prepared as a photo is.

    Args:
        full: the original network.
    """
    rng = np.random.default_rng(_SEED)
    feeds = random_feeds(full, rng)
    text = full.metadata.get(PREPARATION_KEY)
    preparation = None if text is None else read_preparation(text)
    if isinstance(preparation, ImagePreparation):
        feeds[preparation.input] = normalise(_pattern(preparation, rng), preparation)
    return feeds


def build_probe(
    manifest: Manifest, raws: Mapping[str, bytes], inputs: Feeds
) -> tuple[bytes, float] | None:
    """The probe's bytes and its tolerance; ``None`` when a part gives no finite numbers on it.

    Another machine has other kernels, which sum in another order. To see what that may change,
    every part also runs with a graph that the engine does not rewrite, and three times with
    inputs a random 1e-4 away. The tolerance is four times the largest gap that any of these
    makes, since they are few; at least 1e-3, one step of FP16 (2^-10); and at most 1/4, beyond
    which a check would let anything pass. Measured on the zoo's image classifiers, of the
    largest output: kernels change FP32 networks by 2e-7 to 6e-7 and INT8 ones by up to 2e-2,
    inputs 1e-4 away change INT8 ones by up to 2.4e-2: a value that was about to be rounded up
    is rounded down, and moves by a whole step.

    Args:
        manifest: of the bundle, as far as it is known.
        raws: the bytes of each part by its name.
        inputs: of the whole network.
    """
    tensors: dict[str, Feeds] = {INPUT: inputs}
    gap = 0.0
    for part in _in_running_order(manifest):
        feeds = probe_feeds(manifest, part, tensors)
        try:
            given, *others = _run_variously(raws[part.name], feeds)
        except BadInput:  # made-up numbers may not go together as real ones do
            return None
        if not all(value.size and np.isfinite(value).all() for value in given.values()):
            return None
        gaps = (largest_gap(given[name], other[name]) for other in others for name in given)
        gap = max(gap, *gaps)
        tensors[part.name] = given
    tolerance = min(MOST_TOLERANCE, max(LEAST_TOLERANCE, _MARGIN * gap))
    return encode_probe(manifest, tensors), tolerance


def _in_running_order(manifest: Manifest) -> list[Part]:
    """Heads before the tails that run behind them."""
    behind = {r.server_part for r in manifest.routes if r.device_part is not None}
    return sorted(probed_parts(manifest), key=lambda part: part.name in behind)


def _run_variously(raw: bytes, feeds: Feeds) -> list[dict[str, Array]]:
    """The answer, and then those that other machines might give."""
    rng = np.random.default_rng(_SEED)
    with open_engine(raw) as engine:
        results = [engine.run(feeds), *(engine.run(_nudged(feeds, rng)) for _ in range(_NUDGES))]
    with open_engine(raw, optimisation=Optimisation.NONE) as engine:
        return [*results, engine.run(feeds)]


def _nudged(feeds: Feeds, rng: np.random.Generator) -> dict[str, Array]:
    return {name: _nudge(array, rng) for name, array in feeds.items()}


def _nudge(array: Array, rng: np.random.Generator) -> Array:
    if not np.issubdtype(array.dtype, np.floating):
        return array
    factor = 1 + _NUDGE * rng.uniform(-1, 1, array.shape)
    return (array.astype(np.float64) * factor).astype(array.dtype)


def _pattern(preparation: ImagePreparation, rng: np.random.Generator) -> Pixels:
    """Waves of another length and direction in each channel: edges, surfaces, every brightness."""
    height, width, channels = preparation.pixels_shape
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    turns = rng.uniform(2.0, 9.0, (2, channels))
    waves = np.sin(2 * np.pi * (y[..., None] * turns[0] + x[..., None] * turns[1]))
    noise = rng.integers(-_NOISE, _NOISE, (height, width, channels))
    pixels: Pixels = np.clip(127.5 + 100.0 * waves + noise, 0, 255).astype(np.uint8)
    return pixels
