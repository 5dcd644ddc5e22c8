"""Plans and answers made by hand, for whatever shows them."""

from __future__ import annotations

import numpy as np

from edgewise.bundle import Coefficients, PayloadCodec, Quality, Route, RouteKind
from edgewise.cost import Cost, Evidence, Forecast
from edgewise.planning import Candidate, Limits, Objective, Plan, Sketch, Target
from edgewise.running import Answer, InferenceSource
from edgewise.specs import CloudSpec, DeviceSpec, LinkSpec, Provenance
from edgewise.trace import Span, SpanKind, Trace

PROVENANCE = Provenance(source="user-supplied", date="2026-11-21")
EVIL = "<script>alert(1)</script>"


def _exactly(seconds: float) -> Forecast:
    return Forecast.exactly(Cost(latency_s=seconds), Evidence.PREDICTED)


def candidate(
    name: str,
    kind: RouteKind,
    times_s: tuple[float, float, float],
    *,
    codec: PayloadCodec = PayloadCodec.NONE,
    cut: tuple[str, ...] = (),
    rejected: str | None = None,
) -> Candidate:
    """Device, link and cloud seconds; 1000 bytes go up when anything does."""
    device_s, link_s, cloud_s = times_s
    up_bytes = 1000 if link_s else 0
    return Candidate(
        sketch=Sketch(name=name, kind=kind, codec=codec),
        route=Route(
            name=name,
            kind=kind,
            cut=cut,
            codec=codec,
            device_part=None,
            server_part=None,
            boundary=(),
            coefficients=Coefficients(device_s=device_s, cloud_s=cloud_s, up_bytes=up_bytes),
            quality=Quality(metric="agreement", value=0.75, low=0.5, high=1.0, n=4),
        ),
        device=_exactly(device_s),
        link=_exactly(link_s),
        cloud=_exactly(cloud_s),
        total=_exactly(device_s + link_s + cloud_s),
        payload_bytes=up_bytes,
        rejected=rejected,
    )


def plan(*, link: str = "lte", stays: bool = False, cut: str = "block4/add") -> Plan:
    """A split was chosen; the cloud is faster and not good enough, the device slower."""
    cloud = candidate(
        "cloud-jpeg90",
        RouteKind.CLOUD,
        (0.01, 0.02, 0.01),
        codec=PayloadCodec.JPEG,
        cut=("image",),
        rejected="decides otherwise",
    )
    split = candidate(
        "split3-int8", RouteKind.SPLIT, (0.05, 0.04, 0.01), codec=PayloadCodec.INT8, cut=(cut,)
    )
    local = candidate("local", RouteKind.LOCAL, (0.4, 0.0, 0.0), rejected="300.0 ms slower")
    others = [
        candidate(
            f"split{i}-fp16",
            RouteKind.SPLIT,
            (0.1 * i, 0.1, 0.1),
            codec=PayloadCodec.FP16,
            cut=(f"node{i}",),
            rejected="slower",
        )
        for i in range(4, 24)
    ]
    return Plan(
        model_digest="d" * 64,
        variants={"full": "d" * 64},
        objective=Objective.LATENCY,
        target=Target(
            device=DeviceSpec(name="slow-phone", slowdown=30.0, provenance=PROVENANCE),
            link=LinkSpec(name=link, up_bytes_per_s=731_250.0, rtt_s=0.05, provenance=PROVENANCE),
            cloud=CloudSpec(name="this-machine", provenance=PROVENANCE),
        ),
        limits=Limits(raw_input_stays=stays),
        chosen=split,
        fallback=local,
        candidates=(cloud, split, local, *others),
    )


def answer(route: str = "split3-int8", *, kind: str = "split", reason: str = "fastest") -> Answer:
    """0.1 s: 50 ms on the device, 30 ms up, 5 ms cloud, 15 ms down; after 1 s of preparing."""
    parts = {
        SpanKind.PREPARE: 1.0,
        SpanKind.DEVICE: 0.05,
        SpanKind.UPLOAD: 0.03,
        SpanKind.CLOUD: 0.005,
        SpanKind.DOWNLOAD: 0.015,
    }
    return Answer(
        outputs={"logits": np.zeros((1, 2), np.float32)},
        inference_source=InferenceSource(route=route, kind=kind, reason=reason, agreement=1.0),
        deadline_met=None,
        trace=Trace(
            request_id="1",
            bundle_digest="d",
            route=route,
            reason=reason,
            total_s=sum(parts.values()),
            spans=tuple(
                Span(kind=kind, start_s=0.0, duration_s=seconds) for kind, seconds in parts.items()
            ),
            up_bytes=1000,
            down_bytes=100,
        ),
    )
