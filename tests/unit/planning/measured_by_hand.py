"""Measurements of the small networks that nobody measured: every time is stated."""

from __future__ import annotations

from edgewise.bundle import PayloadCodec
from edgewise.graphs import Model, find_cuts
from edgewise.planning.candidates import pixel_keys
from edgewise.planning.measuring import Measurements, NodeCost, PixelCost
from edgewise.profiling import NOTHING, Segments, Timing


def took(seconds: float, *, spread: float = 0.1) -> Timing:
    return Timing(
        median_s=seconds,
        low_s=seconds * (1 - spread),
        high_s=seconds * (1 + spread),
        runs=9,
    )


def by_hand(
    model: Model,
    *,
    whole_s: float = 0.1,
    pixels: bool = False,
    nodes: NodeCost | None = None,
    encoded_bytes: float = 1000.0,
) -> Measurements:
    """Heads grow evenly from nothing to the whole, tails shrink as much."""
    cuts = find_cuts(model)
    share = 1 / (len(cuts) + 1)
    keys = pixel_keys((85, 90)) if pixels else ()
    cost = nodes or NodeCost()
    coded = {PayloadCodec.FP16: cost, PayloadCodec.INT8: cost}
    return Measurements(
        whole={"full": took(whole_s)},
        cuts={"full": cuts},
        segments={
            "full": tuple(
                Segments(
                    head=took(whole_s * share * (i + 1)),
                    tail=took(whole_s * (1 - share * (i + 1))),
                )
                for i in range(len(cuts))
            )
        },
        encode_nodes={PayloadCodec.FP32: NodeCost(), **coded},
        decode_nodes={PayloadCodec.FP32: NodeCost(), **coded},
        pixels={
            key: PixelCost(encode=took(0.002), decode=took(0.003), mean_bytes=encoded_bytes)
            for key in keys
        },
        normalise=took(0.001) if pixels else NOTHING,
    )
