"""Rewrites that would be right for most numbers or sizes, but not for all."""

import numpy as np
import pytest

from edgewise.engines import Optimisation, open_engine
from edgewise.graphs import Pass, to_bytes, trim

pytestmark = pytest.mark.engine

LINE = {"takes": "float[batch,n] x"}


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def answer(model, feeds):
    with open_engine(to_bytes(model), optimisation=Optimisation.NONE) as engine:
        return engine.run(feeds)["y"]


def test_a_slice_that_cuts_long_inputs_stays(network, ops) -> None:
    weights = {"start": whole(0), "end": whole(512), "axis": whole(1)}
    body = "s = Slice(x, start, end, axis) y = Neg(s)"
    model = network(body, weights=weights, gives="float[batch,m] y", **LINE)
    trimmed = trim(model).model
    assert ops(trimmed) == ["Slice", "Neg"]
    assert answer(trimmed, {"x": np.ones((1, 600), np.float32)}).shape == (1, 512)


def test_a_slice_of_an_open_axis_to_its_end_goes(network, ops) -> None:
    weights = {"start": whole(0), "end": whole(2**63 - 1), "axis": whole(1)}
    body = "s = Slice(x, start, end, axis) y = Neg(s)"
    model = network(body, weights=weights, gives="float[batch,n] y", **LINE)
    assert ops(trim(model).model) == ["Neg"]


def test_a_size_that_only_short_inputs_have_is_not_fixed(network) -> None:
    body = """s = Shape(x) n = Gather(s, one) m = Max(n, least) e = Expand(fill, m)
    r = ReduceSum <keepdims: int = 0> (e) y = Add(x, r)"""
    weights = {"one": whole(1), "least": whole(64), "fill": np.ones(1, np.float32)}
    model = network(body, weights=weights, gives="float[batch,n] y", **LINE)
    trimmed = trim(model).model
    for length in (3, 100):
        feeds = {"x": np.zeros((1, length), np.float32)}
        np.testing.assert_array_equal(answer(trimmed, feeds), answer(model, feeds))


def test_a_wide_integer_between_keeps_what_a_float_would_lose(network, ops) -> None:
    body = "d = Cast <to: int = 11> (x) y = Cast <to: int = 7> (d)"
    model = network(body, takes="int64[batch] x", gives="int64[batch] y")
    assert ops(trim(model).model) == ["Cast", "Cast"]
    body = "d = Cast <to: int = 1> (x) y = Cast <to: int = 2> (d)"
    model = network(body, takes="int8[batch] x", gives="uint8[batch] y")
    assert ops(trim(model).model) == ["Cast", "Cast"]


def test_a_reshape_of_nothing_is_left_alone(network, ops) -> None:
    weights = {"zero": whole(0), "one": whole(1), "first": whole(0, 0, 3), "second": whole(0, 6)}
    body = """e = Slice(x, zero, zero, one) r = Reshape <allowzero: int = 1> (e, first)
    f = Reshape <allowzero: int = 1> (r, second) s = ReduceSum(f) y = Add(z, s)"""
    form = {"takes": "float[4,6] x, float[4,6] z", "gives": "float[4,6] y"}
    trimmed = trim(network(body, weights=weights, **form))
    assert trimmed.step.undone == ()


def test_an_empty_part_of_a_concat_goes(network, ops) -> None:
    body = """s = Shape(x) n = Gather(s, at) o = Concat <axis: int = 0> (n, rest)
    e = ConstantOfShape(o) c = Concat <axis: int = 1> (e, x) y = Neg(c)"""
    weights = {"at": whole(0), "rest": whole(0, 6, 6)}
    trimmed = trim(network(body, weights=weights))
    assert ops(trimmed.model) == ["Neg"]
    assert trimmed.step.undone == ()


def test_axes_that_are_computed_are_not_taken_for_equal(network, ops) -> None:
    body = "m = ReduceSum(x, axes) y = Squeeze(m)"
    forms = {"takes": "float[batch,4,6,6] x, int64[2] axes", "gives": "float[k,l] y"}
    model = network(body, **forms)
    assert ops(trim(model).model) == ["ReduceSum", "Squeeze"]


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_products_that_overflow_are_not_merged(network, ops, kind) -> None:
    large = np.full(1, np.finfo(kind).max / 2, kind)
    name = "float" if kind is np.float32 else "float16"
    form = {"takes": f"{name}[batch,4] x", "gives": f"{name}[batch,4] y"}
    body = "a = Mul(x, k) y = Mul(a, k)"
    assert ops(trim(network(body, weights={"k": large}, **form)).model) == ["Mul", "Mul"]


def test_weights_that_overflow_when_scaled_keep_their_product(network, ops) -> None:
    weights = {
        "w": np.full((4, 4, 1, 1), 300, np.float16),
        "k": np.full((4, 1, 1), 300, np.float16),
    }
    form = {"takes": "float16[batch,4,6,6] x", "gives": "float16[batch,4,6,6] y"}
    trimmed = trim(network("c = Conv(x, w) y = Mul(c, k)", weights=weights, **form))
    assert ops(trimmed.model) == ["Conv", "Mul"]
    assert trimmed.step.undone == ()


def test_outputs_left_out_in_one_of_two_equal_nodes(network, ops, drawn) -> None:
    gru = "GRU <hidden_size: int = 3> (x, w, r)"
    body = f"""a, h = {gru} c, k = {gru} b, l = {gru} s = Add(h, k)
    t = ReduceMax <keepdims: int = 0> (b) u = Add(s, l) y = Add(u, t)"""
    weights = {"w": drawn(1, 9, 2), "r": drawn(1, 9, 3)}
    form = {"takes": "float[5,batch,2] x", "gives": "float[1,batch,3] y"}
    trimmed = trim(network(body, weights=weights, **form))
    assert trimmed.step.undone == ()
    assert ops(trimmed.model).count("GRU") == 1


def test_an_output_that_is_also_an_input_stays(network) -> None:
    gives = "float[batch,4,6,6] x, float[batch,4,6,6] y"
    trimmed = trim(network("i = Identity(x) y = Relu(i)", gives=gives))
    assert [spec.name for spec in trimmed.model.outputs] == ["x", "y"]
    assert trimmed.step.undone == ()


def test_a_part_of_a_failing_pass_is_kept(network, ops) -> None:
    body = "a = Mul(x, one) b = Relu(a) c = Mul(b, two) d = Abs(c) e = Mul(d, one) y = Neg(e)"
    weights = {"one": np.ones(1, np.float32), "two": np.full(1, 2, np.float32)}

    def drop_all(ir) -> None:
        for node in list(ir.graph):
            if node.op_type == "Mul" and node.domain == "":
                node.outputs[0].replace_all_uses_with(node.inputs[0])
                ir.graph.remove(node, safe=True)

    bold = Pass(name="products", apply=drop_all, max_rel=1e-5, ops=frozenset({"Mul"}))
    trimmed = trim(network(body, weights=weights), passes=(bold,))
    assert ops(trimmed.model) == ["Relu", "Mul", "Abs", "Neg"]
    assert [(r.what, r.nodes) for r in trimmed.step.removed] == [("products", 2)]
    assert [u.what for u in trimmed.step.undone] == ["products"]
    assert trimmed.step.undone[0].reason.startswith("at 1 of 3 nodes: y differs by")
