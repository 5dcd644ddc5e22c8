"""Numbers for Prometheus, read back with its own parser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from edgewise.bundle import open_bundle, read_manifest
from edgewise.serving.observing.account import Account
from edgewise.serving.observing.metrics import BUCKETS_S, Meters, build_labels
from edgewise.serving.protocol.paths import find_endpoint
from edgewise.serving.repository.parts import ServedBundle
from edgewise.serving.repository.shelf import Shelf

BUILD = build_labels(version="9")
MANIFEST = Path(__file__).resolve().parents[4] / "vectors" / "bundle" / "complete" / "bundle.json"
SHELF = Shelf(open_bundle(MANIFEST.parent))
CATS = (("model", "cats"), ("version", "1"))


def _served(version: int) -> ServedBundle:
    manifest = replace(read_manifest(MANIFEST.read_bytes()), name="cats", version=version)
    return ServedBundle(
        manifest=manifest, digest="ab" * 32, routes=(), max_body_bytes=1, shelf=SHELF
    )


def _meters(*versions: int, name_keys: bool = False) -> Meters:
    served = [_served(version) for version in versions or (1,)]
    return Meters(served=lambda: served, build=BUILD, name_keys=name_keys)


def _samples(meters: Meters) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(meters.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def _infer(**changes: object) -> Account:
    settings = {
        "endpoint": "infer",
        "model": "cats",
        "version": "1",
        "route": "split",
        "codec": "int8",
        "items": 3,
        "ran_items": 3,
        "status": 200,
        "stages": {"queue": 0.001, "decode": 0.002, "compute": 0.03, "other": 9.0},
        "total_s": 0.04,
        "in_bytes": 100,
        "out_bytes": 10,
    }
    return Account(**(settings | changes))


def test_an_answer_is_counted_and_timed() -> None:
    meters = _meters()
    meters.begin()
    meters.end(_infer())
    found = _samples(meters)
    infer = (("endpoint", "infer"), ("model", "cats"), ("route", "split"), ("status", "200"))
    request = (*infer, ("version", "1"))
    split = (("model", "cats"), ("route", "split"), ("version", "1"))
    assert found["edgewise_requests_total", request] == 1
    assert found["edgewise_items_total", split] == 3
    assert found["edgewise_request_seconds_sum", split] == 0.04
    assert found["edgewise_compute_seconds_sum", split] == 0.03
    assert found["edgewise_compute_seconds_bucket", (("le", "0.025"), *split)] == 0
    assert found["edgewise_compute_seconds_bucket", (("le", "0.05"), *split)] == 1
    by_codec = [(("codec", "int8"), ("direction", direction)) for direction in ("in", "out")]
    assert [found["edgewise_payload_bytes_total", labels] for labels in by_codec] == [100, 10]
    assert found["edgewise_under_way", ()] == 0
    assert not any("other" in name for name, _ in found)


def test_triton_names_are_as_triton_writes_them() -> None:
    meters = _meters()
    refused = _infer(status=429, refused="budget", stages={})
    for account in (_infer(), _infer(ran_items=0), refused):
        meters.begin()
        meters.end(account)
    found = _samples(meters)
    assert found["nv_inference_request_success", CATS] == 2
    assert found["nv_inference_request_failure", CATS] == 1
    assert found["nv_inference_count", CATS] == 6
    assert found["nv_inference_exec_count", CATS] == 1
    assert found["nv_inference_compute_infer_duration_us", CATS] == 60_000
    assert found["nv_inference_queue_duration_us", CATS] == 2_000


def test_refusals_have_reasons_and_no_times() -> None:
    meters = _meters()
    meters.begin()
    meters.end(_infer(status=429, refused="budget", route="", stages={}))
    found = _samples(meters)
    assert found["edgewise_refused_total", (("reason", "budget"),)] == 1
    assert not any(name == "edgewise_request_seconds_count" for name, _ in found)


def test_what_is_served_is_said() -> None:
    found = _samples(_meters())
    (labels,) = [dict(labels) for name, labels in found if name == "edgewise_build_info"]
    assert labels["version"] == "9"
    assert labels["model"] == "cats"
    assert labels["model_version"] == "1"
    assert labels["bundle"] == "abababababab"


def test_versions_are_counted_apart() -> None:
    meters = _meters(1, 2)
    meters.begin()
    meters.end(_infer(version="2"))
    found = _samples(meters)
    new = (("model", "cats"), ("version", "2"))
    assert found["edgewise_items_total", (new[0], ("route", "split"), new[1])] == 3
    assert (found["nv_inference_count", new], found["nv_inference_count", CATS]) == (3, 0)
    builds = [dict(labels) for name, labels in found if name == "edgewise_build_info"]
    assert [labels["model_version"] for labels in builds] == ["1", "2"]


def test_what_is_for_no_model_counts_for_none() -> None:
    meters = _meters()
    meters.begin()
    meters.end(_infer(model="", version="", status=404))
    found = _samples(meters)
    assert found["nv_inference_request_failure", CATS] == 0
    assert not [labels for name, labels in found if name[:3] == "nv_" and labels != CATS]


def test_keys_are_named_only_when_asked() -> None:
    assert b"key=" not in _text(name_keys=False)
    assert b'key=""' in _text(name_keys=True)


def _text(*, name_keys: bool) -> bytes:
    meters = _meters(name_keys=name_keys)
    meters.begin()
    meters.end(_infer())
    return meters.text()


def test_two_servers_of_one_process_count_apart() -> None:
    first, second = (_meters() for _ in range(2))
    first.begin()
    first.end(_infer())
    assert _samples(first)["nv_inference_count", CATS] == 3
    assert _samples(second)["nv_inference_count", CATS] == 0


def test_buckets_rise() -> None:
    assert list(BUCKETS_S) == sorted(set(BUCKETS_S))
    assert (BUCKETS_S[0], BUCKETS_S[-1]) == (0.0005, 10.0)


def test_paths_without_end_are_few_words() -> None:
    paths = ["/", "/v2/", "/x" * 100, "/v2/models/a/b/c/infer", "/metrics/", "/v2/models//infer"]
    assert {find_endpoint(path)[0] for path in paths} == {"other"}
    assert find_endpoint("/v2/models/a/versions/1/infer")[0] == "infer"
    assert find_endpoint("/v2/models/a/ready")[0] == "model_ready"
