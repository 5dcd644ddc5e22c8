"""Passes that move, merge and drop, each also on a graph where it must not."""

import numpy as np
import pytest

from edgewise.graphs.trimming import trim

pytestmark = pytest.mark.engine


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


NO_OPS = {
    "Identity": "a = Identity(r) b = Identity(a) y = Neg(b)",
    "Cast to the same type": "a = Cast <to: int = 1> (r) y = Neg(a)",
    "Reshape to the same shape": "a = Reshape(r, t) y = Neg(a)",
    "Transpose in order": "a = Transpose <perm: ints = [0, 1, 2, 3]> (r) y = Neg(a)",
    "Slice of everything": "a = Slice(r, zero, end, axis) y = Neg(a)",
    "Pad by nothing": "a = Pad(r, nothing) y = Neg(a)",
    "Expand to the same": "a = Expand(r, ones) y = Neg(a)",
    "Concat of one": "a = Concat <axis: int = 1> (r) y = Neg(a)",
    "Unsqueeze and Squeeze": "a = Unsqueeze(r, axis) b = Squeeze(a, axis) y = Neg(b)",
    "Transpose and back": "a = Transpose <perm: ints = [0, 2, 3, 1]> (r) "
    "b = Transpose <perm: ints = [0, 3, 1, 2]> (a) y = Neg(b)",
    "Reshape and back": "a = Reshape(r, flat) b = Reshape(a, t) y = Neg(b)",
    "times one": "a = Mul(r, one) y = Neg(a)",
    "divided by one": "a = Div(r, one) y = Neg(a)",
    "plus zero": "a = Add(nought, r) y = Neg(a)",
    "minus zero": "a = Sub(r, nought) y = Neg(a)",
    "Relu twice": "a = Relu(r) y = Neg(a)",
    "Neg twice": "a = Neg(r) b = Neg(a) y = Neg(b)",
    "Tile once": "a = Tile(r, ones) y = Neg(a)",
    "MaxPool of one": "a = MaxPool <kernel_shape: ints = [1, 1]> (r) y = Neg(a)",
    "Clip above a Relu": "y0 = Clip(r, bottom, top) y = Neg(y0)",
    "a dead end": "a = Exp(r) b = Sqrt(a) y = Neg(r)",
}
NUMBERS = {
    "t": whole(-1, 4, 6, 6),
    "flat": whole(0, 144),
    "ones": whole(1, 1, 1, 1),
    "zero": whole(0),
    "end": whole(2**31),
    "axis": whole(2),
    "nothing": whole(*[0] * 8),
    "one": np.ones(1, np.float32),
    "nought": np.zeros(1, np.float32),
    "bottom": np.float32(-1),
    "top": np.float32(0.5),
}


@pytest.mark.parametrize("body", NO_OPS.values(), ids=NO_OPS)
def test_what_does_nothing_goes(network, ops, body) -> None:
    trimmed = trim(network(f"r = Relu(x) {body}", weights=NUMBERS))
    first = ["Clip"] if "Clip" in body else ["Relu"]
    assert ops(trimmed.model) == [*first, "Neg"]
    assert trimmed.step.undone == ()
    assert trimmed.step.max_rel == 0


SOMETHINGS = {
    "Cast": ("a = Cast <to: int = 7> (x) y = Cast <to: int = 1> (a)", "float[batch,4,6,6] y"),
    "Slice backwards": ("y = Slice(x, end, lowest, axis, back)", "float[batch,4,6,6] y"),
    "Transpose of equal axes": (
        "y = Transpose <perm: ints = [0, 1, 3, 2]> (x)", "float[batch,4,6,6] y",
    ),
    "sum that widens": ("y = Add(x, zeros)", "float[2,batch,4,6,6] y"),
    "times two": ("y = Mul(x, two)", "float[batch,4,6,6] y"),
    "one divided": ("y = Div(one, x)", "float[batch,4,6,6] y"),
    "MaxPool of three": (
        "y = MaxPool <kernel_shape: ints = [3, 3], pads: ints = [1, 1, 1, 1]> (x)",
        "float[batch,4,6,6] y",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "gives"), SOMETHINGS.values(), ids=SOMETHINGS)
