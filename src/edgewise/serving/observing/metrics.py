"""Counters and times for Prometheus, in a registry of the server's own.

Source of the buckets: OpenTelemetry semantic conventions, ``http.server.request.duration``, with
0.5, 1 and 2.5 ms put before. Triton's names (``nv_inference_…``) are given a second time, in
microseconds as there, so that dashboards made for it show something. What is said of
a process (``process_…``) is left out where there are several.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from edgewise.errors import MissingExtra
from edgewise.serving.observing.account import Account
from edgewise.serving.observing.sharing import SHARED_FOLDER
from edgewise.serving.repository.parts import ServedBundle

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

BUCKETS_S = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075),
    *(0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_ITEMS = (1, 2, 4, 8, 16, 32, 64)
STAGES = ("queue", "decode", "compute")
_GONE = "gone"
_MODEL = ("model", "version")
_ROUTE = (*_MODEL, "route")


class Meters:
    """What one server counts; its worker processes count together.

    Args:
        served: what is served at the moment.
        build: by what, as labels of ``edgewise_build_info``.
        name_keys: label requests with the operator's name of the key.

    Raises:
        MissingExtra: without prometheus-client.
    """

    def __init__(
        self,
        *,
        served: Callable[[], Iterable[ServedBundle]],
        build: Mapping[str, str],
        name_keys: bool = False,
    ) -> None:
        try:
            import prometheus_client as prometheus
        except ModuleNotFoundError:
            raise MissingExtra(extra="serve", purpose="to answer /metrics") from None
        own = prometheus.CollectorRegistry(auto_describe=False)
        counter = partial(prometheus.Counter, registry=own)
        seconds = partial(prometheus.Histogram, buckets=BUCKETS_S, registry=own)
        self._served = served
        self._name_keys = name_keys
        labels = ("endpoint", *_ROUTE, "status", *(("key",) if name_keys else ()))
        self._requests = counter("edgewise_requests", "Requests answered.", labels)
        self._refused = counter("edgewise_refused", "Requests refused, by reason.", ("reason",))
        self._bytes = counter("edgewise_payload_bytes", "Bytes of bodies.", ("codec", "direction"))
        self._under_way = prometheus.Gauge(
            "edgewise_under_way", "Requests under way.", registry=own, multiprocess_mode="livesum"
        )
        self._request_s = seconds(
            "edgewise_request_seconds",
            "From the head of an infer request to the last byte of its answer.",
            _ROUTE,
        )
        self._stages = {
            stage: seconds(
                f"edgewise_{stage}_seconds", f"What infer requests spent: {stage}.", _ROUTE
            )
            for stage in STAGES
        }
        self._items = counter("edgewise_items", "Inputs answered.", _ROUTE)
        self._batch_items = prometheus.Histogram(
            "edgewise_batch_items",
            "Inputs of one run of a network.",
            _ROUTE,
            buckets=BUCKETS_ITEMS,
            registry=own,
        )
        self._triton = {name: counter(name, words, _MODEL) for name, words, _ in _TRITON}
        self._shown = _shown(own, _BuildInfo(served, build))

    def begin(self) -> None:
        """A request came in."""
        self._under_way.inc()

    def end(self, account: Account) -> None:
        """It was answered, refused, or left."""
        self._under_way.dec()
        status = _GONE if account.status is None else str(account.status)
        labels = [account.endpoint, account.model, account.version, account.route, status]
        if self._name_keys:
            labels.append(account.budget.name if account.budget else "")
        self._requests.labels(*labels).inc()
        self._bytes.labels(account.codec, "in").inc(account.in_bytes)
        self._bytes.labels(account.codec, "out").inc(account.out_bytes)
        if account.refused:
            self._refused.labels(account.refused).inc()
        if account.endpoint == "infer":
            self._count_as_triton(account)
            if account.status == 200:
                self._time(account)

    def text(self) -> bytes:
        """All of it, in the text form that Prometheus reads."""
        from prometheus_client import generate_latest

        for bundle in self._served():  # a version that nobody asked for yet is shown with 0
            for counter in self._triton.values():
                counter.labels(bundle.name, bundle.version)
        return generate_latest(self._shown)

    def _time(self, account: Account) -> None:
        labels = (account.model, account.version, account.route)
        self._items.labels(*labels).inc(account.items)
        self._request_s.labels(*labels).observe(account.total_s)
        if account.ran_items:
            self._batch_items.labels(*labels).observe(account.ran_items)
        for stage, seconds in account.stages.items():
            if stage in self._stages:
                self._stages[stage].labels(*labels).observe(seconds)

    def _count_as_triton(self, account: Account) -> None:
        if account.model:
            for name, _, amount in _TRITON:
                counter = self._triton[name].labels(account.model, account.version)
                counter.inc(amount(account))


def _shown(own: CollectorRegistry, info: _BuildInfo) -> CollectorRegistry:
    """What ``/metrics`` shows of what is counted here, and by the other workers if there are."""
    import prometheus_client as prometheus
    from prometheus_client.multiprocess import MultiProcessCollector

    shown = prometheus.CollectorRegistry(auto_describe=False)
    shared = os.environ.get(SHARED_FOLDER)
    if shared is None:
        shown.register(_TritonNames(own))
        prometheus.ProcessCollector(registry=shown)
    else:
        workers = MultiProcessCollector(None, shared)  # type: ignore[no-untyped-call]
        shown.register(_TritonNames(workers))
    shown.register(info)
    return shown


class _TritonNames:
    """The same with Triton's names as Triton writes them, without the library's ``_total``."""

    def __init__(self, source: Collector) -> None:
        self._source = source

    def collect(self) -> Iterable[Metric]:
        for metric in self._source.collect():
            yield _renamed(metric) if metric.name.startswith("nv_") else metric


def _renamed(metric: Metric) -> Metric:
    from prometheus_client.metrics_core import UnknownMetricFamily

    family = UnknownMetricFamily(metric.name, metric.documentation)
    family.samples = [
        sample._replace(name=metric.name)
        for sample in metric.samples
        if sample.name.endswith("_total")
    ]
    return family


class _BuildInfo:
    """What is served by what, as it is at the moment."""

    def __init__(
        self, served: Callable[[], Iterable[ServedBundle]], build: Mapping[str, str]
    ) -> None:
        self._served = served
        self._build = build

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        labels = ("model", "model_version", "bundle", *self._build)
        words = "What is served by what."
        family = GaugeMetricFamily("edgewise_build_info", words, labels=labels)
        for bundle in self._served():
            named = (bundle.name, bundle.version, bundle.digest[:12])
            family.add_metric((*named, *self._build.values()), 1.0)
        yield family


def _is_done(account: Account) -> bool:
    return account.status == 200


def _micros(stage: str) -> Callable[[Account], float]:
    return lambda account: account.stages.get(stage, 0.0) * 1e6 if _is_done(account) else 0.0


_TRITON: tuple[tuple[str, str, Callable[[Account], float]], ...] = (
    ("nv_inference_request_success", "Infer requests answered.", lambda a: _is_done(a)),
    ("nv_inference_request_failure", "Infer requests not answered.", lambda a: not _is_done(a)),
    ("nv_inference_count", "Inputs answered.", lambda a: a.items if _is_done(a) else 0),
    (
        "nv_inference_exec_count",
        "Runs of the networks.",
        lambda a: _is_done(a) and a.ran_items > 0,
    ),
    (
        "nv_inference_request_duration_us",
        "Time of infer requests.",
        lambda a: a.total_s * 1e6 if _is_done(a) else 0.0,
    ),
    ("nv_inference_queue_duration_us", "Time of waiting.", _micros("queue")),
    ("nv_inference_compute_input_duration_us", "Time of decoding.", _micros("decode")),
    ("nv_inference_compute_infer_duration_us", "Time of the engine.", _micros("compute")),
)


def build_labels(*, version: str) -> dict[str, str]:
    """Labels that say what serves.

    >>> build_labels(version="1")["version"]
    '1'
    """
    import onnxruntime

    return {
        "version": version,
        "engine": f"onnxruntime {onnxruntime.__version__}",
        "python": platform.python_version(),
    }
