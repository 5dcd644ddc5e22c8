"""The recipe that turns a photo into a network's input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgewise.errors import BadInput

_MAX_SIDE = 4096
_REMEDY = "correct the preparation in the model's metadata"
CHANNELS: Mapping[str, int] = {"RGB": 3, "L": 1}
RESAMPLES = ("bicubic", "bilinear")
LAYOUTS = ("CHW", "HWC")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePreparation:
    """How a photo becomes a network's input.

    A square with side ``floor(crop_fraction x shorter side)`` is cut from the middle (an odd
    remainder leaves one more row or column at the bottom or the right), resized to
    ``height x width`` in 8 bits, and each channel becomes ``(pixel - mean) / scale``.

    Args:
        input: the name of the network's input.
        height: rows, 1 to 4096.
        width: columns, 1 to 4096.
        mode: ``RGB`` or ``L`` (grey).
        crop_fraction: side of the square over the photo's shorter side, in (0, 1].
        resample: ``bicubic`` or ``bilinear``.
        mean: one value per channel, in units of the pixel (0 to 255).
        scale: one value per channel, greater than 0.
        layout: ``CHW`` or ``HWC``.

    Raises:
        BadInput: when a field is outside these limits.

    >>> grey = ImagePreparation(input="image", height=28, width=28, mode="L", mean=(0.0,),
    ...                         scale=(255.0,))
    >>> grey.shape
    (1, 1, 28, 28)
    """

    input: str
    height: int
    width: int
    mode: str = "RGB"
    crop_fraction: float = 1.0
    resample: str = "bicubic"
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    layout: str = "CHW"

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_sizes(self)
        _check_channels(self)

    @property
    def channels(self) -> int:
        """Channels of the prepared pixels."""
        return CHANNELS[self.mode]

    @property
    def pixels_shape(self) -> tuple[int, int, int]:
        """The shape of the 8-bit pixels: height, width, channels."""
        return (self.height, self.width, self.channels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the prepared tensor, batch 1."""
        height, width, channels = self.pixels_shape
        if self.layout == "CHW":
            return (1, channels, height, width)
        return (1, height, width, channels)


def crop_box(width: int, height: int, crop_fraction: float) -> tuple[int, int, int, int]:
    """The centre square that is kept: left, top, right, bottom, in pixels.

    The side is rounded down, as in the preprocessing that EfficientNet-Lite was trained with
    (tensorflow/tpu, ``_decode_and_center_crop``); the offsets are rounded down as well.

    >>> crop_box(384, 288, 0.875)
    (66, 18, 318, 270)
    """
    # A fraction such as 240/272 of 272 must give 240 although the product may fall just short.
    side = max(1, math.floor(crop_fraction * min(width, height) + 1e-6))
    left, top = (width - side) // 2, (height - side) // 2
    return (left, top, left + side, top + side)


def _check_choices(preparation: ImagePreparation) -> None:
    choices = {
        "mode": (preparation.mode, tuple(CHANNELS)),
        "resample": (preparation.resample, RESAMPLES),
        "layout": (preparation.layout, LAYOUTS),
    }
    for name, (value, known) in choices.items():
        if value not in known:
            raise BadInput(
                expected=f"{name} {' or '.join(known)} in the preparation",
                found=repr(value),
                remedy=_REMEDY,
            )
    if not preparation.input:
        raise BadInput(
            expected="the name of the network's input in the preparation",
            found="an empty name",
            remedy=_REMEDY,
        )


def _check_sizes(preparation: ImagePreparation) -> None:
    for name, size in (("height", preparation.height), ("width", preparation.width)):
        if not 1 <= size <= _MAX_SIDE:
            raise BadInput(
                expected=f"{name} from 1 to {_MAX_SIDE} in the preparation",
                found=str(size),
                remedy=_REMEDY,
            )
    if not 0 < preparation.crop_fraction <= 1:
        raise BadInput(
            expected="crop_fraction above 0 and at most 1 in the preparation",
            found=str(preparation.crop_fraction),
            remedy=_REMEDY,
        )


def _check_channels(preparation: ImagePreparation) -> None:
    for name, values in (("mean", preparation.mean), ("scale", preparation.scale)):
        if len(values) != preparation.channels or not all(map(math.isfinite, values)):
            raise BadInput(
                expected=f"{preparation.channels} finite values of {name} "
                f"for mode {preparation.mode} in the preparation",
                found=str(list(values)[:8]),
                remedy=_REMEDY,
            )
    if min(preparation.scale) <= 0:
        raise BadInput(
            expected="scale above 0 in the preparation",
            found=str(list(preparation.scale)),
            remedy=_REMEDY,
        )
