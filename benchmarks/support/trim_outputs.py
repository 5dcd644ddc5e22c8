"""Run trimmed networks beside their originals: outputs, load times, nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from edgewise.profiling import time_interleaved
from support.foreign_networks import Feeds, make_feeds

ort.set_default_logger_severity(4)


def open_session(path: str | Path, *, everything: bool) -> Any:
    """One thread; with every optimisation, as users load it, or none: the graph as written."""
    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if everything else levels.ORT_DISABLE_ALL
    )
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def make_all_feeds(
    source: str, axes: Mapping[str, int], limits: Mapping[str, Any], seeds: Sequence[int]
) -> list[Feeds]:
    """One set of inputs for each seed, and one with other sizes where the network takes them."""
    session = open_session(source, everything=False)
    limits = {name: tuple(pair) for name, pair in limits.items()}

    def make(seed: int, sizes: Mapping[str, int], others: int) -> Feeds:
        rng = np.random.default_rng(seed)
        return make_feeds(session.get_inputs(), rng, axes=sizes, limits=limits, others=others)

    feeds = [make(seed, axes, 1) for seed in seeds]
    longer = {name: 2 * size for name, size in axes.items()}
    for sizes, others in ((longer, 2), (axes, 2), (longer, 1)):
        larger = make(seeds[0], sizes, others)
        if _shapes(larger) != _shapes(feeds[0]) and _runs(session, larger):
            return [*feeds, larger]
    return feeds


def _shapes(feeds: Feeds) -> list[tuple[int, ...]]:
    return [np.shape(array) for array in feeds.values()]


def _runs(session: Any, feeds: Feeds) -> bool:
    try:
        session.run(None, feeds)
    except Exception:
        return False
    return True


def compare_files(
    source: str, target: str, feeds: Sequence[Feeds], *, everything: bool = False
) -> dict[str, Any]:
    """The largest relative difference of any output: largest gap over largest number.

    Some graphs onnxruntime runs with its optimisations alone (it loses what a Cast gives to an
    If); then both sides have them all.
    """
    plain = open_session(source, everything=False)
    first = plain if _runs(plain, feeds[0]) else open_session(source, everything=True)
    second = open_session(target, everything=everything or first is not plain)
    gaps = []
    for feed in feeds:
        wanted = dict(zip(names(first.get_outputs()), first.run(None, feed), strict=True))
        taken = {node.name: feed[node.name] for node in second.get_inputs()}
        found = dict(zip(names(second.get_outputs()), second.run(None, taken), strict=True))
        gaps.append(max(gap_of(wanted[name], found.get(name)) for name in wanted))
    worst = max(gaps)
    return {"max_rel": worst if np.isfinite(worst) else None, "runs": len(gaps)}


def names(nodes: Sequence[Any]) -> list[str]:
    return [node.name for node in nodes]


def gap_of(want: Any, got: Any) -> float:
    """How far two outputs are apart; infinite where form, text or NaN differ."""
    if isinstance(want, list):
        if not isinstance(got, list) or len(want) != len(got):
            return float("inf")
        return max((gap_of(a, b) for a, b in zip(want, got, strict=True)), default=0.0)
    if isinstance(want, dict):
        if not isinstance(got, dict) or list(want) != list(got):
            return float("inf")
        return gap_of(np.array(list(want.values())), np.array(list(got.values())))
    if got is None or np.shape(want) != np.shape(got) or want.dtype != got.dtype:
        return float("inf")
    return _array_gap(want, got)


def _array_gap(want: Any, got: Any) -> float:
    if want.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(want, got) else float("inf")
    a, b = want.astype(np.float64), got.astype(np.float64)
    differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not differs.any():
        return 0.0
    gap = float(np.max(np.abs(a[differs] - b[differs])))
    scale = float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0))
    return gap / scale if scale and np.isfinite(gap) else float("inf")


def time_files(files: Mapping[str, str], budget_s: float) -> dict[str, Any]:
    """Seconds to load each, in turn; as many turns as the time allows, 3 at least."""
    works = {name: _loader(path) for name, path in files.items()}
    once = time_interleaved(works, repeats=1, warmup=1, pause_s=0.0)
    turn_s = sum(timing.median_s for timing in once.values())
    repeats = int(min(21, max(3, budget_s / turn_s)))
    timings = time_interleaved(works, repeats=repeats, warmup=1, pause_s=0.0)
    return {
        name: {
            "median_s": one.median_s,
            "low_s": one.low_s,
            "high_s": one.high_s,
            "runs": one.runs,
        }
        for name, one in timings.items()
    }


def _loader(path: str) -> Any:
    return lambda: open_session(path, everything=True)


def count_nodes(path: str | Path) -> tuple[int, int]:
    """Nodes without Constant, and all; bodies of control flow and functions included."""
    model = onnx.load(str(path), load_external_data=False)
    nodes = [*_walk(model.graph.node)]
    for function in model.functions:
        nodes += _walk(function.node)
    return sum(node.op_type != "Constant" for node in nodes), len(nodes)


def has_bodies(path: str | Path) -> bool:
    """Whether it has If, Loop, Scan or the like."""
    model = onnx.load(str(path), load_external_data=False)
    return len([*_walk(model.graph.node)]) > len(model.graph.node)


def _walk(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _walk(graph.node)
