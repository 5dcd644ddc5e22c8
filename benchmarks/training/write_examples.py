"""Write the examples shipped beside the networks.

    python benchmarks/training/write_examples.py --out DIR

`DIR/examples.npz` holds 2 000 test images, 200 of each class, and 600 training images, 60 of each
class, out of the held-out part that no weight was fitted on: the first to judge with, the second
to calibrate and choose with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from fashion import DEFAULT_FOLDER, read_fashion, shipped_test, shipped_train


def write_examples(data: Path, out: Path) -> Path:
    """Draw both parts and write them; the same bytes every time for the same numpy and zlib."""
    fashion = read_fashion(data)
    test, train = shipped_test(fashion), shipped_train(fashion)
    path = out / "examples.npz"
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        test_images=test.images,
        test_labels=test.labels,
        train_images=train.images,
        train_labels=train.labels,
    )
    return path


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of examples.npz")
    parser.add_argument(
        "--data", type=Path, default=DEFAULT_FOLDER, help="folder of the four IDX files"
    )
    options = parser.parse_args()
    path = write_examples(options.data, options.out)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
