"""The two Fashion-MNIST networks of our own, and the labelled images that ship with them."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgewise.preparation import ImagePreparation
from edgewise.zoo.entry import ZooEntry
from edgewise.zoo.recipes import ShippedOnnx
from edgewise.zoo.shipped import shipped_bytes

LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

_PREPARATION = ImagePreparation(
    input="image",
    height=28,
    width=28,
    mode="L",
    crop_fraction=1.0,
    resample="bicubic",
    # Mean and standard deviation of the pixels of the 60 000 training images.
    mean=(72.94,),
    scale=(90.02,),
    layout="CHW",
)
_EVIDENCE = """\
Weights trained by this project, under its own licence. Data: Fashion-MNIST, \
"The MIT License (MIT) Copyright (c) 2017 Zalando SE, https://tech.zalando.com"."""
_SOURCE = "trained by benchmarks/training of this project on Fashion-MNIST (arXiv:1708.07747)"
_FIGURES = (
    "accuracy on Fashion-MNIST, on the 2 000 test images shipped or on all 10 000; size and time"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FashionExamples:
    """Labelled images of Fashion-MNIST: train to calibrate and select, test to report.

    Args:
        test_images: [2000, 28, 28] grey pixels, 0 to 255.
        test_labels: [2000] indices into ``LABELS``.
        train_images: [600, 28, 28] grey pixels, on which no weight was fitted.
        train_labels: [600] indices into ``LABELS``.
    """

    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]


def fashion_examples() -> FashionExamples:
    """The labelled images that ship with the package.

    Raises:
        BadInput: when the installed package lacks them.

    >>> fashion_examples().test_images.shape
    (2000, 28, 28)
    """
    with np.load(io.BytesIO(shipped_bytes("fashion/examples.npz")), allow_pickle=False) as arrays:
        return FashionExamples(**arrays)


def fashion_entry(name: str) -> ZooEntry:
    """The entry of one of the two networks."""
    return ZooEntry(
        name=name,
        kind="image classifier",
        size_bytes=len(shipped_bytes(f"fashion/{name}.onnx")),
        licence="Apache-2.0",
        licence_evidence=_EVIDENCE,
        licence_file="src/edgewise/zoo/assets/fashion/LICENSE-fashion-mnist",
        source=_SOURCE,
        preparation=_PREPARATION,
        labels=LABELS,
        figures=_FIGURES,
        recipe=ShippedOnnx(path=f"fashion/{name}.onnx"),
    )
