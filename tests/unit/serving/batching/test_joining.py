"""Joined runs beside single ones, in real engines."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import batching_bundles as bundles
from edgewise.engines import Engine, open_engine
from edgewise.graphs import Payload, cut, find_cuts, load, random_feeds, to_bytes
from edgewise.serving.batching.batcher import Batch, Entry, Expired, Group
from edgewise.serving.batching.joining import Done, Job, joins, run_batch
from edgewise.tensors import Array
from edgewise.zoo import get

pytestmark = pytest.mark.engine
GROUP = Group(bundle="m", route="r")


def _clock() -> Callable[[], float]:
    ticks = itertools.count()
    return lambda: float(next(ticks))


def _batch(engine: Engine, feeds: Sequence[Mapping[str, Array]], **more: Any) -> Batch[Any]:
    entries = tuple(
        Entry(
            group=GROUP,
            work=Job(receive=lambda row=row: row, run=engine.run, finish=lambda outputs: outputs),
            arrived_s=0.0,
            items=len(next(iter(row.values()))),
            **more,
        )
        for row in feeds
    )
    return Batch(group=GROUP, entries=entries, started_s=0.0)


def _rows(*sizes: int) -> list[dict[str, Array]]:
    rng = np.random.default_rng(5)
    return [{"x": rng.normal(size=(n, bundles.WIDTH)).astype(np.float32)} for n in sizes]


@pytest.fixture(scope="module")
def halves() -> dict[str, bytes]:
    """A trained network whole, and its second half behind an FP32 and an FP16 payload."""
    model = load(get("fashion-resnet20"))
    at = find_cuts(model)[4]
    found = {"whole": to_bytes(model)}
    for payload in (Payload.FP32, Payload.FP16):
        found[payload.value] = to_bytes(cut(model, at, payload=payload).tail)
    return found


@pytest.mark.parametrize("part", ["whole", "fp32", "fp16"])
def test_a_batch_gives_the_numbers_of_single_runs(halves: dict[str, bytes], part: str) -> None:
    engine = open_engine(halves[part])
    assert [spec.shape[0] for spec in (*engine.inputs, *engine.outputs)] == ["N", "N"]
    assert joins(engine)
    rng = np.random.default_rng(3)
    feeds = [
        {spec.name: rng.normal(size=spec.concrete(n)).astype(spec.dtype) for spec in engine.inputs}
        for n in (1, 1, 3, 1)
    ]
    results = run_batch(_batch(engine, feeds), _clock())
    for row, result in zip(feeds, results, strict=True):
        assert isinstance(result, Done)
        assert result.items == 6
        for name, wanted in engine.run(row).items():
            np.testing.assert_allclose(
                result.answer[name], wanted, atol=1e-6 * float(np.abs(wanted).max())
            )


def test_each_request_has_its_part_of_the_run_by_items() -> None:
    engine = open_engine(bundles.slow_network(size=2, products=1))
    results = run_batch(_batch(engine, _rows(1, 3)), _clock())
    whole_s = results[0].compute_s
    assert [result.own_compute_s for result in results] == [whole_s / 4, whole_s * 3 / 4]


@pytest.mark.parametrize(
    "network", [bundles.centring_network, bundles.summing_network, bundles.dynamic_int8_network]
)
def test_networks_whose_rows_mix_are_found_out(network: Callable[[], bytes]) -> None:
    assert not joins(open_engine(network()))


def test_a_network_with_a_fixed_batch_is_not_joined() -> None:
    from unit.serving import tiny_bundle as tiny

    raw = tiny.network(
        [tiny.helper.make_node("Relu", ["image"], ["logits"])],
        [tiny.IMAGE],
        [tiny.TensorSpec(name="logits", dtype="float32", shape=tiny.IMAGE.shape)],
        {},
    )
    assert not joins(open_engine(raw))


def test_outputs_that_cannot_be_told_apart_are_computed_alone() -> None:
    engine = open_engine(bundles.summing_network())
    feeds = _rows(1, 2)
    results = run_batch(_batch(engine, feeds), _clock())
    for row, result in zip(feeds, results, strict=True):
        assert isinstance(result, Done)
        assert result.items == len(row["x"])
        np.testing.assert_allclose(result.answer["y"][0], row["x"].sum(axis=0), rtol=1e-5)


def test_after_a_failed_run_each_runs_once_alone_and_only_the_guilty_fails() -> None:
    engine = open_engine(bundles.slow_network(size=2, products=1))
    feeds = _rows(1, 1, 1)
    feeds[1]["x"][0, 0] = np.nan
    results = run_batch(_batch(engine, feeds), _clock())
    assert [type(result).__name__ for result in results] == ["Done", "BadInput", "Done"]
    assert isinstance(results[2], Done)
    np.testing.assert_array_equal(results[2].answer["y"], feeds[2]["x"])


def test_what_expired_during_a_failed_run_is_not_run_again() -> None:
    engine = open_engine(bundles.slow_network(size=2, products=1))
    feeds = _rows(1, 1)
    feeds[0]["x"][0, 0] = np.nan
    results = run_batch(_batch(engine, feeds, deadline_s=0.5), _clock())
    assert [type(result) for result in results] == [Expired, Expired]


def test_a_payload_that_cannot_be_read_fails_alone() -> None:
    engine = open_engine(bundles.slow_network(size=2, products=1))
    batch = _batch(engine, _rows(1, 1, 1))

    def broken() -> dict[str, Array]:
        raise ValueError("no picture")

    bad = batch.entries[0].work
    entries = (
        Entry(
            group=GROUP,
            work=Job(receive=broken, run=bad.run, finish=bad.finish),
            arrived_s=0.0,
        ),
        *batch.entries[1:],
    )
    results = run_batch(Batch(group=GROUP, entries=entries, started_s=0.0), _clock())
    assert isinstance(results[0], ValueError)
    assert [r.items for r in results[1:] if isinstance(r, Done)] == [2, 2]


def test_sentences_of_one_length_are_joined() -> None:
    path = Path(get("minilm-l6"))
    engine = open_engine(path)
    assert joins(engine)
    rng = np.random.default_rng(0)
    model = load(path)
    feeds = [random_feeds(model, rng, axes={"sequence": 12}) for _ in range(3)]
    for row, result in zip(feeds, run_batch(_batch(engine, feeds), _clock()), strict=True):
        assert isinstance(result, Done)
        assert result.items == 3
        np.testing.assert_allclose(
            result.answer["embedding"], engine.run(row)["embedding"], atol=1e-6
        )
