"""Halves of small networks: who holds what, what crosses, and that they compute the whole."""

import json
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgewise.engines import Optimisation, open_engine
from edgewise.errors import BadInput, ProofFailed
from edgewise.graphs import (
    Cut,
    Halves,
    Model,
    Payload,
    Proof,
    QuantRange,
    check_proof,
    cut,
    find_cuts,
    load,
    prove,
    prove_cuts,
    quantisation,
    random_feeds,
    to_bytes,
    wire_name,
)
from edgewise.tensors import TensorSpec
from strategies import chain_file, onnx_file

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
ROW = ("N", 4)
RNG_SEED = 7


def _two_layers(kind: int = FLOAT) -> Model:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["größe"]),
        helper.make_node("MatMul", ["größe", "w2"], ["y"]),
    ]
    rng = np.random.default_rng(RNG_SEED)
    weights = {"w1": rng.normal(size=(4, 6)), "w2": rng.normal(size=(6, 3))}
    return load(
        onnx_file(
            nodes,
            inputs=[("x", kind, ROW)],
            outputs=[("y", kind, ("N", 3))],
            weights={name: array.astype(dtype) for name, array in weights.items()},
        )
    )


def _feeds(model: Model, count: int = 2) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(RNG_SEED)
    return [random_feeds(model, rng, batch=batch) for batch in range(1, count + 1)]


def _ops(model: Model) -> list[str]:
    return [node.op_type for node in model.ir.graph]


def _proved(model: Model, halves: Halves) -> Proof:
    return prove(model, halves, _feeds(model))


def test_weights_go_only_where_they_are_needed() -> None:
    model = _two_layers()
    halves = cut(model, find_cuts(model)[1])
    assert list(halves.head.ir.graph.initializers) == ["w1"]
    assert list(halves.tail.ir.graph.initializers) == ["w2"]
    assert halves.head.weight_bytes + halves.tail.weight_bytes == model.weight_bytes
    assert halves.head.digest != halves.tail.digest != model.digest
    assert (halves.head.name, halves.tail.name) == ("tiny-head", "tiny-tail")
    assert halves.head.opset == halves.tail.opset == model.opset
    assert load(to_bytes(halves.tail)).digest == halves.tail.digest


@pytest.mark.engine
def test_a_name_that_may_not_cross_is_replaced_by_one_that_may() -> None:
    model = _two_layers()
    halves = cut(model, find_cuts(model)[1])
    (spec,) = halves.boundary
    assert spec.name == wire_name("größe")
    assert spec.name.isascii()
    assert halves.at.name == "größe"
    assert _proved(model, halves).bit_equal


@pytest.mark.parametrize("name", ["", "a b", "x" * 257, "a\nb", "ü" * 300])
def test_wire_names_are_valid_stable_and_distinct(name: str) -> None:
    made = wire_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_./:-]{1,256}", made)
    assert made == wire_name(name) != wire_name(name + "!")


@pytest.mark.engine
def test_fp16_is_a_cast_at_the_end_and_one_at_the_start() -> None:
    model = _two_layers()
    halves = cut(model, find_cuts(model)[0], payload=Payload.FP16)
    assert _ops(halves.head)[-1] == "Cast"
    assert _ops(halves.tail)[0] == "Cast"
    assert [str(spec) for spec in halves.boundary] == ["a:float16 float16[N, 6]"]
    proof = _proved(model, halves)
    # One rounding of 11 bits, through a layer of 6 summands.
    assert 0 < proof.max_rel < 6 * 2**-11
    with pytest.raises(ProofFailed, match="the halves differ from the whole"):
        check_proof(proof)
    check_proof(proof, max_rel=1e-2)


@pytest.mark.engine
def test_int8_is_a_quantize_at_the_end_and_a_dequantize_at_the_start() -> None:
    model = _two_layers()
    at = find_cuts(model)[0]
    ranges = {"a": QuantRange(low=-8.0, high=8.0)}
    halves = cut(model, at, payload=Payload.INT8, ranges=ranges)
    assert _ops(halves.head)[-1] == "QuantizeLinear"
    assert _ops(halves.tail)[0] == "DequantizeLinear"
    assert [str(spec) for spec in halves.boundary] == ["a:uint8 uint8[N, 6]"]
    assert halves.boundary[0].nbytes() * 4 == at.nbytes()
    assert 0 < _proved(model, halves).max_rel < 0.1