def test_what_does_something_stays(network, ops, body, gives) -> None:
    weights = {
        **NUMBERS,
        "lowest": whole(-(2**31)),
        "back": whole(-1),
        "zeros": np.zeros((2, 1, 1, 1, 1), np.float32),
        "two": np.full(1, 2, np.float32),
    }
    model = network(body, weights=weights, gives=gives)
    assert ops(trim(model).model) == ops(model)


def test_an_identity_from_input_to_output_stays(network, ops) -> None:
    assert ops(trim(network("y = Identity(x)")).model) == ["Identity"]


def test_two_clips_bound_as_both_did(network, ops) -> None:
    limits = {"a": np.float32(0), "b": np.float32(1), "c": np.float32(2), "d": np.float32(3)}
    trimmed = trim(network("p = Clip(x, a, b) y = Clip(p, c, d)", weights=limits))
    assert ops(trimmed.model) == ["Clip"]
    assert trimmed.step.undone == ()


def test_min_and_max_make_a_clip_unless_they_cross(network, ops) -> None:
    body = "p = Max(x, a) y = Min(p, b)"
    low, high = np.float32(-0.5), np.float32(0.5)
    assert ops(trim(network(body, weights={"a": low, "b": high})).model) == ["Clip"]
    assert ops(trim(network(body, weights={"a": high, "b": low})).model) == ["Max", "Min"]


def test_a_widening_cast_between_is_skipped_a_narrowing_is_not(network, ops) -> None:
    wide = "a = Cast <to: int = 11> (x) y = Cast <to: int = 10> (a)"
    narrow = "a = Cast <to: int = 10> (x) y = Cast <to: int = 11> (a)"
    halves = {"gives": "float16[batch,4,6,6] y"}
    doubles = {"gives": "double[batch,4,6,6] y"}
    assert ops(trim(network(wide, **halves)).model) == ["Cast"]
    assert ops(trim(network(narrow, **doubles)).model) == ["Cast", "Cast"]


def test_computed_reshape_targets_become_constants(network, ops) -> None:
    body = """s = Shape(x) n = Gather <axis: int = 0> (s, zero)
    t = Concat <axis: int = 0> (n, rest) y = Reshape(x, t)"""
    weights = {"zero": whole(0), "rest": whole(-1)}
    trimmed = trim(network(body, weights=weights, gives="float[batch,144] y"))
    assert ops(trimmed.model) == ["Reshape"]
    assert trimmed.step.runs == 2


def test_constants_are_computed_in_advance_unless_the_file_grows(network, ops) -> None:
    weights = {"k": np.ones((1, 4, 1, 1), np.float32), "big": whole(1, 4, 6, 6)}
    small = trim(network("e = Exp(k) n = Neg(e) y = Add(x, n)", weights=weights))
    assert ops(small.model) == ["Add"]
    large = trim(network("e = Expand(k, big) s = Softmax(e) y = Add(x, s)", weights=weights))
    assert ops(large.model) == ["Expand", "Softmax", "Add"]
    assert large.step.bytes_after <= large.step.bytes_before


def test_an_expand_that_broadcasting_does_anyway_goes(network, ops) -> None:
    weights = {"k": np.ones((1, 4, 1, 1), np.float32), "big": whole(1, 4, 6, 6)}
    assert ops(trim(network("e = Expand(k, big) y = Add(x, e)", weights=weights)).model) == ["Add"]


def test_rewired_nodes_alone_are_no_removal(network) -> None:
    body = """t = Transpose <perm: ints = [0, 2, 3, 1]> (x) n = Neg(t)
    u = Transpose <perm: ints = [0, 2, 1, 3]> (t) a = Abs(u) b = ReduceSum(n)
    c = Add(a, b) y = Exp(c)"""
    model = network(body, gives="float[batch,6,6,4] y")
    trimmed = trim(model)
    assert trimmed.step.removed == ()
    assert trimmed.model is model


def test_equal_weights_and_equal_nodes_are_merged(network, ops, drawn) -> None:
    body = "a = Conv(x, w) b = Conv(x, u) c = Relu(a) d = Relu(b) y = Add(c, d)"
    kernel = drawn(4, 4, 1, 1)
    trimmed = trim(network(body, weights={"w": kernel, "u": kernel.copy()}))
    assert ops(trimmed.model) == ["Conv", "Relu", "Add"]
    assert trimmed.step.bytes_before - trimmed.step.bytes_after == kernel.nbytes
    other = trim(network(body, weights={"w": kernel, "u": kernel * 2}))
    assert ops(other.model) == ["Conv", "Conv", "Relu", "Relu", "Add"]


