"""Networks older than opset 13: upgraded, proved, or refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.graphs import Model, find_cuts, load, random_feeds, to_bytes
from edgewise.graphs.reading import upgrading
from edgewise.profiling.counting import count
from strategies import chain_file, onnx_file

FLOAT = TensorProto.FLOAT
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def _old(nodes: list[onnx.NodeProto], opset: int = 9, **weights: np.ndarray) -> bytes:
    """A file as PyTorch wrote them in 2019: weights are inputs too."""
    shapes = [(name, FLOAT, array.shape) for name, array in weights.items()]
    return onnx_file(
        nodes,
        inputs=[("x", FLOAT, ("N", 4)), *shapes],
        outputs=[("y", FLOAT, ("N", 4))],
        weights=weights,
        opset=opset,
        ir_version=3,
    )


def _same_answers(raw: bytes, model: Model) -> None:
    feeds = random_feeds(model, np.random.default_rng(1), batch=3)
    with open_engine(raw) as before, open_engine(to_bytes(model)) as after:
        wanted, found = before.run(feeds), after.run(feeds)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


@pytest.mark.engine
@pytest.mark.parametrize("opset", range(7, 13))
def test_old_opsets_are_upgraded(opset: int) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Softmax", ["a"], ["b"], axis=1),
        helper.make_node("Unsqueeze", ["b"], ["c"], axes=[0]),
        helper.make_node("Squeeze", ["c"], ["d"], axes=[0]),
        helper.make_node("Dropout", ["d"], ["y"]),
    ]
    weight = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    raw = _old(nodes, opset, w=weight)
    model = load(raw)
    assert model.opset == 17
    assert model.changes == (
        f"opset {opset} upgraded to 17",
        "1 weight no longer listed as input",
    )
    assert [spec.name for spec in model.inputs] == ["x"]
    assert count(model).macs == 16
    _same_answers(raw, model)


@pytest.mark.engine
@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "inception_v1"])
def test_networks_of_the_onnx_package(name: str) -> None:
    path = LIGHT / f"light_{name}.onnx"
    model = load(path)
    assert model.changes[0] == "opset 9 upgraded to 17"
    assert model.changes[1].endswith("weights no longer listed as inputs")
    assert len(model.inputs) == 1
    assert count(model).macs > 10**8
    assert find_cuts(model)
    assert all(isinstance(n, int) for cut in find_cuts(model) for n in cut.tensors[0].shape)


def test_the_digest_is_that_of_the_file() -> None:
    raw = _old([helper.make_node("Relu", ["x"], ["y"])])
    assert load(raw).digest != load(to_bytes(load(raw))).digest
    assert load(raw).digest == load(raw).digest


def test_an_operator_without_an_upgrade_is_refused() -> None:
    node = helper.make_node("BatchNormalization", ["x", "m", "m", "m", "m"], ["y"], spatial=0)
    with pytest.raises(BadInput, match=r"can be brought to opset 17, found .*; export it with"):
        load(_old([node], 8, m=np.ones(4, np.float32)))


@pytest.mark.engine
def test_an_upgrade_that_changes_the_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    convert = upgrading.convert

    def wrong(proto: onnx.ModelProto, where: str) -> onnx.ModelProto:
        made = convert(proto, where)
        made.graph.node[0].op_type = "Softsign"
        return made

    monkeypatch.setattr("edgewise.graphs.reading.loading.convert", wrong)
    with pytest.raises(BadInput, match=r"same outputs .*before and after .*other numbers in 'y'"):
        load(_old([helper.make_node("Tanh", ["x"], ["y"])]))


def test_a_newer_file_is_left_as_it_is() -> None:
    assert load(chain_file("Relu", "Tanh", opset=13)).opset == 13
    assert load(chain_file("Relu", "Tanh", opset=13)).changes == ()
