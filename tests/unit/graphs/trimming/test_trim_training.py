"""What only training needed, and how switching it off is proved."""

import numpy as np
import onnx_ir
import pytest

from edgewise.engines import open_engine
from edgewise.graphs import to_bytes
from edgewise.graphs.trimming import trim
from edgewise.graphs.trimming.training import flags_alone_differ, switch_off_training

pytestmark = pytest.mark.engine

SWITCHED = "training mode switched off: outputs are those of evaluation from here on"


def test_dropout_in_evaluation_goes(network, ops) -> None:
    model = network("d = Relu(x) y, mask = Dropout(d, r)", weights={"r": np.float32(0.5)})
    trimmed = trim(model)
    assert ops(trimmed.model) == ["Relu"]
    assert trimmed.step.max_rel == 0
    assert trimmed.step.bytes_after == 0


def test_dropout_whose_mask_is_read_stays(network, ops) -> None:
    gives = "float[batch,4,6,6] y, bool[batch,4,6,6] mask"
    body = "d = Relu(x) y, mask = Dropout(d)"
    assert ops(trim(network(body, gives=gives)).model) == ["Relu", "Dropout"]


def test_dropout_in_training_is_switched_off_and_said_so(network, ops) -> None:
    weights = {"r": np.float32(0.5), "t": np.bool_(True)}
    trimmed = trim(network("d = Relu(x) y = Dropout(d, r, t)", weights=weights))
    assert ops(trimmed.model) == ["Relu"]
    assert trimmed.step.removed[0].what == SWITCHED
    assert trimmed.step.undone == ()


def test_a_norm_in_training_uses_what_was_learned(network, ops, drawn, norm) -> None:
    body = """c = Conv(x, w)
    y, mean, var = BatchNormalization
        <training_mode: int = 1, epsilon: float = 0.01> (c, s, b, m, v)"""
    weights = {"w": drawn(4, 4, 1, 1), **norm(4)}
    trimmed = trim(network(body, weights=weights))
    assert ops(trimmed.model) == ["Conv"]
    assert trimmed.step.removed[0].what == SWITCHED
    x = drawn(2, 4, 6, 6)
    with open_engine(to_bytes(trimmed.model)) as engine:
        found = engine.run({"x": x})["y"]
    conv = np.einsum("nchw,oc->nohw", x, weights["w"][:, :, 0, 0])
    s, b, m, v = (weights[name].reshape(1, 4, 1, 1) for name in "sbmv")
    np.testing.assert_allclose(found, (conv - m) / np.sqrt(v + 0.01) * s + b, atol=1e-5)


def test_a_norm_whose_batch_statistics_are_outputs_stays_in_training(network, ops, norm) -> None:
    body = "y, mean, var = BatchNormalization <training_mode: int = 1> (x, s, b, m, v)"
    gives = "float[batch,4,6,6] y, float[4] mean, float[4] var"
    model = network(body, gives=gives, weights=norm(4))
    trimmed = trim(model)
    assert trimmed.model.ir.graph[0].attributes.get_int("training_mode") == 1
    assert SWITCHED not in {removal.what for removal in trimmed.step.removed}


def test_a_mode_that_the_caller_decides_stays(network, ops) -> None:
    takes = "float[batch,4,6,6] x, bool t"
    body = "d = Relu(x) y = Dropout(d, r, t)"
    model = network(body, takes=takes, weights={"r": np.float32(0.5)})
    trimmed = trim(model)
    assert ops(trimmed.model) == ["Relu", "Dropout"]


def test_only_flags_may_differ(network, norm) -> None:
    body = "z, mean, var = BatchNormalization <training_mode: int = 1> (x, s, b, m, v) y = Relu(z)"
    model = network(body, weights=norm(4))
    switched = model.ir.clone()
    switch_off_training(switched)
    assert flags_alone_differ(model.ir, switched)
    switched.graph[1].op_type = "Tanh"
    assert not flags_alone_differ(model.ir, switched)
    shorter: onnx_ir.Model = model.ir.clone()
    shorter.graph[0].attributes.add(onnx_ir.AttrFloat32("momentum", 0.5))
    assert not flags_alone_differ(model.ir, shorter)


def test_random_networks_are_left_alone_with_a_reason(network, ops) -> None:
    body = "i = Identity(x) r = RandomNormalLike(i) y = Add(i, r)"
    trimmed = trim(network(body))
    assert ops(trimmed.model) == ["Identity", "RandomNormalLike", "Add"]
    assert trimmed.step.removed == ()
    assert [undone.what for undone in trimmed.step.undone] == ["all trimming"]
    assert "other numbers for the same input" in trimmed.step.undone[0].reason
