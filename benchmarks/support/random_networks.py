"""Random valid networks with much that trimming must find, and much that it must leave alone.

A network is a chain of random blocks on a feature map of four axes (or on rows, once flattened),
with branches that join again, a dynamic batch, and initialisers that are shared on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
_CHANNELS, _SIZE, _COLUMNS = 4, 6, 8
_FEWEST, _MOST = 5, 60


def random_network(rng: np.random.Generator) -> onnx.ModelProto:
    """A valid network of 5 to 60 nodes with one float input of dynamic batch."""
    maker = _Maker(rng)
    target = int(rng.integers(_FEWEST, _MOST - 12))
    flat_from = int(rng.integers(target // 2, target + 1))
    while len(maker.nodes) < flat_from:
        maker.step(_MAP_BLOCKS)
    maker.flatten()
    while len(maker.nodes) < target:
        maker.step(_ROW_BLOCKS)
    return maker.finish()


@dataclass(slots=True)
class _Maker:
    """A network while it is being made; ``now`` is the tensor that the next block takes."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    now: str = "image"
    channels: int = _CHANNELS
    size: int = _SIZE
    extra: list[str] = field(default_factory=list)

    def step(self, blocks: tuple[Callable[[_Maker], None], ...]) -> None:
        """Add one block; now and then its output is an output of the network too."""
        blocks[self.rng.integers(len(blocks))](self)
        if self.rng.random() < 0.05 and self.nodes[-1].output[0] == self.now:
            self.extra.append(self.now)

    def put(self, op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        """Add a node and name what it makes; the first output is returned."""
        names = [f"{op.lower()}_{len(self.nodes)}_{index}" for index in range(outputs)]
        node = helper.make_node(op, list(inputs), names, name=f"n{len(self.nodes)}", **attributes)
        self.nodes.append(node)
        return names[0]

    def then(self, op: str, *others: str, outputs: int = 1, **attributes: object) -> None:
        """Add a node that takes the current tensor and makes the next."""
        self.now = self.put(op, self.now, *others, outputs=outputs, **attributes)

    def weight(self, array: np.ndarray) -> str:
        """An initialiser."""
        name = f"w{len(self.weights)}"
        self.weights[name] = array
        return name

    def numbers(self, *shape: int) -> str:
        """An initialiser of small random numbers."""
        fan = max(1, int(np.prod(shape[1:])))
        return self.weight((self.rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32))

    def whole(self, *numbers: int) -> str:
        """An initialiser of integers."""
        return self.weight(np.array(numbers, np.int64))

    def flatten(self) -> None:
        """From a feature map to rows of ``_COLUMNS`` numbers."""
        if self.rng.random() < 0.5:
            self.then("Flatten", axis=1)
        else:
            batch = self.put("Slice", self.put("Shape", self.now), self.whole(0), self.whole(1))
            target = self.put("Concat", batch, self.whole(-1), axis=0)
            self.then("Reshape", target)
        self.then("MatMul", self.numbers(self.channels * self.size**2, _COLUMNS))

    def finish(self) -> onnx.ModelProto:
        """The network as it is."""
        if not self.nodes or self.nodes[-1].output[0] != self.now:
            self.then("Identity")
        extra = [name for name in dict.fromkeys(self.extra) if name != self.now]
        outputs = [helper.make_tensor_value_info(self.now, TensorProto.FLOAT, ["batch", _COLUMNS])]
        outputs += [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in extra]
        graph = helper.make_graph(
            self.nodes,
            "random",
            [
                helper.make_tensor_value_info(
                    "image", TensorProto.FLOAT, ["batch", _CHANNELS, _SIZE, _SIZE]
                )
            ],
            outputs,
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8
        )
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def _conv(maker: _Maker) -> None:
    grouped = maker.rng.random() < 0.3
    groups, wide = (maker.channels, maker.channels) if grouped else (1, _CHANNELS)
    kernel = int(maker.rng.choice([1, 3]))
    weights = maker.numbers(wide, maker.channels // groups, kernel, kernel)
    bias = [maker.numbers(wide)] if maker.rng.random() < 0.5 else []
    pads = [kernel // 2] * 4
    if kernel == 3 and maker.rng.random() < 0.3:
        maker.then("Pad", maker.whole(0, 0, 1, 1, 0, 0, 1, 1))
        pads = [0] * 4
    maker.then("Conv", weights, *bias, pads=pads, group=groups)
    maker.channels = wide
    if maker.rng.random() < 0.1:  # the same kernel once more: it must not be folded into
        maker.then("Conv", weights, pads=[kernel // 2] * 4, group=groups)


def _norm(maker: _Maker) -> None:
    channels = maker.channels
    scale, bias, mean = (maker.numbers(channels) for _ in range(3))
    var = maker.weight(maker.rng.uniform(0.5, 2.0, channels).astype(np.float32))
    maker.then("BatchNormalization", scale, bias, mean, var, epsilon=1e-3)
    if maker.rng.random() < 0.2:  # parameters that two nodes share
        maker.then("Conv", maker.numbers(channels, channels, 1, 1))
        maker.then("BatchNormalization", scale, bias, mean, var, epsilon=1e-3)


def _conv_and_norm(maker: _Maker) -> None:
    _conv(maker)
    if maker.rng.random() < 0.2:  # the Conv's output is read elsewhere too
        before = maker.now
        _norm(maker)
        maker.then("Add", before)
    else:
        _norm(maker)


def _conv_transpose(maker: _Maker) -> None:
    groups = int(maker.rng.choice([1, 2]))
    maker.then("ConvTranspose", maker.numbers(maker.channels, _CHANNELS // groups, 1, 1),
               group=groups)  # fmt: skip
    maker.channels = _CHANNELS
    _norm(maker)


def _dropout(maker: _Maker) -> None:
    ratio = maker.weight(np.array(0.3, np.float32))
    maker.then("Dropout", ratio, outputs=int(maker.rng.integers(1, 3)))


def _identity(maker: _Maker) -> None:
    for _ in range(maker.rng.integers(1, 4)):
        maker.then("Identity")


def _scale(maker: _Maker) -> None:
    shape = (1, maker.channels, 1, 1) if maker.rng.random() < 0.5 else (1,)
    maker.then(str(maker.rng.choice(["Mul", "Add", "Sub"])), maker.numbers(*shape))


def _neutral(maker: _Maker) -> None:
    op, number = [("Mul", 1), ("Add", 0), ("Div", 1), ("Sub", 0)][maker.rng.integers(4)]
    maker.then(op, maker.weight(np.full((1,), number, np.float32)))


def _limits(maker: _Maker) -> None:
    for _ in range(maker.rng.integers(1, 4)):
        low, high = np.sort(maker.rng.standard_normal(2)).astype(np.float32)
        if maker.rng.random() < 0.5:
            maker.then("Relu")
        else:
            maker.then("Clip", maker.weight(np.array(low)), maker.weight(np.array(high)))


def _transposes(maker: _Maker) -> None:
    order = [int(axis) for axis in maker.rng.permutation([1, 2, 3])]
    back = [order.index(axis) + 1 for axis in (1, 2, 3)]
    maker.then("Transpose", perm=[0, *order])
    if maker.rng.random() < 0.3:
        maker.then("Relu")
    maker.then("Transpose", perm=[0, *back])


def _reshapes(maker: _Maker) -> None:
    channels, size = maker.channels, maker.size
    maker.then("Reshape", maker.whole(0, channels, size * size))
    maker.then("Reshape", maker.whole(-1, channels, size, size))


def _cast(maker: _Maker) -> None:
    maker.then("Cast", to=int(maker.rng.choice([TensorProto.FLOAT, TensorProto.DOUBLE])))
    if maker.rng.random() < 0.5:
        maker.then("Cast", to=TensorProto.DOUBLE)
    maker.then("Cast", to=TensorProto.FLOAT)


def _slice(maker: _Maker) -> None:
    end = 2**31 - 1 if maker.rng.random() < 0.7 or maker.size < 4 else maker.size - 1
    maker.then("Slice", maker.whole(0, 0), maker.whole(end, end), maker.whole(2, 3))
    maker.size = min(maker.size, end)


def _pool(maker: _Maker) -> None:
    maker.then("Pad", maker.whole(0, 0, 1, 1, 0, 0, 1, 1))
    maker.then("AveragePool", kernel_shape=[3, 3], count_include_pad=1)


def _twins(maker: _Maker) -> None:
    """The same computed twice, from equal weights under two names, then joined."""
    before = maker.now
    array = maker.weights[maker.numbers(maker.channels, maker.channels, 1, 1)]
    first = maker.put("Relu", maker.put("Conv", before, maker.weight(array)))
    second = maker.put("Relu", maker.put("Conv", before, maker.weight(array.copy())))
    maker.now = maker.put("Concat", first, second, axis=1)
    maker.channels *= 2
    maker.then("Conv", maker.numbers(_CHANNELS, maker.channels, 1, 1))
    maker.channels = _CHANNELS


def _concat_of_one(maker: _Maker) -> None:
    maker.then("Concat", axis=1)


def _constants(maker: _Maker) -> None:
    """A sum with what constants alone make, some of it large if it were stored."""
    size = (1, maker.channels, maker.size, maker.size)
    if maker.rng.random() < 0.5:
        wide = maker.put("Expand", maker.numbers(1, 1, 1, 1), maker.whole(*size))
    else:
        wide = maker.put("Exp", maker.put("Neg", maker.numbers(1, maker.channels, 1, 1)))
    maker.then("Add", wide)


def _branch(maker: _Maker) -> None:
    """An If with a constant condition; both branches use the same inner name."""

    def body(op: str) -> onnx.GraphProto:
        inner = f"inner_{len(maker.nodes) % 3}"
        given = f"given_{len(maker.nodes)}"
        nodes = [
            helper.make_node(op, [maker.now], [inner]),
            helper.make_node("Neg", [inner], [given]),
        ]
        form = helper.make_tensor_value_info(given, TensorProto.FLOAT, None)
        return helper.make_graph(nodes, f"body_{op}", [], [form])

    condition = maker.weight(np.array(maker.rng.random() < 0.5))
    maker.now = maker.put("If", condition, then_branch=body("Relu"), else_branch=body("Tanh"))


def _dead_end(maker: _Maker) -> None:
    maker.put("Sigmoid", maker.put("Relu", maker.now))


def _gemm(maker: _Maker) -> None:
    maker.then("Gemm", maker.numbers(_COLUMNS, _COLUMNS), maker.numbers(_COLUMNS), transB=1)


def _matmul(maker: _Maker) -> None:
    maker.then("MatMul", maker.numbers(_COLUMNS, _COLUMNS))
    if maker.rng.random() < 0.7:
        maker.then("Add", maker.numbers(_COLUMNS))


def _row_norm(maker: _Maker) -> None:
    scale, bias, mean = (maker.numbers(_COLUMNS) for _ in range(3))
    var = maker.weight(maker.rng.uniform(0.5, 2.0, _COLUMNS).astype(np.float32))
    maker.then("BatchNormalization", scale, bias, mean, var)


def _row_scale(maker: _Maker) -> None:
    maker.then(str(maker.rng.choice(["Mul", "Add"])), maker.numbers(_COLUMNS))


def _axes(maker: _Maker) -> None:
    axis = maker.whole(1)
    maker.then("Unsqueeze", axis)
    maker.then("Squeeze", axis)


_ANYWHERE = (_dropout, _identity, _neutral, _limits, _cast, _branch, _dead_end)
_MAP_BLOCKS: tuple[Callable[[_Maker], None], ...] = (
    *(_conv, _norm, _conv_and_norm, _conv_and_norm, _conv_transpose, _scale, _transposes),
    *(_reshapes, _slice, _pool, _twins, _concat_of_one, _constants),
    *_ANYWHERE,
)
_ROW_BLOCKS: tuple[Callable[[_Maker], None], ...] = (
    *(_gemm, _gemm, _matmul, _matmul, _row_norm, _row_norm, _row_scale, _axes),
    *_ANYWHERE,
)
