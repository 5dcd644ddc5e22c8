"""What can be listed of a network without any size."""

from __future__ import annotations

import inspected
from edgewise.graphs import load, outline


def test_a_network_whose_sizes_depend_on_the_data_is_listed() -> None:
    found = outline(load(inspected.data_sized()))
    assert [(node.op, node.weight_bytes) for node in found.nodes] == [
        ("MatMul", 4 * 6 * 4),
        ("NonZero", 0),
        ("Cast", 0),
    ]
    tensors = {tensor.name: tensor for tensor in found.tensors}
    assert tensors["x"].producer is None
    assert tensors["h"].consumers == ("where",)
    assert tensors["h"].shape == (2, 6)
    assert tensors["places"].producer == "where"
    assert found.outputs == ("y",)
    assert found.parameters == 24
    assert str(tensors["h"]) == "h float32[2, 6]"


def test_bodies_are_counted() -> None:
    (node,) = outline(load(inspected.looping())).nodes
    assert (node.op, node.inner_nodes) == ("Loop", 2)


def test_what_depends_on_no_input_is_counted_apart() -> None:
    found = outline(load(inspected.words()))
    assert [node.name for node in found.nodes] == ["embed", "mean", "project"]
    assert found.constant_nodes == 0
    assert found.parameters == 50 * 16 + 16 * 4
