"""Passes that are wrong are caught, undone and named; the original is never touched."""

import hashlib

import numpy as np
import onnx_ir
import pytest

from edgewise.errors import BadInput
from edgewise.graphs import find_cuts, random_feeds, to_bytes
from edgewise.graphs.trimming import PASSES, Pass, trim

pytestmark = pytest.mark.engine

BODY = "c = Conv(x, w) r = Relu(c) y = Identity(r)"


@pytest.fixture
def model(network, drawn):
    return network(BODY, weights={"w": drawn(4, 4, 1, 1)})


def _weaken(ir: onnx_ir.Model) -> None:
    value = ir.graph.initializers["w"]
    value.const_value = onnx_ir.tensor(value.const_value.numpy() * np.float32(1.001), name="w")


def _drop_relu(ir: onnx_ir.Model) -> None:
    ir.graph[1].op_type = "Identity"


def _cast(ir: onnx_ir.Model) -> None:
    ir.graph.outputs[0].dtype = onnx_ir.DataType.DOUBLE


def _break(ir: onnx_ir.Model) -> None:
    ir.graph[1].op_type = "NoSuchOperator"


def _rename(ir: onnx_ir.Model) -> None:
    ir.graph.outputs[0].name = "z"


def _grow(ir: onnx_ir.Model) -> None:
    copy = onnx_ir.node("Relu", [ir.graph[1].outputs[0]])
    copy.outputs[0].name = "again"
    ir.graph.insert_after(ir.graph[1], copy)
    ir.graph[2].replace_input_with(0, copy.outputs[0])
    ir.graph[3].replace_input_with(0, copy.outputs[0])
    copy.replace_input_with(0, ir.graph[1].outputs[0])


def _fatten(ir: onnx_ir.Model) -> None:
    value = ir.graph.initializers["w"]
    wide = onnx_ir.tensor(value.const_value.numpy().astype(np.float64), name="w")
    value.const_value, value.dtype = wide, wide.dtype


def _forget_metadata(ir: onnx_ir.Model) -> None:
    ir.metadata_props["edgewise.labels"] = "[]"
    ir.graph[1].op_type = "Identity"


def _crash(ir: onnx_ir.Model) -> None:
    ir.graph[1].op_type = "Identity"
    raise RuntimeError("lost the thread")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (_weaken, "y differs by 0.001 relative; allowed is 1e-05"),
        (_drop_relu, "y differs by"),
        (_cast, "inputs or outputs have another name, type or shape"),
        (_break, "the engine refuses it"),
        (_rename, "inputs or outputs have another name, type or shape"),
        (_grow, "it needs 1 more node"),
        (_fatten, "it needs 64 more bytes of weights"),
        (_forget_metadata, "inputs or outputs have another name, type or shape"),
        (_crash, "it failed: RuntimeError: lost the thread"),
    ],
)
def test_a_wrong_pass_is_undone_and_named(model, ops, wrong, reason) -> None:
    bad = Pass(name="wrong on purpose", apply=wrong, max_rel=1e-5)
    trimmed = trim(model, passes=(bad, *PASSES))
    assert [undone.what for undone in trimmed.step.undone] == ["wrong on purpose"]
    assert trimmed.step.undone[0].reason.startswith(reason)
    assert ops(trimmed.model) == ["Conv", "Relu"]
    assert "wrong on purpose" not in {removal.what for removal in trimmed.step.removed}


def test_what_calls_itself_exact_must_be(model) -> None:
    def barely(ir: onnx_ir.Model) -> None:
        value = ir.graph.initializers["w"]
        nearly = np.nextafter(value.const_value.numpy(), np.float32(9))
        value.const_value = onnx_ir.tensor(nearly, name="w")

    exact = trim(model, passes=(Pass(name="barely", apply=barely),))
    assert [undone.what for undone in exact.step.undone] == ["barely"]
    rounded = trim(model, passes=(Pass(name="barely", apply=barely, max_rel=1e-5),))
    assert rounded.step.undone == ()


