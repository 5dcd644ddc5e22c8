"""From what was measured to what each way of answering would cost on a device and a link."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from edgewise.bundle import Coefficients, Route, RouteKind
from edgewise.cost import Cost, Evidence, Forecast
from edgewise.graphs import Model
from edgewise.planning.candidates import Candidate, Sketch, count_elements
from edgewise.planning.measuring import Measurements, NodeCost
from edgewise.planning.traffic import reply_bytes, request_bytes, sent_tensors
from edgewise.profiling import NOTHING, Segments, Timing
from edgewise.specs import CloudSpec, DeviceSpec, LinkSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a plan is for."""

    device: DeviceSpec
    link: LinkSpec
    cloud: CloudSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Times of one sketch on the emulated device and in the cloud, and the bytes between."""

    device: Timing
    cloud: Timing
    payload_bytes: int = 0
    up_bytes: int = 0
    down_bytes: int = 0


def predict(sketch: Sketch, measured: Measurements, target: Target, *, model: Model) -> Candidate:
    """The cost of one way of answering.

    total = device + RTT + up_bytes/up_rate + down_bytes/down_rate + cloud; nothing overlaps.

    Args:
        sketch: what to cost.
        measured: on this machine.
        target: device, link and cloud.
        model: the full network, whose inputs and outputs every way of answering has.
    """
    work = _WORK[sketch.kind](sketch, measured)
    if sketch.kind is not RouteKind.LOCAL:
        work = _with_traffic(work, sketch, measured, model)
    return cost_up(sketch, work, target)


def cost_up(sketch: Sketch, work: Work, target: Target) -> Candidate:
    """A candidate from times on this machine and bytes on the wire."""
    remote = sketch.kind is not RouteKind.LOCAL
    device = work.device.scaled(target.device.slowdown).forecast(Evidence.PREDICTED)
    cloud = work.cloud.scaled(target.cloud.slowdown).forecast(Evidence.PREDICTED)
    link = _forecast_link(work, target.link) if remote else _FREE
    coefficients = Coefficients(
        device_s=device.mid.latency_s,
        cloud_s=cloud.mid.latency_s,
        up_bytes=work.up_bytes,
        down_bytes=work.down_bytes,
        rtts=int(remote),
    )
    return Candidate(
        sketch=sketch,
        route=_route(sketch, coefficients),
        device=device,
        link=link,
        cloud=cloud,
        total=device + link + cloud,
        payload_bytes=work.payload_bytes,
    )


def refine(
    candidate: Candidate, segments: Segments, target: Target, *, normalise: Timing
) -> Candidate:
    """The same candidate with the times of its very own halves, payload nodes included."""
    before = candidate.route.coefficients
    work = Work(
        device=add_times(normalise, segments.head),
        cloud=segments.tail,
        payload_bytes=candidate.payload_bytes,
        up_bytes=before.up_bytes,
        down_bytes=before.down_bytes,
    )
    return replace(cost_up(candidate.sketch, work, target), rejected=candidate.rejected)


_FREE = Forecast.exactly(Cost(), Evidence.PREDICTED)


def _route(sketch: Sketch, coefficients: Coefficients) -> Route:
    names = () if sketch.cut is None else tuple(spec.name for spec in sketch.cut.tensors)
    return Route(
        name=sketch.name,
        kind=sketch.kind,
        cut=names,
        codec=sketch.codec,
        quality_level=sketch.quality_level,
        sends_input=sketch.sends_input,
        coefficients=coefficients,
    )


def _forecast_link(work: Work, link: LinkSpec) -> Forecast:
    seconds = link.transfer_s(up_bytes=work.up_bytes, down_bytes=work.down_bytes)
    low, high = max(0.0, seconds - 2 * link.jitter_s), seconds + 2 * link.jitter_s
    costs = [
        Cost(latency_s=s, up_bytes=work.up_bytes, down_bytes=work.down_bytes)
        for s in (low, seconds, high)
    ]
    return Forecast(low=costs[0], mid=costs[1], high=costs[2], evidence=Evidence.PREDICTED)


def _local_work(sketch: Sketch, measured: Measurements) -> Work:
    whole = measured.whole[sketch.variant]
    return Work(device=add_times(measured.normalise, whole), cloud=NOTHING)


def _cloud_work(sketch: Sketch, measured: Measurements) -> Work:
    whole = measured.whole[sketch.variant]
    codec = measured.pixels.get((sketch.codec, sketch.quality_level))
    if codec is None:
        return Work(device=measured.normalise, cloud=whole)
    return Work(device=codec.encode, cloud=add_times(codec.decode, whole))


def _split_work(sketch: Sketch, measured: Measurements) -> Work:
    assert sketch.cut is not None
    segments = measured.segments[sketch.variant][sketch.position]
    elements = sum(count_elements(spec) for spec in sketch.cut.content)
    head = _with_nodes(segments.head, measured.encode_nodes[sketch.codec], elements)
    tail = _with_nodes(segments.tail, measured.decode_nodes[sketch.codec], elements)
    return Work(device=add_times(measured.normalise, head), cloud=tail)


_WORK: Mapping[RouteKind, Callable[[Sketch, Measurements], Work]] = {
    RouteKind.LOCAL: _local_work,
    RouteKind.CLOUD: _cloud_work,
    RouteKind.SPLIT: _split_work,
}


def add_times(a: Timing, b: Timing) -> Timing:
    """One piece of work after the other."""
    return Timing(
        median_s=a.median_s + b.median_s,
        low_s=a.low_s + b.low_s,
        high_s=a.high_s + b.high_s,
        runs=min(a.runs, b.runs) or max(a.runs, b.runs),
    )


def _with_nodes(timing: Timing, nodes: NodeCost, elements: int) -> Timing:
    extra_s = nodes.seconds(elements)
    return add_times(
        timing, Timing(median_s=extra_s, low_s=extra_s, high_s=extra_s, runs=timing.runs)
    )


def _with_traffic(work: Work, sketch: Sketch, measured: Measurements, model: Model) -> Work:
    codec = measured.pixels.get((sketch.codec, sketch.quality_level))
    encoded_bytes = None if codec is None else round(codec.mean_bytes)
    sent = sent_tensors(sketch, model, encoded_bytes=encoded_bytes)
    return replace(
        work,
        payload_bytes=sum(spec.nbytes() for spec in sent),
        up_bytes=request_bytes(sent, route=sketch.name, model=model),
        down_bytes=reply_bytes(route=sketch.name, model=model),
    )
