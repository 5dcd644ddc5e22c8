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
_SEED = 20_261_122
_NOISE = 24


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

    Every part runs twice: as it will run, and with a graph that the engine does not rewrite,
    which sums in another order with other kernels. The tolerance is four times the largest gap
    between the two, since other machines' kernels differ by more than two ways on one machine.
    It is at least 1e-3, one step of FP16 (2^-10) and far above what FP32 sums of some thousand
    terms differ by (1e-6 to 1e-5), and at most 1/4: beyond that a check would let all pass.
    INT8 networks need more than FP32 ones: the least difference before a rounding moves a value
    by a whole step.

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
            given = _run(raws[part.name], feeds, Optimisation.ALL)
            plain = _run(raws[part.name], feeds, Optimisation.NONE)
        except BadInput:  # made-up numbers may not go together as real ones do
            return None
        if not all(value.size and np.isfinite(value).all() for value in given.values()):
            return None
        gap = max([gap, *(largest_gap(given[name], plain[name]) for name in given)])
        tensors[part.name] = given
    tolerance = min(MOST_TOLERANCE, max(LEAST_TOLERANCE, _MARGIN * gap))
    return encode_probe(manifest, tensors), tolerance


def _in_running_order(manifest: Manifest) -> list[Part]:
    """Heads before the tails that run behind them."""
    behind = {r.server_part for r in manifest.routes if r.device_part is not None}
    return sorted(probed_parts(manifest), key=lambda part: part.name in behind)


def _run(raw: bytes, feeds: Feeds, optimisation: Optimisation) -> dict[str, Array]:
    with open_engine(raw, optimisation=optimisation) as engine:
        return engine.run(feeds)


def _pattern(preparation: ImagePreparation, rng: np.random.Generator) -> Pixels:
    """Waves of another length and direction in each channel: edges, surfaces, every brightness."""
    height, width, channels = preparation.pixels_shape
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    turns = rng.uniform(2.0, 9.0, (2, channels))
    waves = np.sin(2 * np.pi * (y[..., None] * turns[0] + x[..., None] * turns[1]))
    noise = rng.integers(-_NOISE, _NOISE, (height, width, channels))
    pixels: Pixels = np.clip(127.5 + 100.0 * waves + noise, 0, 255).astype(np.uint8)
    return pixels
