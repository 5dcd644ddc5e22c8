"""Networks whose sequences have any length: shapes, cuts, MACs and inputs at a stated length."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.graphs import (
    Model,
    check_proof,
    find_cuts,
    list_graph,
    load,
    prove_cuts,
    random_feeds,
    to_bytes,
)
from edgewise.profiling.counting import count
from strategies import onnx_file

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
WIDTH, HEADS, ROWS = 12, 3, 50


def _numbers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _split_heads(name: str) -> list[onnx.NodeProto]:
    """Reshape to [batch, length, heads, size] by computed sizes, as exporters write it."""
    return [
        helper.make_node("Shape", [name], [f"{name}_s"]),
        helper.make_node("Gather", [f"{name}_s", "zero"], [f"{name}_b"]),
        helper.make_node("Gather", [f"{name}_s", "one"], [f"{name}_l"]),
        helper.make_node("Unsqueeze", [f"{name}_b", "axis0"], [f"{name}_b1"]),
        helper.make_node("Unsqueeze", [f"{name}_l", "axis0"], [f"{name}_l1"]),
        helper.make_node("Concat", [f"{name}_b1", f"{name}_l1", "split"], [f"{name}_t"], axis=0),
        # Exporters guard an Expand like this; onnx's own inference gives up on it.
        helper.make_node("Equal", [f"{name}_t", "minus"], [f"{name}_open"]),
        helper.make_node("Where", [f"{name}_open", "ones4", f"{name}_t"], [f"{name}_w"]),
        helper.make_node("Reshape", [name, f"{name}_w"], [f"{name}_r"]),
        helper.make_node("Transpose", [f"{name}_r"], [f"{name}_h"], perm=[0, 2, 1, 3]),
    ]


def attention_file() -> bytes:
    """One encoder block over token ids, with a mask."""
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(0, 0.3, (WIDTH, WIDTH)).astype(np.float32) for name in ("wq", "wk", "wv")
    }
    weights |= {
        "table": rng.normal(0, 1, (ROWS, WIDTH)).astype(np.float32),
        "zero": np.array(0),
        "one": np.array(1),
        "axis0": _numbers(0),
        "mask_axes": _numbers(1, 2),
        "split": _numbers(HEADS, WIDTH // HEADS),
        "flat": _numbers(0, 0, WIDTH),
        "minus": _numbers(-1),
        "ones4": _numbers(1, 1, 1, 1),
        "whole": np.float32(1),
        "far": np.float32(-1e4),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["e"]),
        *(helper.make_node("MatMul", ["e", f"w{n}"], [n]) for n in "qkv"),
        *(node for n in "qkv" for node in _split_heads(n)),
        helper.make_node("Transpose", ["k_h"], ["k_turned"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q_h", "k_turned"], ["scores"]),
        helper.make_node("Unsqueeze", ["attention_mask", "mask_axes"], ["m4"]),
        helper.make_node("Cast", ["m4"], ["mf"], to=FLOAT),
        helper.make_node("Sub", ["whole", "mf"], ["hidden"]),
        helper.make_node("Mul", ["hidden", "far"], ["bias"]),
        helper.make_node("Add", ["scores", "bias"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v_h"], ["c"]),
        helper.make_node("Transpose", ["c"], ["ct"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["ct", "flat"], ["joined"]),
        helper.make_node("Add", ["joined", "e"], ["res"]),
        helper.make_node("Tanh", ["res"], ["y"]),
    ]
    axes = ("batch", "sequence")
    return onnx_file(
        nodes,
        inputs=[("input_ids", INT64, axes), ("attention_mask", INT64, axes)],
        outputs=[("y", FLOAT, ("batch", "sequence", WIDTH))],
        weights=weights,
    )


@pytest.fixture(scope="module")
def attention() -> Model:
    return load(attention_file())


def test_shapes_keep_batch_and_sequence(attention: Model) -> None:
    shapes = {
        v.name: tuple(d if isinstance(d, int) else d.value for d in v.shape)
        for node in attention.ir.graph
        for v in node.outputs
    }
    assert shapes["q_h"] == ("batch", HEADS, "sequence", WIDTH // HEADS)
    assert shapes["p"] == ("batch", HEADS, "sequence", "sequence")
    assert shapes["res"] == ("batch", "sequence", WIDTH)


@pytest.mark.parametrize(("batch", "length"), [(1, 5), (3, 16)])
def test_macs_at_a_stated_length(attention: Model, batch: int, length: int) -> None:
    profile = count(attention, batch=batch, axes={"sequence": length})
    projections = 3 * batch * length * WIDTH * WIDTH
    products = 2 * batch * length * length * WIDTH
    assert profile.macs == projections + products
    written = {edge.name: edge.bytes for edge in profile.edges}
    assert written["scores"] == 4 * batch * HEADS * length * length


def test_an_axis_without_a_size_is_asked_for(attention: Model) -> None:
    expected = r"a size for the axis 'sequence', found none; state it: --axis sequence=SIZE"
    for ask in (count, list_graph):
        with pytest.raises(BadInput, match=expected):
            ask(attention)
    with pytest.raises(BadInput, match=expected):
        random_feeds(attention, np.random.default_rng(0))
    with pytest.raises(BadInput, match="at least 0 for the axis 'sequence', found -1"):
        count(attention, axes={"sequence": -1})


@pytest.mark.engine
def test_every_cut_holds_at_several_lengths(attention: Model) -> None:
    cuts = find_cuts(attention)
    assert {"e", "joined", "res"} & {cut.name for cut in cuts}
    assert next(c for c in cuts if c.name == "res").tensors[0].shape == (
        "batch",
        "sequence",
        WIDTH,
    )
    rng = np.random.default_rng(0)
    feeds = [
        random_feeds(attention, rng, batch=b, axes={"sequence": n}) for b, n in ((1, 4), (2, 9))
    ]
    assert feeds[1]["input_ids"].shape == (2, 9)
    for _, proof in prove_cuts(attention, cuts, feeds):
        check_proof(proof)


def test_an_axis_that_is_a_sum_follows_from_its_terms() -> None:
    """A decoder's mask is as long as what came before and what comes now."""
    raw = onnx_file(
        [
            helper.make_node("Concat", ["past", "now"], ["all"], axis=1),
            helper.make_node("Mul", ["all", "mask"], ["y"]),
        ],
        inputs=[
            ("past", FLOAT, ("batch", "past", 4)),
            ("now", FLOAT, ("batch", "now", 4)),
            ("mask", FLOAT, ("batch", "past + now", 1)),
        ],
        outputs=[("y", FLOAT, ("batch", "past + now", 4))],
    )
    model = load(raw)
    listing = list_graph(model, axes={"past": 3, "now": 2})
    assert listing.tensors["y"].shape == (1, 5, 4)
    feeds = random_feeds(model, np.random.default_rng(0), axes={"past": 3, "now": 2})
    with open_engine(to_bytes(model)) as engine:
        assert engine.run(feeds)["y"].shape == (1, 5, 4)
    with pytest.raises(BadInput, match="size for the axis 'now'"):
        count(model, axes={"past": 3})


def test_sizes_that_do_not_go_together_are_said() -> None:
    raw = onnx_file(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        inputs=[("a", FLOAT, ("N", "rows")), ("b", FLOAT, ("N", "lines"))],
        outputs=[("y", FLOAT, ("N", "rows"))],
    )
    model = load(raw)
    assert count(model, axes={"rows": 4, "lines": 4}).edges[0].bytes == 16
    with pytest.raises(BadInput, match=r"fit together.*Add"):
        count(model, axes={"rows": 4, "lines": 3})


def test_an_axis_that_follows_no_input_axis_is_left_open() -> None:
    raw = onnx_file(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        inputs=[("x", FLOAT, ("N", 1, "height", "width"))],
        outputs=[("y", FLOAT, ("N", 2, "rows", "columns"))],
        weights={"w": np.zeros((2, 1, 3, 3), np.float32)},
    )
    model = load(raw)
    assert find_cuts(model) == ()
    profile = count(model, axes={"height": 9, "width": 17})
    assert profile.macs == 2 * 4 * 8 * 9
