"""Published tables: from their times and bytes the search must reach their cuts.

Butterfly: Eshratifar et al. 2019, Tables IV and V (ResNet-50, Jetson TX2, GTX 1080 Ti). The
compute share of each cut is derived from the three latencies of its column.
VGG-16: per-layer times measured by the Neurosurgeon re-implementation of Tjyy-1223.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise

import pytest

from edgewise.planning.search import best_split, evaluate
from edgewise.profiling.profile import EdgeProfile, NodeProfile, Profile

MBIT = 1e6 / 8  # bytes per second
PHOTO_BYTES = 224 * 224 * 3

BLOCK_BYTES = (3136,) * 3 + (1568,) * 4 + (980,) * 6 + (490,) * 3
BLOCK_MS = (
    *(0.95, 1.9, 2.7, 3.63, 4.53, 5.43, 6.33, 7.24),
    *(8.24, 9.07, 10.04, 10.74, 11.74, 12.55, 13.55, 14.42),
)
MOBILE_ONLY_MS = 15.7
LATENCY_MS = {
    1.1: (
        *(23.7, 24.7, 25.6, 15.0, 15.9, 16.8, 17.7, 14.3),
        *(15.4, 16.2, 17.1, 17.9, 18.8, 16.1, 17.1, 17.9),
    ),
    5.85: (
        *(5.2, 6.1, 6.9, 5.8, 6.7, 7.6, 8.5, 8.6),
        *(9.6, 10.5, 11.2, 12.1, 13.1, 13.1, 14.2, 15.1),
    ),
    18.88: (
        *(2.4, 3.3, 4.1, 4.3, 5.2, 6.1, 7.0, 7.7),
        *(8.6, 9.4, 10.7, 11.1, 12.2, 12.9, 13.8, 14.7),
    ),
}


def chain(names: list[str], device_s: list[float], cloud_s: list[float], sizes: list[int]):
    """A chain of layers; ``sizes`` are the bytes that each layer reads."""
    nodes = tuple(
        NodeProfile(name=name, device_s=d, cloud_s=c)
        for name, d, c in zip(names, device_s, cloud_s, strict=True)
    )
    edges = tuple(
        EdgeProfile(name=f"into {name}", producer=before, consumers=(name,), bytes=size)
        for before, name, size in zip([None, *names], names, sizes, strict=False)
    )
    return Profile(nodes=nodes, edges=edges)


def butterfly() -> Profile:
    names = [f"RB{k}" for k in range(1, 17)] + ["head"]
    cumulative = [0.0, *BLOCK_MS, MOBILE_ONLY_MS]
    device_s = [(b - a) / 1e3 for a, b in pairwise(cumulative)]
    # The server's share is inside the compute share of each cut, so it counts nothing by itself.
    return chain(names, device_s, [0.0] * 17, [PHOTO_BYTES, *BLOCK_BYTES])


def crossover_mbit(
    profile: Profile, low: float, high: float, changed: Callable[[tuple[str, ...]], bool]
) -> float:
    """The rate at which the best cut becomes ``changed``, by bisection."""
    for _ in range(40):
        middle = (low + high) / 2
        cut = best_split(profile, up_bytes_per_s=middle * MBIT, rtt_s=0.0).cut
        low, high = (low, middle) if changed(cut) else (middle, high)
    return low


@pytest.mark.parametrize("mbit", LATENCY_MS)
def test_butterfly_latencies_of_all_cuts_within_a_quarter_millisecond(mbit):
    profile = butterfly()
    names = [node.name for node in profile.nodes]
    for k, published_ms in enumerate(LATENCY_MS[mbit], start=1):
        split = evaluate(profile, names[:k], up_bytes_per_s=mbit * MBIT, rtt_s=0.0)
        assert split.payload_bytes == BLOCK_BYTES[k - 1]
        assert split.total_s * 1e3 == pytest.approx(published_ms, abs=0.25), names[k - 1]


@pytest.mark.parametrize(("mbit", "block"), [(1.1, "RB8"), (5.85, "RB1"), (18.88, "RB1")])
def test_butterfly_best_cuts_are_the_published_ones(mbit, block):
    split = best_split(butterfly(), up_bytes_per_s=mbit * MBIT, rtt_s=0.0)
    assert split.device_nodes[-1] == block


@pytest.mark.parametrize(
    ("published_mbit", "before", "after"),
    [(0.93, (), ("into RB9",)), (1.30, ("into RB9",), ("into RB5",)), (4.68, ("into RB5",), None)],
)
def test_butterfly_crossovers(published_mbit, before, after):
    profile = butterfly()
    mbit = crossover_mbit(
        profile, 0.9 * published_mbit, 1.1 * published_mbit, lambda cut: cut != before
    )
    assert mbit == pytest.approx(published_mbit, abs=0.005)
    beyond = best_split(profile, up_bytes_per_s=(mbit + 1e-6) * MBIT, rtt_s=0.0).cut
    assert beyond == (after or ("into RB2",))


# Edge and server time in ms, and values of what the layer reads (after pooling, where there is
# any), for the 13 convolutions.
VGG16 = (
    ((2.862, 0.352), 3 * 224**2),
    ((22.446, 1.291), 64 * 224**2),
    ((13.678, 0.597), 64 * 112**2),
    ((24.399, 1.105), 128 * 112**2),
    ((11.725, 0.701), 128 * 56**2),
    ((23.34, 1.183), 256 * 56**2),
    ((23.34, 1.183), 256 * 56**2),
    ((9.165, 0.864), 256 * 28**2),
    ((17.473, 1.552), 512 * 28**2),
    ((17.473, 1.552), 512 * 28**2),
    ((6.569, 0.565), 512 * 14**2),
    ((6.569, 0.565), 512 * 14**2),
    ((6.569, 0.565), 512 * 14**2),
)


def vgg16(value_bytes: int) -> Profile:
    names = [f"conv{k}" for k in range(1, 14)] + ["classifier"]
    device_s = [edge / 1e3 for (edge, _), _ in VGG16]
    cloud_s = [server / 1e3 for (_, server), _ in VGG16]
    sizes = [count * value_bytes for _, count in VGG16]
    sizes[0] = PHOTO_BYTES  # the photo is sent as 8-bit pixels
    # The table leaves the classifier out: it costs nothing, and its device time is unknown, so it
    # is kept off the device.
    return chain(names, [*device_s, 1e3], [*cloud_s, 0.0], [*sizes, 512 * 7**2 * value_bytes])


@pytest.mark.parametrize(("value_bytes", "published_mbit"), [(4, 2.31), (1, 5.78)])
def test_vgg16_crossover_from_after_pool5_to_the_cloud(value_bytes, published_mbit):
    profile = vgg16(value_bytes)
    mbit = crossover_mbit(
        profile,
        0.9 * published_mbit,
        1.1 * published_mbit,
        lambda cut: cut != ("into classifier",),
    )
    assert mbit == pytest.approx(published_mbit, abs=0.005)
    beyond = best_split(profile, up_bytes_per_s=(mbit + 1e-6) * MBIT, rtt_s=0.0)
    assert (beyond.cut, beyond.device_nodes) == (("into conv1",), ())


def test_vgg16_sums_are_the_published_ones():
    edge, server = (list(accumulate(row[0][side] for row in VGG16))[-1] for side in (0, 1))
    assert (edge, server) == (pytest.approx(185.6, abs=0.05), pytest.approx(12.07, abs=0.01))