def test_zero_padding_goes_into_the_convolution(network, ops, drawn) -> None:
    body = "p = Pad(x, around) y = Conv(p, w)"
    weights = {"around": whole(0, 0, 1, 1, 0, 0, 1, 1), "w": drawn(4, 4, 3, 3)}
    assert ops(trim(network(body, weights=weights)).model) == ["Conv"]
    filled = {**weights, "one": np.float32(1)}
    assert ops(trim(network(body.replace("around)", "around, one)"), weights=filled)).model) == [
        "Pad",
        "Conv",
    ]


@pytest.mark.parametrize(("counted", "kept"), [(1, ["AveragePool"]), (0, ["AveragePool"])])
def test_zero_padding_goes_into_an_average(network, ops, counted, kept) -> None:
    body = f"""p = Pad(x, around)
    y = AveragePool <kernel_shape: ints = [3, 3], count_include_pad: int = {counted}> (p)"""
    weights = {"around": whole(0, 0, 1, 1, 0, 0, 1, 1)}
    trimmed = trim(network(body, weights=weights))
    assert ops(trimmed.model) == kept
    assert trimmed.step.undone == ()


def test_a_transposed_matrix_goes_into_the_gemm(network, ops, drawn) -> None:
    body = "t = Transpose <perm: ints = [1, 0]> (z) y = Gemm(x, t)"
    forms = {"takes": "float[batch,8] x, float[4,8] z", "gives": "float[batch,4] y"}
    assert ops(trim(network(body, **forms)).model) == ["Gemm"]


def test_reductions_keep_their_axes_themselves(network, ops) -> None:
    body = "m = ReduceMean <axes: ints = [2, 3], keepdims: int = 0> (x) y = Unsqueeze(m, axes)"
    form = {"weights": {"axes": whole(2, 3)}, "gives": "float[batch,4,1,1] y"}
    assert ops(trim(network(body, **form)).model) == ["ReduceMean"]
    other = {"weights": {"axes": whole(1, 2)}, "gives": "float[batch,1,1,4] y"}
    assert ops(trim(network(body, **other)).model) == ["ReduceMean", "Unsqueeze"]


def test_concats_along_one_axis_are_merged(network, ops) -> None:
    same = "r = Relu(x) a = Concat <axis: int = -3> (x, r) y = Concat <axis: int = 1> (a, x)"
    trimmed = trim(network(same, gives="float[batch,12,6,6] y"))
    assert ops(trimmed.model) == ["Relu", "Concat"]
    other = "r = Relu(x) a = Concat <axis: int = 2> (x, r) y = Concat <axis: int = 1> (a, a)"
    kept = trim(network(other, gives="float[batch,8,12,6] y"))
    assert ops(kept.model) == ["Relu", "Concat", "Concat"]


def test_the_branch_that_never_runs_goes(network, ops) -> None:
    body = """r = Relu(x)
    a = If (yes) <then_branch = one () => (float[batch,4,6,6] p) { q = Neg(r) p = Exp(q) },
                  else_branch = two () => (float[batch,4,6,6] o) { q = Abs(r) o = Sqrt(q) }>
    b = If (no) <then_branch = three () => (float[batch,4,6,6] l) { q = Sin(a) l = Tan(q) },
                 else_branch = four () => (float[batch,4,6,6] k) { q = Cos(a) k = Tanh(q) }>
    y = Sigmoid(b)"""
    weights = {"yes": np.bool_(True), "no": np.bool_(False)}
    trimmed = trim(network(body, weights=weights))
    assert ops(trimmed.model) == ["Relu", "Neg", "Exp", "Cos", "Tanh", "Sigmoid"]
    assert trimmed.step.undone == ()
    made = [value.name for node in trimmed.model.ir.graph for value in node.outputs]
    assert len(set(made)) == len(made)
    assert {"r", "a", "b", "y", "q"} <= set(made)


def test_branches_that_an_input_chooses_stay(network, ops, drawn, norm) -> None:
    body = """y = If (c) <then_branch = one () => (float[batch,4,6,6] p)
        { q = Conv(x, w) p = BatchNormalization(q, s, b, m, v) },
        else_branch = two () => (float[batch,4,6,6] o)
        { u = Conv(x, w) o = Relu(u) }>"""
    takes = "float[batch,4,6,6] x, bool c"
    weights = {"w": drawn(4, 4, 1, 1), **norm(4)}
    trimmed = trim(network(body, takes=takes, weights=weights))
    assert ops(trimmed.model) == ["If", "Conv", "BatchNormalization", "Conv", "Relu"]


