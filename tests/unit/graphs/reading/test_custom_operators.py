"""Operators of other domains, with and without the library that defines them."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.errors import BadInput
from edgewise.graphs import check_proof, find_cuts, load, prove_cuts, random_feeds
from edgewise.profiling.counting import count
from strategies import chain_file

FLOAT = TensorProto.FLOAT


def _file(op: str = "NegPos") -> bytes:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node(op, ["a"], ["b", "c"], domain="ai.onnx.contrib"),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("Tanh", ["d"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "custom",
        [helper.make_tensor_value_info("x", FLOAT, ("N", 4))],
        [helper.make_tensor_value_info("y", FLOAT, ("N", 4))],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.contrib", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return bytes(model.SerializeToString())


def test_without_the_library_the_domain_is_unknown() -> None:
    found = (
        r"'NegPos' of the unknown domain 'ai\.onnx\.contrib'; "
        r"name the library that defines it \(--custom-ops LIB, or"
    )
    with pytest.raises(BadInput, match=found):
        load(_file())


def test_a_library_that_is_missing_or_none(tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("not a library")
    for library in (tmp_path / "missing.so", text):
        with pytest.raises(BadInput, match=r"a library of onnxruntime operators at .*\.so, found"):
            load(_file(), custom_ops=[library])
        with pytest.raises(BadInput, match="a library of onnxruntime operators"):
            load(chain_file("Relu", "Tanh"), custom_ops=[library])


@pytest.mark.engine
def test_with_a_real_library_the_network_is_sized_cut_and_run() -> None:
    extensions = pytest.importorskip(
        "onnxruntime_extensions", reason="needs onnxruntime-extensions, a library of operators"
    )
    library = Path(extensions.get_library_path())
    model = load(_file(), custom_ops=[library])
    assert model.custom_ops == (library,)
    assert count(model, batch=3).edges[-1].bytes == 3 * 4 * 4
    cuts = find_cuts(model)
    assert [str(cut) for cut in cuts] == ["a float32[N, 4]", "d float32[N, 4]"]
    feeds = [random_feeds(model, np.random.default_rng(0), batch=2)]
    for _, proof in prove_cuts(model, cuts, feeds):
        check_proof(proof)
    with pytest.raises(BadInput, match=r"NoSuch.* is not a registered .*; name every library"):
        load(_file("NoSuch"), custom_ops=[library])
