"""Bundles with a probe, true or with a wrong answer for some parts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgewise.bundle import (
    INPUT,
    Bundle,
    describe_probe,
    encode_probe,
    open_bundle,
    probe_feeds,
    read_probe,
    write_bundle,
)
from edgewise.engines import open_engine
from edgewise.planning.probing import build_probe
from session_bundles import image


def probed(bundle: Bundle, *, wrong: Collection[str] = (), version: int = 1) -> Bundle:
    """The bundle of the tiny network again, with a probe.

    Args:
        bundle: rewritten in its place.
        wrong: parts whose stored answer is not what they give: as on a machine whose engine is
            broken.
        version: of the bundle.
    """
    manifest = replace(bundle.manifest, version=version, probe=None)
    raws = {part.name: bundle.read_part(part.name) for part in manifest.parts}
    built = build_probe(manifest, raws, {"image": image()})
    assert built is not None
    raw, tolerance = built
    true = replace(manifest, probe=describe_probe(raw, tolerance=tolerance))
    written = write_bundle(bundle.path, true, raws, probe=raw)
    if not wrong:
        return written
    stored = read_probe(written)
    assert stored is not None
    assert set(wrong) <= set(stored.tensors) - {INPUT}
    tensors = {
        owner: {name: _twice(array) if owner in wrong else array for name, array in held.items()}
        for owner, held in stored.tensors.items()
    }
    for route in manifest.routes:  # the tails behind answer to what is stored of their heads
        if route.device_part in wrong and route.server_part is not None:
            tail = manifest.part(route.server_part)
            with open_engine(raws[tail.name]) as engine:
                tensors[tail.name] = engine.run(probe_feeds(manifest, tail, tensors))
    raw = encode_probe(manifest, tensors)
    false = replace(manifest, probe=describe_probe(raw, tolerance=tolerance))
    return write_bundle(bundle.path, false, raws, probe=raw)


def device_copy(bundle: Bundle, folder: Path) -> Bundle:
    """What a device has of a bundle."""
    folder.mkdir()
    for name in ("bundle.json", *(file.path for file in bundle.manifest.device_files)):
        (folder / name).write_bytes((bundle.path / name).read_bytes())
    return open_bundle(folder)


def _twice(array: np.ndarray) -> np.ndarray:
    return (array * 2).astype(array.dtype)
