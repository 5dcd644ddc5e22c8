"""BatchNormalization and arithmetic folded into the layer before, or left alone."""

import numpy as np
import pytest

from edgewise.graphs.trimming import trim

pytestmark = pytest.mark.engine

NORM = "BatchNormalization <epsilon: float = 0.001> (c, s, b, m, v)"
ROWS = {"takes": "float[batch,8] x", "gives": "float[batch,4] y"}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_a_norm_after_a_convolution_goes(network, ops, drawn, norm, op, groups, bias) -> None:
    body = f"c = {op} <group: int = {groups}> (x, w{', k' if bias else ''}) y = {NORM}"
    weights = {"w": drawn(4, 4 // groups, 1, 1), "k": drawn(4), **norm(4)}
    model = network(body, weights=weights)
    trimmed = trim(model)
    assert ops(trimmed.model) == [op]
    assert trimmed.step.undone == ()
    assert trimmed.step.max_rel <= 1e-5
    what = [removal.what for removal in trimmed.step.removed if removal.nodes]
    assert what == [f"BatchNormalization folded into {op}"]
    assert trimmed.step.bytes_after < trimmed.step.bytes_before


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("attributes", ["", ", alpha: float = 0.5, beta: float = 3.0"])
def test_a_norm_after_a_gemm_goes(network, ops, drawn, norm, transposed, attributes) -> None:
    body = f"c = Gemm <transB: int = {transposed}{attributes}> (x, w, k) y = {NORM}"
    shape = (4, 8) if transposed else (8, 4)
    trimmed = trim(network(body, weights={"w": drawn(*shape), "k": drawn(4), **norm(4)}, **ROWS))
    assert ops(trimmed.model) == ["Gemm"]
    assert trimmed.step.undone == ()


def test_a_norm_after_a_matmul_makes_a_gemm(network, ops, drawn, norm) -> None:
    body = f"c = MatMul(x, w) y = {NORM}"
    trimmed = trim(network(body, weights={"w": drawn(8, 4), **norm(4)}, **ROWS))
    assert ops(trimmed.model) == ["Gemm"]
    assert trimmed.step.undone == ()


def test_a_convolution_that_is_read_elsewhere_keeps_its_norm(network, ops, drawn, norm) -> None:
    body = f"c = Conv(x, w) n = {NORM} y = Add(c, n)"
    trimmed = trim(network(body, weights={"w": drawn(4, 4, 1, 1), **norm(4)}))
    assert ops(trimmed.model) == ["Conv", "BatchNormalization", "Add"]
    assert trimmed.model.digest == trim(trimmed.model).model.digest


def test_a_convolution_that_is_an_output_keeps_its_norm(network, ops, drawn, norm) -> None:
    weights = {"w": drawn(4, 4, 1, 1), **norm(4)}
    gives = "float[batch,4,6,6] c, float[batch,4,6,6] y"
    trimmed = trim(network(f"c = Conv(x, w) y = {NORM}", weights=weights, gives=gives))
    assert ops(trimmed.model) == ["Conv", "BatchNormalization"]


def test_parameters_that_two_norms_share_fold_into_both(network, ops, drawn, norm) -> None:
    body = f"c = Conv(x, w) n = {NORM} d = Conv(n, u) y = {NORM.replace('(c', '(d')}"
    weights = {"w": drawn(4, 4, 1, 1), "u": drawn(4, 4, 1, 1) + 1, **norm(4)}
    trimmed = trim(network(body, weights=weights))
    assert ops(trimmed.model) == ["Conv", "Conv"]
    assert trimmed.step.undone == ()


def test_a_kernel_that_two_convolutions_share_is_not_copied(network, ops, drawn, norm) -> None:
    body = f"d = Conv(x, w) c = Conv(d, w) y = {NORM}"
    trimmed = trim(network(body, weights={"w": drawn(4, 4, 1, 1), **norm(4)}))
    assert ops(trimmed.model) == ["Conv", "Conv", "BatchNormalization"]
    assert trimmed.step.undone == ()


def test_quantised_weights_stay_quantised(network, ops, drawn, norm) -> None:
    body = f"w = DequantizeLinear(q, scale, zero) c = Conv(x, w) y = {NORM}"
    quantised = np.arange(16, dtype=np.int8).reshape(4, 4, 1, 1)
    weights = {"q": quantised, "scale": np.float32(0.1), "zero": np.int8(0), **norm(4)}
    trimmed = trim(network(body, weights=weights))
    assert ops(trimmed.model) == ["DequantizeLinear", "Conv", "BatchNormalization"]


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (4, 1, 1), (1,), ()])
@pytest.mark.parametrize(
    "sum_or_product",
    ["Add(c, k)", "Add(k, c)", "Mul(c, k)", "Div(c, k)", "Sub(c, k)", "Sub(k, c)"],
)
def test_a_constant_a_channel_is_folded(network, ops, drawn, sum_or_product, shape) -> None:
    weights = {"w": drawn(4, 4, 1, 1), "k": drawn(*shape, low=0.5, high=1.5)}
    trimmed = trim(network(f"c = Conv(x, w) y = {sum_or_product}", weights=weights))
    assert ops(trimmed.model) == ["Conv"]
    assert trimmed.step.undone == ()


@pytest.mark.parametrize(
    ("sum_or_product", "shape"),
    [("Add(c, k)", (1, 1, 1, 6)), ("Mul(c, k)", (6,)), ("Div(k, c)", (1,))],
)
def test_other_constants_are_not_folded(network, ops, drawn, sum_or_product, shape) -> None:
    weights = {"w": drawn(4, 4, 1, 1), "k": drawn(*shape, low=0.5, high=1.5)}
    trimmed = trim(network(f"c = Conv(x, w) y = {sum_or_product}", weights=weights))
    assert len(ops(trimmed.model)) == 2


def test_scales_after_a_lone_norm_go_into_it(network, ops, drawn, norm) -> None:
    body = f"c = Relu(x) n = {NORM} p = Mul(n, k) y = Add(p, k)"
    trimmed = trim(network(body, weights={"k": drawn(1, 4, 1, 1), **norm(4)}))
    assert ops(trimmed.model) == ["Relu", "BatchNormalization"]


def test_a_bias_makes_a_gemm_of_matrices_only(network, ops, drawn) -> None:
    body = "c = MatMul(x, w) y = Add(c, k)"
    weights = {"w": drawn(8, 4), "k": drawn(4)}
    assert ops(trim(network(body, weights=weights, **ROWS)).model) == ["Gemm"]
    cubes = {"takes": "float[batch,3,8] x", "gives": "float[batch,3,4] y"}
    assert ops(trim(network(body, weights=weights, **cubes)).model) == ["MatMul", "Add"]


def test_a_sum_of_two_products_is_no_bias_that_widens(network, ops) -> None:
    body = "c = MatMul(x, z) y = Add(c, k)"
    forms = {"takes": "float[1,8] x, float[8,4] z, float[3,4] k", "gives": "float[3,4] y"}
    assert ops(trim(network(body, **forms)).model) == ["MatMul", "Add"]
