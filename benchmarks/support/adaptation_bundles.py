"""Bundles of EfficientNet-Lite0 for benchmarks/adaptation.py, one for each device."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgewise.bundle import Bundle
from edgewise.catalog import load_cloud, load_device, load_link
from edgewise.examples import demo_photos, load_examples
from edgewise.graphs import PREPARATION_KEY, load
from edgewise.planning import (
    Limits,
    Target,
    begin_study,
    build_bundle,
    routes_of,
    take_samples,
)
from edgewise.preparation import Pixels, read_image_preparation
from edgewise.shrinking import quantize
from edgewise.specs import DeviceSpec
from edgewise.zoo import get

SHARED = Path(__file__).resolve().parents[3] / "shared"
PHOTOS = Path(os.environ.get("EDGEWISE_IMAGENET") or SHARED / "data" / "imagenet-500")
LINKS = ("3g", "lte", "wifi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipped:
    """A device, and the bundle that was planned for it."""

    device: DeviceSpec
    bundle: Bundle


def plan_bundles(
    folder: Path, slowdowns: Mapping[str, float], *, photos: int
) -> tuple[list[Equipped], Sequence[Pixels]]:
    """Plan for 3G, LTE and Wi-Fi on each device, once with and once without sending the photo.

    As ``edgewise plan efficientnet-lite0 --int8 --link 3g --link lte --link wifi -o BUNDLE``
    does, but everything is measured once for all devices.

    Args:
        folder: for the bundles.
        slowdowns: of the devices, by name.
        photos: how many at most the stated accuracies come from.

    Returns:
        The bundles, and the photos that their accuracies come from.
    """
    model = load(get("efficientnet-lite0"))
    preparation = read_image_preparation(model.metadata[PREPARATION_KEY])
    source = PHOTOS if PHOTOS.exists() else demo_photos()[0].parent
    examples = load_examples(source, preparation)
    samples = take_samples(examples.split(calibrate=0.27, select=0.33), report=photos)
    int8, _ = quantize(model, [sample.feeds for sample in samples.calibrate])
    variants = {"full": model, "int8": int8}
    study = begin_study(variants, samples, preparation=preparation)
    phone, cloud = load_device("slow-phone"), load_cloud("this-machine")
    equipped = []
    for name, slowdown in slowdowns.items():
        device = replace(phone, name=name, slowdown=slowdown)
        targets = [
            (Target(device=device, link=load_link(link), cloud=cloud), Limits(raw_input_stays=s))
            for s in (False, True)
            for link in LINKS
        ]
        routes = routes_of(study.plans(targets))
        bundle = build_bundle(folder / name.replace(" ", "-"), routes, variants, samples)
        equipped.append(Equipped(device=device, bundle=bundle))
    return equipped, [s.pixels for s in samples.report if s.pixels is not None]
