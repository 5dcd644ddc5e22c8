"""The networks of the zoo that nobody trained: for timing and planning only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from edgewise.preparation import ImagePreparation
from edgewise.progress import Progress
from edgewise.zoo.entry import ZooEntry
from edgewise.zoo.wheels import WheelPin, fetch_wheel, read_member

_MAX_ARCHITECTURE_BYTES = 1_000_000
LIGHT_BUILDER = 1
"""Raise it whenever ``light_architectures.py`` or ``random_weights.py`` writes other bytes."""
DECODER_BUILDER = 1
"""Likewise for ``decoder.py``, ``transformer.py`` and ``random_weights.py``."""

_ONNX_FOLDER = "onnx/backend/test/data/light"
# Of any platform's wheel: the architectures are the same files in all of them.
_ONNX_WHEEL = WheelPin(
    name="onnx",
    version="1.23.2",
    sha256="c03ecf6b835d136108eeaeeafbd0026fc7b3cf98661409fbc6b63d5a29361348",
    size_bytes=8_886_609,
    platform=("3.11", "cp", "cp311", "manylinux_2_28_x86_64"),
)
_ONNX_EVIDENCE = "ONNX is licensed under the Apache License, Version 2.0 (see LICENSE)."
_OWN_EVIDENCE = "Built and filled with random weights by this project, under its own licence."
_FIGURES = "random weights: timing and planning only, never accuracy or agreement"
_PREPARATION = ImagePreparation(
    input="image",
    height=224,
    width=224,
    mode="RGB",
    crop_fraction=0.875,
    resample="bilinear",
    # Mean and standard deviation of ImageNet's pixels, as most networks for 224 x 224 use them.
    mean=(123.675, 116.28, 103.53),
    scale=(58.395, 57.12, 57.375),
    layout="CHW",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LightArchitecture:
    """An architecture of the onnx package, filled with random weights.

    The installed package is read, as long as its file has the digest known here: building then
    takes no network. With another onnx, the file comes from the pinned wheel.

    Args:
        file: its name in the package.
        sha256: the digest of the file.
        last: see ``Taming``.
        variance: see ``Taming``.
    """

    file: str
    sha256: str
    last: float
    variance: float = 1.0

    def fingerprint(self) -> str:
        """The architecture, what tames it, and the version of the builder."""
        return f"{self.sha256} {self.last} {self.variance} builder {LIGHT_BUILDER}"

    def build(
        self,
        name: str,
        metadata: Mapping[str, str],
        target: Path,
        *,
        cache: Path,
        progress: Progress,
    ) -> None:
        """Read the architecture, write it with its weights, about 4 MiB at a time.

        Raises:
            ImportError: when the onnx package is not installed.
            BadInput: when it is not the pinned one and that cannot be fetched.
        """
        from edgewise.zoo.light_architectures import Taming, rebuild
        from edgewise.zoo.streamed_onnx import write_streamed

        data = self._installed()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            wheel = fetch_wheel(_ONNX_WHEEL, cache=cache, progress=progress)
            data = read_member(
                wheel, f"{_ONNX_FOLDER}/{self.file}", max_bytes=_MAX_ARCHITECTURE_BYTES
            )
        taming = Taming(last=self.last, variance=self.variance)
        model, weights = rebuild(data, name=name, taming=taming, metadata=metadata)
        write_streamed(model, weights, target, progress=progress, what=f"building {name}")

    def _installed(self) -> bytes:
        """The file in the installed package, or nothing."""
        package, _, folder = _ONNX_FOLDER.partition("/")
        try:
            return files(package).joinpath(*folder.split("/"), self.file).read_bytes()
        except OSError:
            return b""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomDecoder:
    """A decoder with a cache of keys and values, filled with random weights."""

    def fingerprint(self) -> str:
        """The version of the builder."""
        return f"decoder builder {DECODER_BUILDER}"

    def build(
        self,
        name: str,
        metadata: Mapping[str, str],
        target: Path,
        *,
        cache: Path,
        progress: Progress,
    ) -> None:
        """Write it.

        Raises:
            ImportError: when the onnx package is not installed.
        """
        from edgewise.zoo.decoder import SMALL, build_decoder

        progress(f"building {name}", 0, 1)
        model = build_decoder(SMALL, name=name, metadata=metadata)
        target.write_bytes(model.SerializeToString(deterministic=True))
        progress(f"building {name}", 1, 1)


_LIGHT: Mapping[str, tuple[int, LightArchitecture]] = {
    "light-alexnet": (
        243_863_800,
        LightArchitecture(
            file="light_bvlc_alexnet.onnx",
            sha256="2afa78cef5a88aed9d6e3d63fb92bd330c9177ac150d19189c6b3e7204ba0212",
            last=0.85,
        ),
    ),
    "light-densenet121": (
        32_738_000,
        LightArchitecture(
            file="light_densenet121.onnx",
            sha256="49ddb5712797d6164f1d864bedaad927de4f3909ad1b4ba390a92c2f8150e9f6",
            last=5.0,
        ),
    ),
    "light-inception-v1": (
        28_020_000,
        LightArchitecture(
            file="light_inception_v1.onnx",
            sha256="bb7a0e6c370c709f5615eeef961b43628de13d0009ae4d6f4bfb0d5aea5d8270",
            last=10.0,
        ),
    ),
    "light-inception-v2": (
        45_051_000,
        LightArchitecture(
            file="light_inception_v2.onnx",
            sha256="224d77d55b26559a959db627c3f417a623fbf3b3000d25f0939327aa935d933f",
            last=0.7,
        ),
    ),
    "light-resnet50": (
        102_478_000,
        LightArchitecture(
            file="light_resnet50.onnx",
            sha256="05e77a5c9c9ce0913f549a50d6ebaced5e0ff6817b61e09bae26e4c5bd9055e4",
            last=2.0,
            variance=3.0,
        ),
    ),
    "light-shufflenet": (
        5_716_000,
        LightArchitecture(
            file="light_shufflenet.onnx",
            sha256="c6f406d62be36d6b4572542c0950a2abd59f56237068793290680bba89fbafe5",
            last=0.35,
            variance=4.0,
        ),
    ),
    "light-squeezenet": (
        4_952_000,
        LightArchitecture(
            file="light_squeezenet.onnx",
            sha256="770b0f3c8623e18bf58b53754d710051b4c268248422142980a132bbe6dfe908",
            last=5.0,
        ),
    ),
    "light-vgg19": (
        574_675_000,
        LightArchitecture(
            file="light_vgg19.onnx",
            sha256="8e547d732b3a3d66eeb8fa64a026adb994d3db552f0bbd52e436d06300d89afe",
            last=0.7,
        ),
    ),
    "light-zfnet512": (
        349_005_000,
        LightArchitecture(
            file="light_zfnet512.onnx",
            sha256="6444bb58b98c3d14f551a3bdb83eea9e5db7e147790db3115c447e9c9a8338b0",
            last=2.5,
        ),
    ),
}
"""Size of the ONNX file in bytes, and what it is built from."""


def untrained_entries() -> tuple[ZooEntry, ...]:
    """The entries with random weights.

    >>> len(untrained_entries()), {entry.trained for entry in untrained_entries()}
    (10, {False})
    """
    light = (_light(name, size_bytes, recipe) for name, (size_bytes, recipe) in _LIGHT.items())
    return (*light, _decoder())


def _light(name: str, size_bytes: int, recipe: LightArchitecture) -> ZooEntry:
    return ZooEntry(
        name=name,
        kind="image classifier",
        size_bytes=size_bytes,
        licence="Apache-2.0",
        licence_evidence=_ONNX_EVIDENCE,
        licence_file="onnx-1.23.2.dist-info/licenses/NOTICE",
        source=f"the architecture of {_ONNX_FOLDER}/{recipe.file} in the PyPI package onnx",
        preparation=_PREPARATION,
        trained=False,
        figures=_FIGURES,
        recipe=recipe,
    )


def _decoder() -> ZooEntry:
    return ZooEntry(
        name="decoder-small",
        kind="text decoder",
        size_bytes=30_094_000,
        licence="Apache-2.0",
        licence_evidence=_OWN_EVIDENCE,
        licence_file="LICENSE",
        source="built by this project: 4 layers, 4 heads, 256 wide, as GPT-2 is",
        trained=False,
        figures=_FIGURES,
        recipe=RandomDecoder(),
    )
