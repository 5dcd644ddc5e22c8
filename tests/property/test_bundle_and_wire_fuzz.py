"""Damaged bundles and frames are read as sound values or refused; a small run of the benchmark."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("fuzz")
    for name in ("fuzz", "support", "support.fuzz_damage"):
        sys.modules.pop(name, None)


def test_nothing_crashes_and_nothing_is_allocated_beyond_what_is_declared(fuzz):
    rows, complaints = fuzz.fuzz(400, seed=7)
    assert not complaints
    assert {row.kind for row in rows} == {*fuzz.BUNDLE_DAMAGE, *fuzz.FRAME_DAMAGE}
    assert sum(row.mutants for row in rows) == 800
    for row in rows:
        assert row.accepted + row.refused == row.mutants
        assert row.beyond_bytes <= fuzz.GOAL_BYTES, row.kind


def test_the_benchmark_notices_a_crash_and_an_unsound_value(fuzz):
    def crash():
        raise ZeroDivisionError("oops")

    complaints = fuzz.Counter()
    kinds = {"crash": crash, "unsound": lambda: "", "greedy": lambda: bytes(10**7)}
    rows = fuzz.judge((fuzz.Trial(kind=k, read=f) for k, f in kinds.items()), complaints)
    assert {row.kind: row.other for row in rows} == {"crash": 1, "unsound": 1, "greedy": 0}
    assert max(row.beyond_bytes for row in rows) > fuzz.GOAL_BYTES
    assert list(complaints) == [
        "crash: ZeroDivisionError: oops",
        "unsound: accepted, and not sound",
    ]
