"""Examples and metrics on real data: sentences by MiniLM, photos by EfficientNet-Lite.

Run: python benchmarks/text_examples.py [--json FILE] [--md FILE]

Sentences: ``../shared/data/sentences.tsv``; photos: the folder in ``EDGEWISE_IMAGENET``, else
``../shared/data/imagenet-500``. What is absent is skipped, and said.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnxruntime.quantization import QuantType, quantize_dynamic

from edgewise.engines import OnnxRuntimeEngine
from edgewise.examples import (
    Examples,
    Interval,
    estimate,
    load_examples,
    metric,
    paired_difference,
)
from edgewise.graphs import PREPARATION_KEY, Model, load
from edgewise.preparation import TOKENIZER_KEY, read_preparation
from edgewise.tensors import Array
from edgewise.zoo import get
from support.report import Findings, Goal, Table, main

SHARED = Path(__file__).resolve().parents[2] / "shared"
SENTENCES = SHARED / "data" / "sentences.tsv"
PHOTOS = Path(os.environ.get("EDGEWISE_IMAGENET") or SHARED / "data" / "imagenet-500")
RECALL_GOAL = 0.91
LITE0_GOAL = 0.886  # the reference network on the same photos
NEAR = 0.005
SEED = 20261122


def measure(args: argparse.Namespace) -> Findings:
    goals: list[Goal] = []
    tables: list[Table] = []
    notes = [
        "Intervals hold 95 %: Wilson's for shares of photos, else the bootstrap with 1000 "
        "resamples; differences are paired. Sentences of one group are drawn together.",
    ]
    data: dict[str, object] = {}
    for what, path, part in (("sentences", SENTENCES, sentences), ("photos", PHOTOS, photos)):
        if not path.exists():
            notes.append(f"Skipped the {what}: they are not beside the repository.")
            continue
        found_goals, table, figures = part(path)
        goals += found_goals
        tables.append(table)
        data[what] = {name: interval_json(each) for name, each in figures.items()}
    return Findings(
        title="Examples and metrics on real data",
        goals=goals,
        tables=tables,
        notes=notes,
        data=data,
    )


# --- sentences --------------------------------------------------------------------------------


def sentences(path: Path) -> tuple[list[Goal], Table, dict[str, Interval]]:
    """MiniLM in FP32, and onnxruntime's dynamic INT8 beside it."""
    source = get("minilm-l6")
    model = load(source)
    examples = examples_of(model, path)
    fp32 = outputs(source.read_bytes(), examples)
    int8 = outputs(dynamic_int8(source), examples)
    groups = metric("recall@1").target_for(examples)
    by_group = {
        name: metric(name).drawn_by([*examples.labels])
        for name in ("recall@1", "spearman", "cosine")
    }
    figures = {
        "FP32 recall@1": estimate(by_group["recall@1"], fp32, groups, rng=rng()),
        "INT8 recall@1": estimate(by_group["recall@1"], int8, groups, rng=rng()),
        "INT8 recall@1 beside FP32": paired_difference(
            by_group["recall@1"], int8, fp32, groups, rng=rng()
        ),
        "INT8 spearman with FP32": estimate(by_group["spearman"], int8, fp32, rng=rng()),
        "INT8 cosine with FP32": estimate(by_group["cosine"], int8, fp32, rng=rng()),
    }
    recall = figures["FP32 recall@1"]
    goal = Goal(
        what=f"minilm-l6, FP32: recall@1 within the group, {len(examples)} sentences",
        goal=f"near {100 * RECALL_GOAL:.0f} %",
        measured=str(recall),
        met=abs(recall.mid - RECALL_GOAL) < 2 * NEAR,
    )
    return [goal], table_of("minilm-l6 and its dynamic INT8", figures), figures


def dynamic_int8(source: Path) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        quantize_dynamic(
            source, target, per_channel=True, reduce_range=False, weight_type=QuantType.QInt8
        )
        return target.read_bytes()


# --- photos -----------------------------------------------------------------------------------


def photos(path: Path) -> tuple[list[Goal], Table, dict[str, Interval]]:
    """Lite0 and Lite1 on the same labelled photos."""
    found: dict[str, Array] = {}
    for name in ("efficientnet-lite0", "efficientnet-lite1"):
        source = get(name)
        examples = examples_of(load(source), path)
        found[name] = outputs(source.read_bytes(), examples)
    labels = metric("top1").target_for(examples)
    lite0, lite1 = found.values()
    figures: dict[str, Interval] = {}
    for kind in ("top1", "top5"):
        for name, each in found.items():
            figures[f"{name} {kind}"] = estimate(metric(kind), each, labels, rng=rng())
        figures[f"efficientnet-lite1 beside lite0, {kind}"] = paired_difference(
            metric(kind), lite1, lite0, labels, rng=rng()
        )
    top1 = figures["efficientnet-lite0 top1"]
    goal = Goal(
        what="efficientnet-lite0, FP32: top-1",
        goal=f"{100 * LITE0_GOAL:.1f} %, as the reference network",
        measured=str(top1),
        met=abs(top1.mid - LITE0_GOAL) < NEAR,
    )
    return [goal], table_of("EfficientNet-Lite on labelled photos", figures), figures


# --- both -------------------------------------------------------------------------------------


def examples_of(model: Model, path: Path) -> Examples:
    """Prepared as the network's own metadata says."""
    return load_examples(
        path,
        read_preparation(model.metadata[PREPARATION_KEY]),
        inputs=model.inputs,
        tokenizer=model.metadata.get(TOKENIZER_KEY),
    )


def outputs(model: bytes, examples: Examples) -> Array:
    """The network's only output, one row per example."""
    with OnnxRuntimeEngine(model, threads=min(2, os.cpu_count() or 1)) as engine:
        return np.concatenate([next(iter(engine.run(feeds).values())) for feeds in examples])


def rng() -> np.random.Generator:
    return np.random.default_rng(SEED)


def table_of(title: str, figures: Mapping[str, Interval]) -> Table:
    rows = [(name, str(each)) for name, each in figures.items()]
    return Table(title=title, columns=("what", "figure and 95 % interval"), rows=rows)


def interval_json(interval: Interval) -> dict[str, float]:
    return {"low": interval.low, "mid": interval.mid, "high": interval.high, "n": interval.n}


if __name__ == "__main__":
    sys.exit(main(measure, packages=("onnxruntime", "numpy", "tokenizers")))