@pytest.mark.engine
def test_a_half_precision_network_crosses_as_it_is_or_as_int8() -> None:
    model = _two_layers(TensorProto.FLOAT16)
    at = find_cuts(model)[0]
    assert cut(model, at, payload=Payload.FP16).boundary == at.tensors
    ranges = {"a": QuantRange(low=-8.0, high=8.0)}
    halves = cut(model, at, payload=Payload.INT8, ranges=ranges)
    assert _ops(halves.head)[-2:] == ["Cast", "QuantizeLinear"]
    assert _ops(halves.tail)[:2] == ["DequantizeLinear", "Cast"]
    assert 0 < _proved(model, halves).max_rel < 0.1


def test_int8_needs_a_range() -> None:
    model = _two_layers()
    with pytest.raises(BadInput, match="a range for every floating-point content tensor"):
        cut(model, find_cuts(model)[0], payload=Payload.INT8)


def _masked() -> Model:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Cast", ["mask"], ["m"], to=FLOAT),
        helper.make_node("Mul", ["a", "m"], ["y"]),
    ]
    inputs = [("x", FLOAT, ROW), ("mask", INT64, ROW)]
    return load(onnx_file(nodes, inputs=inputs, outputs=[("y", FLOAT, ROW)]))


@pytest.mark.engine
@pytest.mark.parametrize("payload", [Payload.FP32, Payload.FP16])
def test_structure_crosses_as_it_is(payload: Payload) -> None:
    model = _masked()
    (at,) = find_cuts(model)
    halves = cut(model, at, payload=payload)
    mask = halves.boundary[1]
    assert (mask.name, mask.dtype) == ("mask:carried", "int64")
    assert "m" not in {value.name for value in halves.head.ir.graph.outputs}
    proof = _proved(model, halves)
    assert proof.bit_equal is (payload is Payload.FP32)


@pytest.mark.engine
def test_an_output_that_the_head_computes_passes_through() -> None:
    nodes = [helper.make_node("Tanh", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
    model = load(
        onnx_file(
            nodes, inputs=[("x", FLOAT, ROW)], outputs=[("y", FLOAT, ROW), ("z", FLOAT, ROW)]
        )
    )
    (at,) = find_cuts(model)
    halves = cut(model, at)
    assert [spec.name for spec in halves.boundary] == ["y:carried"]
    assert halves.tail.outputs == model.outputs
    assert _proved(model, halves).bit_equal


PREPARATION = {
    "schema": 1,
    "kind": "image",
    "input": "x",
    "height": 8,
    "width": 8,
    "mode": "RGB",
    "crop_fraction": 1.0,
    "resample": "bicubic",
    "layout": "CHW",
    "mean": [0, 0, 0],
    "scale": [1, 1, 1],
}


def test_metadata_goes_where_it_is_used() -> None:
    file = onnx.load_model_from_string(chain_file("Relu", "Tanh"))
    props = {
        "edgewise.preparation": json.dumps(PREPARATION),
        "edgewise.labels": '["a"]',
        "edgewise.licence": "MIT",
    }
    helper.set_model_props(file, props)
    model = load(file.SerializeToString())
    halves = cut(model, find_cuts(model)[0])
    assert set(halves.head.metadata) == {"edgewise.preparation", "edgewise.licence"}
    assert set(halves.tail.metadata) == {"edgewise.labels", "edgewise.licence"}


def _at(*names: str) -> Cut:
    return Cut(tensors=tuple(TensorSpec(name=n, dtype="float32", shape=ROW) for n in names))


def test_a_tensor_of_another_network_is_refused() -> None:
    with pytest.raises(BadInput, match="tensors of this network, found the name 'nope'"):
        cut(load(chain_file("Relu", "Tanh")), _at("nope"))


def test_a_set_that_does_not_separate_is_refused() -> None:
    with pytest.raises(BadInput, match=r"separates inputs and outputs at a.*mask"):
        cut(_masked(), _at("a"))


@pytest.mark.engine
def test_a_cut_through_several_content_tensors_works_too() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["l"]),
        helper.make_node("Neg", ["x"], ["r"]),
        helper.make_node("Add", ["l", "r"], ["y"]),
    ]
    model = load(onnx_file(nodes, inputs=[("x", FLOAT, ROW)], outputs=[("y", FLOAT, ROW)]))
    at = _at("l", "r")
    assert at.name == "l+r"
    ranges = {name: QuantRange(low=-4, high=4) for name in ("l", "r")}
    for payload in Payload:
        halves = cut(model, at, payload=payload, ranges=ranges)
        assert len(halves.boundary) == 2
        assert _proved(model, halves).max_rel < 0.05
    check_proof(_proved(model, cut(model, at)))


