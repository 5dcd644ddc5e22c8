"""Bodies, quantised networks, half precision, text and inputs that decide what runs."""

import numpy as np
import pytest

from edgewise.graphs import Pass, random_feeds, trim
from edgewise.graphs.feeds import deciding_numbers

pytestmark = pytest.mark.engine

ROW = {"takes": "float[batch,4] x", "gives": "float[batch,4] y"}
IMAGE = "float[batch,4,6,6]"


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_what_stands_in_a_loop_is_trimmed_and_its_border_stays(network, ops) -> None:
    body = """i = Identity(x)
    y = Loop (times, , i) <body = step (int64 at, bool go, float[batch,4] carried) =>
        (bool further, float[batch,4] next) {
            further = Identity(go) d = Dropout(carried) e = Identity(d) next = Relu(e) }>"""
    trimmed = trim(network(body, weights={"times": np.int64(3)}, **ROW))
    assert ops(trimmed.model) == ["Loop", "Identity", "Relu"]
    assert trimmed.step.undone == ()


def test_what_stands_in_a_scan_is_trimmed(network, ops) -> None:
    body = """last, y = Scan <num_scan_inputs = 1, body = step (float[4] before, float[4] row) =>
        (float[4] after, float[4] out) {
            s = Add(before, row) i = Identity(s) after = Relu(i) out = Neg(i) }> (start, x)"""
    form = {"takes": "float[n,4] x", "gives": "float[n,4] y"}
    trimmed = trim(network(body, weights={"start": np.zeros(4, np.float32)}, **form))
    assert ops(trimmed.model) == ["Scan", "Add", "Relu", "Neg"]
    assert trimmed.step.undone == ()


def test_integer_convolutions_are_left_alone(network, ops) -> None:
    body = """q = QuantizeLinear(x, scale, zero)
    i = Identity(q) c = QLinearConv(i, scale, zero, w, scale, zero, scale, zero)
    y = DequantizeLinear(c, scale, zero)"""
    kernel = np.arange(16, dtype=np.uint8).reshape(4, 4, 1, 1)
    weights = {"w": kernel, "scale": np.float32(0.1), "zero": np.uint8(3)}
    trimmed = trim(network(body, weights=weights))
    assert ops(trimmed.model) == ["QuantizeLinear", "QLinearConv", "DequantizeLinear"]
    assert trimmed.step.max_rel == 0
    assert trimmed.step.undone == ()


def test_a_network_with_quantised_weights_never_grows(network, ops, norm) -> None:
    body = """w = DequantizeLinear <axis: int = 0> (q, scales, zeros) d = Dropout(x)
    t = Transpose <perm: ints = [1, 0, 2, 3]> (w) a = QuantizeLinear(d, scale, zero)
    b = DequantizeLinear(a, scale, zero) c = Conv(b, t)
    y = BatchNormalization(c, s, b1, m, v)"""
    weights = {
        **norm(4),
        "q": np.arange(16, dtype=np.int8).reshape(4, 4, 1, 1),
        "scales": np.linspace(0.1, 0.4, 4, dtype=np.float32),
        "zeros": np.zeros(4, np.int8),
        "scale": np.float32(0.1),
        "zero": np.uint8(128),
    }
    weights["b1"] = weights.pop("b")
    trimmed = trim(network(body, weights=weights))
    left = ops(trimmed.model)
    assert left.count("DequantizeLinear") == 2
    assert left.count("QuantizeLinear") == 1
    assert "Dropout" not in left
    assert trimmed.step.bytes_after <= trimmed.step.bytes_before


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_half_precision_is_folded_within_its_rounding_or_left(
    network, ops, drawn, norm, op
) -> None:
    weights = {"w": drawn(4, 4, 1, 1), **norm(4)}
    halves = {name: array.astype(np.float16) for name, array in weights.items()}
    form = {"takes": "float16[batch,4,6,6] x", "gives": "float16[batch,4,6,6] y"}
    body = f"c = {op}(x, w) n = BatchNormalization(c, s, b, m, v) y = Identity(n)"
    trimmed = trim(network(body, weights=halves, **form))
    assert trimmed.step.max_rel <= 1e-5
    assert "Identity" not in ops(trimmed.model)
    assert trimmed.step.bytes_after <= trimmed.step.bytes_before


def test_text_inside_a_network_goes_through(network, ops) -> None:
    body = """u = StringConcat(words, words) i = Identity(u) e = Equal(i, other)
    f = Cast <to: int = 1> (e) y = Add(x, f)"""
    weights = {"words": np.array(["a", "b", "c", "d"], object),
               "other": np.array(["aa", "b", "cc", "d"], object)}  # fmt: skip
    trimmed = trim(network(body, weights=weights, opset=20, **ROW))
    assert "Identity" not in ops(trimmed.model)
    assert trimmed.step.undone == ()


def test_inputs_that_are_left_out_stay_left_out(network, ops) -> None:
    body = "c = Clip(x, , top) i = Identity(c) y = Resize(i, , scales)"
    weights = {"top": np.float32(1), "scales": np.array([1, 1, 2, 2], np.float32)}
    trimmed = trim(network(body, weights=weights, gives="float[batch,4,12,12] y"))
    assert ops(trimmed.model) == ["Clip", "Resize"]
    assert trimmed.step.undone == ()


def test_an_empty_input_at_the_end_is_no_change(network) -> None:
    model = network("c = Clip(x, bottom, ) y = Neg(c)", weights={"bottom": np.float32(0)})
    assert trim(model).step.removed == ()


DECIDED = """rate = Equal(r, fast)
    y = If (rate) <then_branch = one () => (float[batch,4] p) { p = Neg(x) },
                   else_branch = two () => (float[batch,4] o) { o = Exp(x) }>"""


def test_a_number_that_the_network_asks_for_is_given(network) -> None:
    form = {"takes": "float[batch,4] x, int64 r", "gives": "float[batch,4] y"}
    model = network(DECIDED, weights={"fast": np.int64(16000)}, **form)
    assert deciding_numbers(model.ir.graph) == {"r": (16000, 16001, 15999)}
    assert random_feeds(model, np.random.default_rng(0))["r"] == 16000


def test_both_branches_are_tried(network) -> None:
    form = {"takes": "float[batch,4] x, int64 r", "gives": "float[batch,4] y"}
    model = network(DECIDED, weights={"fast": np.int64(16000)}, **form)

    def spoil(branch: str):
        def apply(ir) -> None:
            (node,) = (n for n in ir.graph if n.op_type == "If")
            node.attributes.get_graph(branch)[0].op_type = "Abs"

        return apply

    for branch in ("then_branch", "else_branch"):
        wrong = Pass(name=branch, apply=spoil(branch), max_rel=1e-5)
        assert [u.what for u in trim(model, passes=(wrong,)).step.undone] == [branch]


def test_a_truth_value_that_decides_is_tried_both_ways(network) -> None:
    takes = "float[batch,4] x, bool rate"
    body = DECIDED.split("\n", 1)[1]
    model = network(body, takes=takes, gives="float[batch,4] y")
    assert deciding_numbers(model.ir.graph) == {"rate": (1, 0)}
    assert trim(model).step.runs == 3
