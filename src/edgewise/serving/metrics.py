"""Counters and times for Prometheus, in a registry of the server's own.

Source of the buckets: OpenTelemetry semantic conventions, ``http.server.request.duration``, with
0.5, 1 and 2.5 ms put before. Triton's names (``nv_inference_…``) are given a second time, in
microseconds as there, so that dashboards made for it show something.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from edgewise.errors import MissingExtra
from edgewise.serving.account import Account
from edgewise.serving.descriptions import VERSION

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

BUCKETS_S = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075),
    *(0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_ITEMS = (1, 2, 4, 8, 16, 32, 64)
STAGES = ("queue", "decode", "compute")
_GONE = "gone"


class Meters:
    """What one server counts.

    Args:
        model: name of the model, for Triton's labels.
        build: what is served by what, as labels of ``edgewise_build_info``.
        name_keys: label requests with the operator's name of the key.

    Raises:
        MissingExtra: without prometheus-client.
    """

    def __init__(self, *, model: str, build: Mapping[str, str], name_keys: bool = False) -> None:
        try:
            import prometheus_client as prometheus
        except ModuleNotFoundError:
            raise MissingExtra(extra="serve", purpose="to answer /metrics") from None
        self.registry = prometheus.CollectorRegistry(auto_describe=False)
        self._name_keys = name_keys
        labels = ("endpoint", "route", "status", *(("key",) if name_keys else ()))
        own = self.registry
        self._requests = prometheus.Counter(
            "edgewise_requests", "Requests answered.", labels, registry=own
        )
        self._refused = prometheus.Counter(
            "edgewise_refused", "Requests refused, by reason.", ("reason",), registry=own
        )
        self._request_s = prometheus.Histogram(
            "edgewise_request_seconds",
            "From the head of an infer request to the last byte of its answer.",
            ("route",),
            buckets=BUCKETS_S,
            registry=own,
        )
        self._stages = {
            stage: prometheus.Histogram(
                f"edgewise_{stage}_seconds",
                f"What infer requests spent: {stage}.",
                ("route",),
                buckets=BUCKETS_S,
                registry=own,
            )
            for stage in STAGES
        }
        self._items = prometheus.Counter(
            "edgewise_items", "Inputs answered.", ("route",), registry=own
        )
        self._batch_items = prometheus.Histogram(
            "edgewise_batch_items",
            "Inputs of one run of a network.",
            ("route",),
            buckets=BUCKETS_ITEMS,
            registry=own,
        )
        self._bytes = prometheus.Counter(
            "edgewise_payload_bytes", "Bytes of bodies.", ("direction",), registry=own
        )
        self._under_way = prometheus.Gauge(
            "edgewise_under_way", "Requests under way.", registry=own
        )
        prometheus.Gauge(
            "edgewise_build_info", "What is served by what.", tuple(build), registry=own
        ).labels(**build).set(1)
        self._triton = _TritonNames(model)
        self.registry.register(self._triton)
        prometheus.ProcessCollector(registry=self.registry)

    def begin(self) -> None:
        """A request came in."""
        self._under_way.inc()

    def end(self, account: Account) -> None:
        """It was answered, refused, or left."""
        self._under_way.dec()
        status = _GONE if account.status is None else str(account.status)
        labels = [account.endpoint, account.route, status]
        if self._name_keys:
            labels.append(account.budget.name if account.budget else "")
        self._requests.labels(*labels).inc()
        self._bytes.labels("in").inc(account.in_bytes)
        self._bytes.labels("out").inc(account.out_bytes)
        if account.refused:
            self._refused.labels(account.refused).inc()
        if account.endpoint == "infer":
            self._triton.count(account)
            if account.status == 200:
                self._time(account)

    def text(self) -> bytes:
        """All of it, in the text form that Prometheus reads."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)

    def _time(self, account: Account) -> None:
        self._items.labels(account.route).inc(account.items)
        self._request_s.labels(account.route).observe(account.total_s)
        if account.ran_items:
            self._batch_items.labels(account.route).observe(account.ran_items)
        for stage, seconds in account.stages.items():
            if stage in self._stages:
                self._stages[stage].labels(account.route).observe(seconds)


class _TritonNames:
    """The same under Triton's names, which lack the ``_total`` that the library would add."""

    def __init__(self, model: str) -> None:
        self._labels = {"model": model, "version": VERSION}
        self._sums: dict[str, float] = dict.fromkeys((name for name, *_ in _TRITON), 0.0)

    def count(self, account: Account) -> None:
        for name, _, amount in _TRITON:
            self._sums[name] += amount(account)

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.metrics_core import UnknownMetricFamily

        for name, words, _ in _TRITON:
            family = UnknownMetricFamily(name, words, labels=tuple(self._labels))
            family.add_metric(tuple(self._labels.values()), self._sums[name])
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


def build_labels(*, version: str, model: str, bundle_digest: str) -> dict[str, str]:
    """Labels that say what is served by what.

    >>> build_labels(version="1", model="cats", bundle_digest="0" * 64)["bundle"]
    '000000000000'
    """
    import onnxruntime

    return {
        "version": version,
        "model": model,
        "bundle": bundle_digest[:12],
        "engine": f"onnxruntime {onnxruntime.__version__}",
        "python": platform.python_version(),
    }
