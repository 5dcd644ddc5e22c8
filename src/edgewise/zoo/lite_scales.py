"""The sizes of EfficientNet-Lite.

Source: github.com/tensorflow/tpu, models/official/efficientnet/lite/efficientnet_lite_builder.py.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteScale:
    """How an EfficientNet-Lite differs from Lite0.

    Args:
        width: factor of the channels.
        depth: factor of the repeats of a stage.
        resolution: height and width of the input in pixels.

    >>> LITE1.resolution
    240
    """

    width: float
    depth: float
    resolution: int


LITE0 = LiteScale(width=1.0, depth=1.0, resolution=224)
LITE1 = LiteScale(width=1.0, depth=1.1, resolution=240)
LITE2 = LiteScale(width=1.1, depth=1.2, resolution=260)
