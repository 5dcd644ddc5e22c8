"""Trimming random networks: the same outputs, never more nodes, and nothing left for a second."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewise.engines import Optimisation, open_engine
from edgewise.graphs import load, random_feeds, to_bytes
from edgewise.graphs.trimming import trim

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SOURCE = Path(__file__).resolve().parents[2] / "benchmarks" / "support" / "random_networks.py"


def _random_networks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("random_networks", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


random_network = _random_networks().random_network


@pytest.mark.engine
@FEW
@given(st.integers(0, 2**32 - 1))
def test_random_networks_stay_what_they_are(seed: int) -> None:
    model = load(random_network(np.random.default_rng(seed)).SerializeToString())
    trimmed = trim(model)
    assert trimmed.step.nodes_after <= trimmed.step.nodes_before
    fewer_nodes = trimmed.step.nodes_before - trimmed.step.nodes_after
    assert trimmed.step.bytes_after <= trimmed.step.bytes_before + 64 * fewer_nodes
    assert trimmed.step.undone == () or trimmed.step.undone[0].what == "all trimming"
    assert [spec.name for spec in trimmed.model.outputs] == [spec.name for spec in model.outputs]
    assert trim(trimmed.model).step.removed == ()
    feed = random_feeds(model, np.random.default_rng(seed), batch=5)
    # The simplest rewrites: without them onnxruntime loses a Cast that only a body reads.
    with open_engine(to_bytes(model), optimisation=Optimisation.BASIC) as engine:
        wanted = engine.run(feed)
    with open_engine(to_bytes(trimmed.model), optimisation=Optimisation.BASIC) as engine:
        found = engine.run(feed)
    for name, want in wanted.items():
        scale = float(np.abs(want).max()) or 1.0
        np.testing.assert_allclose(found[name], want, rtol=0, atol=2e-5 * scale)


def test_random_networks_are_reproducible() -> None:
    first, second = (random_network(np.random.default_rng(7)) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    assert 5 <= len(first.graph.node) <= 60