@pytest.mark.engine
def test_a_proof_finds_halves_of_another_network() -> None:
    model, other = _two_layers(), load(chain_file("Relu", "Tanh"))
    wrong = load(chain_file("Tanh", "Neg"))
    halves = cut(wrong, find_cuts(wrong)[0])
    proof = prove(other, halves, _feeds(other))
    assert not proof.bit_equal
    assert proof.max_abs > 0
    with pytest.raises(ProofFailed, match=r"relative .* in 2 runs; allowed is 0"):
        check_proof(proof)
    with pytest.raises(BadInput, match="at least one input to prove a cut with"):
        prove(model, cut(model, find_cuts(model)[0]), [])


def test_tolerance_follows_the_optimisation() -> None:
    near = {"max_abs": 1e-6, "max_rel": 1e-6, "bit_equal": False, "runs": 1}
    check_proof(Proof(**near, optimisation=Optimisation.ALL))
    with pytest.raises(ProofFailed, match="allowed is 0"):
        check_proof(Proof(**near, optimisation=Optimisation.BASIC))
    far = near | {"max_rel": 2e-5}
    with pytest.raises(ProofFailed, match="allowed is 1e-05"):
        check_proof(Proof(**far, optimisation=Optimisation.ALL))


@pytest.mark.engine
def test_many_cuts_are_proved_against_one_run_of_the_whole() -> None:
    model = load(chain_file("Relu", "Tanh", "Sigmoid", "Neg"))
    proofs = list(prove_cuts(model, find_cuts(model), _feeds(model)))
    assert [(at.name, proof.bit_equal, proof.runs) for at, proof in proofs] == [
        (name, True, 2) for name in ("t0", "t1", "t2")
    ]


def test_random_feeds_are_what_the_network_takes_and_repeat() -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("Cast", ["pixels"], ["p"], to=FLOAT),
        helper.make_node("Where", ["keep", "e", "p"], ["y"]),
    ]
    inputs = [
        ("ids", INT64, ("N",)),
        ("pixels", TensorProto.UINT8, ("N", 3)),
        ("keep", TensorProto.BOOL, ("N", 3)),
    ]
    model = load(
        onnx_file(
            nodes,
            inputs=inputs,
            outputs=[("y", FLOAT, ("N", 3))],
            weights={"table": np.zeros((5, 3), np.float32)},
        )
    )
    feeds = random_feeds(model, np.random.default_rng(1), batch=64)
    again = random_feeds(model, np.random.default_rng(1), batch=64)
    assert all(np.array_equal(feeds[name], again[name]) for name in feeds)
    assert set(feeds["ids"].tolist()) == set(range(5))
    assert feeds["pixels"].max() > 200
    assert feeds["keep"].all()


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 6.0), (-1.0, 3.0), (2.0, 5.0), (-4.0, -1.0), (0.0, 0.0), (-1e-45, 0)]
)
def test_quantisation_holds_zero_exactly_and_the_range_within_half_a_step(
    low: float, high: float
) -> None:
    scale, zero_point = quantisation(low, high)
    assert 0 <= zero_point <= 255
    for value in (low, 0.0, high):
        code = np.clip(np.rint(np.float32(value) / np.float32(scale)) + zero_point, 0, 255)
        back = (code - zero_point) * scale
        assert abs(back - value) <= scale * 0.501 + 1e-6 * abs(value)
        assert value != 0 or back == 0


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_range_must_be_one(low: float, high: float) -> None:
    with pytest.raises(BadInput, match="finite numbers low <= high"):
        QuantRange(low=low, high=high)


@pytest.mark.engine
def test_the_nodes_quantise_as_the_formula_says() -> None:
    model = load(chain_file("Relu", "Neg"))
    (at,) = find_cuts(model)
    span = QuantRange(low=0.0, high=2.0)
    halves = cut(model, at, payload=Payload.INT8, ranges={at.name: span})
    x = np.array([[0.0, 0.5, 1.999, 9.0]], np.float32)
    scale, zero_point = quantisation(span.low, span.high)
    with open_engine(to_bytes(halves.head)) as head:
        (codes,) = head.run({"x": x}).values()
    wanted = np.clip(np.rint(x / np.float32(scale)) + zero_point, 0, 255).astype(np.uint8)
    assert codes.tolist() == wanted.tolist()
