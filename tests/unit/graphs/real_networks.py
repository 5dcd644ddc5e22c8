"""Where the real networks are that several tests run, and what the engine folds in them."""

from pathlib import Path

import pytest

from edgewise.graphs import Model
from edgewise.profiling import count

_ROOT = Path(__file__).resolve().parents[3]
LITE0 = _ROOT.parent / "shared" / "models" / "efficientnet-lite0.onnx"
FASHION = sorted((_ROOT / "src" / "edgewise" / "zoo" / "assets" / "fashion").glob("*.onnx"))

needs_lite0 = pytest.mark.skipif(
    not LITE0.exists(), reason="needs ../shared/models/efficientnet-lite0.onnx"
)


def between_conv_and_norm(model: Model) -> set[str]:
    """Cut apart here, a Conv and its BatchNormalization cannot be folded into one; that rounds."""
    profile = count(model)
    ops = {node.name: node.op for node in profile.nodes}
    return {
        edge.name
        for edge in profile.edges
        if edge.producer is not None
        and ops[edge.producer] == "Conv"
        and [ops[name] for name in edge.consumers] == ["BatchNormalization"]
    }