def test_a_baked_in_batch_is_caught_though_no_input_has_it(network, ops) -> None:
    model = network("y = Reshape(x, t)", gives="float[batch,144] y",
                    weights={"t": np.array([0, 144])})  # fmt: skip

    def bake(ir: onnx_ir.Model) -> None:
        value = ir.graph.initializers["t"]
        value.const_value = onnx_ir.tensor(np.array([1, 144]), name="t")

    feeds = [random_feeds(model, np.random.default_rng(0), batch=1)]
    trimmed = trim(model, feeds, passes=(Pass(name="bake", apply=bake),))
    assert [undone.what for undone in trimmed.step.undone] == ["bake"]
    assert trimmed.step.runs == 2


def test_the_original_is_not_touched(model) -> None:
    before = hashlib.sha256(to_bytes(model)).hexdigest()
    trimmed = trim(model)
    assert hashlib.sha256(to_bytes(model)).hexdigest() == before
    assert trimmed.model.digest != model.digest


def test_where_nothing_goes_the_original_is_given_back(network) -> None:
    model = network("y = Relu(x)")
    trimmed = trim(model)
    assert trimmed.model is model
    assert trimmed.step.removed == trimmed.step.undone == ()
    assert (trimmed.step.nodes_before, trimmed.step.nodes_after) == (1, 1)


def test_names_of_what_survives_stay(network, names, drawn, norm) -> None:
    body = """c = Conv(x, w) n = BatchNormalization(c, s, b, m, v) r = Relu(n) i = Identity(r)
    t = Transpose <perm: ints = [0, 2, 3, 1]> (i) u = Transpose <perm: ints = [0, 3, 1, 2]> (t)
    d = Conv(u, k) e = Identity(d) y = Relu(e)"""
    weights = {"w": drawn(4, 4, 1, 1), "k": drawn(4, 4, 3, 3)[:, :, :1, :1], **norm(4)}
    model = network(body, weights=weights)
    trimmed = trim(model).model
    assert names(trimmed) <= names(model)
    assert {cut.name for cut in find_cuts(trimmed)} <= {cut.name for cut in find_cuts(model)}
    assert trimmed.inputs == model.inputs
    assert trimmed.outputs == model.outputs
    assert dict(trimmed.metadata) == dict(model.metadata)


def test_removed_nodes_and_bytes_add_up(network, drawn, norm) -> None:
    body = "c = Conv(x, w) n = BatchNormalization(c, s, b, m, v) i = Identity(n) y = Add(i, z)"
    weights = {"w": drawn(4, 4, 1, 1), "z": np.zeros(1, np.float32), **norm(4)}
    step = trim(network(body, weights=weights)).step
    assert sum(removal.nodes for removal in step.removed) == step.nodes_before - step.nodes_after
    assert sum(removal.bytes for removal in step.removed) == step.bytes_before - step.bytes_after
    assert (step.nodes_before, step.nodes_after) == (4, 1)


def test_only_outputs_that_are_asked_for_stay(network, ops) -> None:
    gives = "float[batch,4,6,6] debug, float[batch,4,6,6] y"
    model = network("debug = Exp(x) y = Relu(x)", gives=gives)
    trimmed = trim(model, keep_outputs=("y",))
    assert ops(trimmed.model) == ["Relu"]
    assert [spec.name for spec in trimmed.model.outputs] == ["y"]
    assert trimmed.step.removed[0].what == "outputs that were not asked for"
    assert trimmed.step.removed[0].nodes == 1
    assert trim(model, keep_outputs=("debug", "y")).model is model


@pytest.mark.parametrize("asked", [(), ("nothing",)])
def test_outputs_that_are_none_are_refused(model, asked) -> None:
    with pytest.raises(BadInput, match="expected outputs to keep among y"):
        trim(model, keep_outputs=asked)


def test_progress_is_told(model) -> None:
    told: list[tuple[str, int, int]] = []
    trim(model, progress=lambda *what: told.append(what))
    assert told[0] == ("trim, round 1", 0, 4)
