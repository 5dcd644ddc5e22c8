"""Train one Fashion-MNIST classifier, export it to ONNX, and note its figures.

    python benchmarks/training/train.py --network resnet20|mobilenetv3 --out DIR

Writes `DIR/fashion-<network>.onnx` and its entry in `DIR/results.json`. The test images are read
once, at the end.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import platform
from dataclasses import asdict, replace
from pathlib import Path

import torch
from exporting import export, onnx_accuracy
from fashion import DEFAULT_FOLDER, Fashion, read_fashion, shipped_test
from fitting import Recipe, accuracy, fit
from networks import NETWORKS
from torch import nn

BASE = Recipe(
    epochs=18,
    batch=128,
    peak_rate=0.2,
    momentum=0.9,
    weight_decay=5e-4,
    smoothing=0.05,
    seed=20_261_121,
)
RECIPES = {
    "resnet20": BASE,
    "mobilenetv3": replace(BASE, epochs=8, peak_rate=0.1, weight_decay=2e-4),
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", choices=sorted(NETWORKS), required=True)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the ONNX file and results.json"
    )
    parser.add_argument(
        "--data", type=Path, default=DEFAULT_FOLDER, help="folder of the four IDX files"
    )
    parser.add_argument("--epochs", type=int, help="in place of the recipe's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--images", type=int, help="fit only the first so many images (a trial run)"
    )
    return parser.parse_args()


def cpu_model() -> str:
    """The processor's name, as Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def figures(
    network: nn.Module, recipe: Recipe, path: Path, data: Fashion, training_s: float
) -> dict[str, object]:
    """What is said of the network; the accuracies on test images are the ONNX file's."""
    return {
        "file": path.name,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "test_accuracy": onnx_accuracy(path, data.test),
        "test_images": len(data.test.labels),
        "shipped_test_accuracy": onnx_accuracy(path, shipped_test(data)),
        "held_out_accuracy": round(accuracy(network, data.held_out), 6),
        "fitted_images": len(data.fit.labels),
        "recipe": asdict(recipe),
        "epochs": recipe.epochs,
        "training_s": round(training_s, 1),
        "cpu": cpu_model(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def note(path: Path, network: str, entry: dict[str, object]) -> None:
    """Put the entry into the file, keeping the others."""
    results = json.loads(path.read_text()) if path.exists() else {}
    results[network] = entry
    path.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")


def main() -> None:
    """Train, export, judge, note."""
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    recipe = RECIPES[options.network]
    recipe = replace(recipe, epochs=options.epochs or recipe.epochs)
    torch.manual_seed(recipe.seed)
    data = read_fashion(options.data)
    data = replace(data, fit=data.fit.take(slice(options.images)))
    network = NETWORKS[options.network]()
    training_s = fit(network, recipe, data.fit, data.held_out)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"fashion-{options.network}.onnx"
    export(network, path)
    entry = figures(network, recipe, path, data, training_s)
    note(options.out / "results.json", f"fashion-{options.network}", entry)
    print(json.dumps(entry, indent=2))


if __name__ == "__main__":
    main()
