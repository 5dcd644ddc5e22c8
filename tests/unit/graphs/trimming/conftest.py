"""Small networks written as text."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import numpy_helper
from onnx_ir.traversal import RecursiveGraphIterator

from edgewise.graphs import Model, load

MAP = "float[batch,4,6,6]"


def read_network(
    body: str,
    *,
    takes: str = f"{MAP} x",
    gives: str = f"{MAP} y",
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
) -> Model:
    """A network from the text of its nodes and its weights."""
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>'
        f"network ({takes}) => ({gives}) {{ {body} }}"
    )
    for name, array in (weights or {}).items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return load(proto.SerializeToString())


@pytest.fixture
def network() -> Callable[..., Model]:
    """Read a network from text."""
    return read_network


@pytest.fixture
def ops() -> Callable[[Model], list[str]]:
    """The operators of a network, in order, bodies included."""
    return lambda model: [node.op_type for node in RecursiveGraphIterator(model.ir.graph)]


@pytest.fixture
def drawn() -> Callable[..., np.ndarray]:
    """Small random numbers, always the same for a shape."""

    def draw(*shape: int, low: float = -0.5, high: float = 0.5) -> np.ndarray:
        return np.random.default_rng(sum(shape)).uniform(low, high, shape).astype(np.float32)

    return draw


@pytest.fixture
def norm(drawn: Callable[..., np.ndarray]) -> Callable[[int], dict[str, np.ndarray]]:
    """The parameters of a BatchNormalization: scale ``s``, bias ``b``, mean ``m``, variance."""
    return lambda channels: {
        "s": drawn(channels, low=0.5, high=1.5),
        "b": drawn(channels),
        "m": drawn(channels),
        "v": drawn(channels, low=0.5, high=2.0),
    }


@pytest.fixture
def names() -> Callable[[Model], set[str]]:
    """The names of all tensors that nodes make."""

    def names_of(model: Model) -> set[str]:
        made: set[str] = set()
        node: onnx_ir.Node
        for node in RecursiveGraphIterator(model.ir.graph):
            made.update(value.name for value in node.outputs if value.name)
        return made

    return names_of
