"""Fashion-MNIST: read the files, hold a part out, draw class-balanced parts, normalise.

Data: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms", arXiv:1708.07747 (2017); MIT licence, Zalando SE; Debian package
`dataset-fashion-mnist`. The file format is IDX: a big-endian magic number with the rank in its
last byte, the sizes, then the bytes (http://yann.lecun.com/exdb/mnist/, "FILE FORMATS FOR THE
MNIST DATABASE").
"""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

DEFAULT_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package puts the four files."""

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
MEAN = 72.94
"""Mean pixel (0..255) of the training images."""
SCALE = 90.02
"""Standard deviation of a pixel (0..255) of the training images."""
HELD_OUT = 5_000
"""The last so many training images are never fitted; they choose epochs and calibrate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Images `[n, 28, 28]` and their classes `[n]`."""

    images: Bytes
    labels: Bytes

    def take(self, chosen: slice | NDArray[np.int64]) -> Part:
        """The chosen images, in the order given."""
        return Part(images=self.images[chosen], labels=self.labels[chosen])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fashion:
    """Three disjoint parts: `fit` trains weights, `held_out` chooses, `test` is looked at once."""

    fit: Part
    held_out: Part
    test: Part


def read_idx(path: Path) -> Bytes:
    """An IDX file of unsigned bytes as an array."""
    raw = gzip.decompress(path.read_bytes())
    _, kind, rank = struct.unpack(">HBB", raw[:4])
    if kind != 8:
        raise ValueError(f"{path.name}: expected unsigned bytes (kind 8), found kind {kind}")
    shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_part(folder: Path, stem: str) -> Part:
    """The images and labels whose file names start with `stem`."""
    return Part(
        images=read_idx(folder / f"{stem}-images-idx3-ubyte.gz"),
        labels=read_idx(folder / f"{stem}-labels-idx1-ubyte.gz"),
    )


def read_fashion(folder: Path = DEFAULT_FOLDER) -> Fashion:
    """All three parts; the held-out one is the end of the training images."""
    train = read_part(folder, "train")
    return Fashion(
        fit=train.take(slice(None, -HELD_OUT)),
        held_out=train.take(slice(-HELD_OUT, None)),
        test=read_part(folder, "t10k"),
    )


def balanced(part: Part, per_class: int, seed: int) -> Part:
    """`per_class` images of each class, drawn without replacement, in a mixed order."""
    random = np.random.default_rng(seed)
    chosen = [
        random.choice(np.flatnonzero(part.labels == label), per_class, replace=False)
        for label in range(len(LABELS))
    ]
    return part.take(random.permutation(np.concatenate(chosen)))


def shipped_test(fashion: Fashion) -> Part:
    """The 2 000 test images, 200 of each class, that are shipped as examples."""
    return balanced(fashion.test, per_class=200, seed=20_261_121)


def shipped_train(fashion: Fashion) -> Part:
    """The 600 held-out training images, 60 of each class, that are shipped as examples."""
    return balanced(fashion.held_out, per_class=60, seed=20_261_122)


def normalised(images: Bytes) -> NDArray[np.float32]:
    """`[n, 28, 28]` bytes as the `[n, 1, 28, 28]` floats the networks take."""
    return ((images.astype(np.float32) - np.float32(MEAN)) / np.float32(SCALE))[:, None]
