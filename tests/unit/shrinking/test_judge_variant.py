from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.errors import BadInput
from edgewise.graphs import Model, load, to_bytes
from edgewise.profiling import Timing
from edgewise.shrinking import Measured, Quantize, judge
from strategies import onnx_file
from unit.planning import small_networks as small

pytestmark = pytest.mark.engine
STEP = Quantize(examples=1)
WIDTH = 256


def _net(layers: int, *, sign: float = 1.0) -> Model:
    """As many layers as wanted that change nothing; ``sign`` -1 turns every decision over."""
    names = ["x", *(f"h{i}" for i in range(layers)), "y"]
    nodes = [
        helper.make_node("MatMul", [a, "w" if b != "y" else "last"], [b])
        for a, b in itertools.pairwise(names)
    ]
    eye = np.eye(WIDTH, dtype=np.float32)
    return load(
        onnx_file(
            nodes,
            inputs=[("x", TensorProto.FLOAT, (1, WIDTH))],
            outputs=[("y", TensorProto.FLOAT, (1, WIDTH))],
            weights={"w": eye, "last": np.float32(sign) * eye},
        )
    )


def _inputs(count: int):
    rng = np.random.default_rng(5)
    return [{"x": rng.normal(size=(1, WIDTH)).astype(np.float32)} for _ in range(count)]


def test_a_faster_faithful_variant_is_kept() -> None:
    parent, small_one = _net(40), _net(0)
    variant = judge(parent, small_one, [STEP], _inputs(5))
    assert variant.rejected is None
    assert (variant.agreement.mid, variant.agreement.n) == (1.0, 5)
    assert (variant.parent_digest, variant.steps) == (parent.digest, (STEP,))
    assert variant.measured.speedup > 1
    assert variant.measured.bytes == len(to_bytes(small_one))
    assert variant.measured.parent_bytes == len(to_bytes(parent))


def test_a_slower_variant_is_refused() -> None:
    variant = judge(_net(0), _net(40), [STEP], _inputs(3))
    assert variant.rejected is not None
    assert variant.rejected.startswith("not faster here: ")
    assert " against " in variant.rejected


def test_an_unfaithful_variant_is_refused_however_fast() -> None:
    variant = judge(_net(40), _net(0, sign=-1.0), [STEP], _inputs(4))
    assert variant.rejected == "decides as the original on 0 % of 4 examples, below 95.0 %"


def test_the_limit_is_the_callers() -> None:
    variant = judge(_net(40), _net(0, sign=-1.0), [STEP], _inputs(4), min_agreement=0.0)
    assert variant.rejected is None


def test_one_example_is_enough_and_says_how_little_it_means() -> None:
    variant = judge(_net(40), _net(0), [STEP], _inputs(1))
    assert (variant.agreement.n, variant.agreement.low < 0.5) == (1, True)


def test_no_example_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        judge(_net(1), _net(0), [STEP], [])
    assert str(caught.value) == (
        "expected examples to judge a variant on, found none; pass --data DIR"
    )


def test_outputs_that_are_no_decisions_are_refused() -> None:
    model = load(
        onnx_file(
            [helper.make_node("Relu", ["x"], ["y"])],
            inputs=[("x", TensorProto.FLOAT, (1, 2, 3))],
            outputs=[("y", TensorProto.FLOAT, (1, 2, 3))],
        )
    )
    with pytest.raises(BadInput, match="outputs as numbers of shape examples x classes"):
        judge(model, model, [STEP], [{"x": np.zeros((1, 2, 3), np.float32)}])


def test_speedup_is_parent_over_variant() -> None:
    def took(seconds: float) -> Timing:
        return Timing(median_s=seconds, low_s=seconds, high_s=seconds, runs=1)

    measured = Measured(bytes=1, parent_bytes=2, time=took(0.5), parent_time=took(2.0))
    assert measured.speedup == 4.0


def test_networks_are_run_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgewise.engines import OnnxRuntimeEngine

    order: list[int] = []
    run = OnnxRuntimeEngine.run

    def noted(self, feeds):
        order.append(id(self))
        return run(self, feeds)

    monkeypatch.setattr(OnnxRuntimeEngine, "run", noted)
    judge(_net(2), _net(0), [STEP], _inputs(1))
    timed = order[2:]  # the first run of each gives its outputs
    assert len(timed) >= 20
    assert all(a != b for a, b in itertools.pairwise(timed))
    assert len(set(timed)) == 2


def test_it_does_not_need_a_network_that_takes_pictures() -> None:
    model = small.masked_net()
    feeds = [sample.feeds for sample in small.arrays(model).select]
    assert judge(model, model, [STEP], feeds).agreement.mid == 1.0