def test_bodies_that_read_what_is_trimmed_around_them_still_run(network, ops) -> None:
    body = """i = Identity(x) d = Dropout(i)
    y = If (c) <then_branch = one () => (float[batch,4,6,6] p) { q = Identity(d) p = Neg(q) },
        else_branch = two () => (float[batch,4,6,6] o) { o = Exp(i) }>"""
    trimmed = trim(network(body, takes="float[batch,4,6,6] x, bool c"))
    assert ops(trimmed.model) == ["If", "Neg", "Exp"]
    assert trimmed.step.undone == ()


def test_inputs_that_nothing_reads_go(network) -> None:
    model = network("y = Relu(x)", takes="float[batch,4,6,6] x, float[3] unused")
    trimmed = trim(model)
    assert [spec.name for spec in trimmed.model.inputs] == ["x"]
    assert [r.what for r in trimmed.step.removed] == ["inputs that nothing reads"]


def test_outputs_of_nodes_that_nothing_reads_go(network, ops) -> None:
    body = "p, indices = MaxPool <kernel_shape: ints = [2, 2]> (x) y = Relu(p)"
    trimmed = trim(network(body, gives="float[batch,4,5,5] y"))
    assert len(trimmed.model.ir.graph[0].outputs) == 1
    assert [r.what for r in trimmed.step.removed] == [
        "nodes, outputs and weights that nothing reads"
    ]


def test_operators_of_the_engine_alone_go_through(network, ops) -> None:
    body = "g = com.microsoft.Gelu(x) y = Identity(g)"
    assert ops(trim(network(body)).model) == ["Gelu"]


def test_trimming_twice_removes_nothing_the_second_time(network, drawn, norm) -> None:
    body = "c = Conv(x, w) n = BatchNormalization(c, s, b, m, v) y = Identity(n)"
    first = trim(network(body, weights={"w": drawn(4, 4, 1, 1), **norm(4)}))
    second = trim(first.model)
    assert second.model is first.model
    assert second.step.removed == ()


def test_slices_of_different_axes_are_merged(network, ops) -> None:
    weights = {"one": whole(1), "four": whole(4), "two": whole(2), "three": whole(3)}
    body = "a = Slice(x, one, four, two) y = Slice(a, one, four, three)"
    trimmed = trim(network(body, weights=weights, gives="float[batch,4,3,3] y"))
    assert ops(trimmed.model) == ["Slice"]
    body = "a = Slice(x, one, four, two) y = Slice(a, one, three, two)"
    kept = trim(network(body, weights=weights, gives="float[batch,4,2,6] y"))
    assert ops(kept.model) == ["Slice", "Slice"]


def test_a_transpose_of_single_axes_is_a_reshape(network, ops) -> None:
    weights = {"flat": whole(0, 24)}
    body = "t = Transpose <perm: ints = [0, 2, 3, 1]> (x) y = Reshape(t, flat)"
    form = {"weights": weights, "gives": "float[batch,24] y"}
    single = trim(network(body, takes="float[batch,1,4,6] x", **form))
    assert ops(single.model) == ["Reshape"]
    double = trim(network(body, takes="float[batch,2,4,3] x", **form))
    assert ops(double.model) == ["Transpose", "Reshape"]


@pytest.mark.parametrize(("number", "kept"), [(0, ["GRU"]), (1, ["ConstantOfShape", "GRU"])])
def test_an_initial_state_of_zeros_goes(network, ops, drawn, number, kept) -> None:
    body = f"""h = ConstantOfShape <value: tensor = float[1] {{{number}}}> (form)
    y, last = GRU <hidden_size: int = 3> (x, w, r, , , h)"""
    weights = {"w": drawn(1, 9, 2), "r": drawn(1, 9, 3), "form": whole(1, 50, 3)}
    form = {"takes": "float[4,50,2] x", "gives": "float[4,1,50,3] y"}
    trimmed = trim(network(body, weights=weights, **form))
    assert ops(trimmed.model) == kept
    assert trimmed.step.undone == ()
