"""The architectures that the onnx package carries for its own tests, with random weights.

In its folder ``backend/test/data/light`` each weight is a ConstantOfShape; the nodes are those of
the Caffe2 model zoo. Here every such node becomes a weight of the same shape, drawn as K. He et
al., "Delving Deep into Rectifiers", arXiv:1502.01852, equation 10, so that activations stay finite
and differ from input to input.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from edgewise.zoo.assembling import OPSET, assemble
from edgewise.zoo.random_weights import RandomWeight

CLASSES = 1_000
SIDE = 224
_SLOTS = {"Conv": ("weight", "bias"), "Gemm": ("weight", "bias")}
_NORM_SLOTS = ("scale", "shift", "shift", "variance")
_SMALL_SUM = 16
"""So few values, those of a depthwise filter, would lose too much with their mean."""
_RELU_VARIANCE = 0.5 - 1 / (2 * math.pi)
"""Of max(x, 0) for standard normal x: what centred weights see of it."""
_BIAS_SPREAD = 0.02
_SPREAD = 0.1
"""Standard deviation of scales, shifts, means and variances around 1 and 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taming:
    """What keeps the activations of one architecture in bounds; found by trying.

    Args:
        last: factor of the weights of the last layer, so that logits spread by about 2.
        variance: mean of the variances that batch normalisation divides by; more than 1 makes up
            for what residual sums add.
    """

    last: float = 1.0
    variance: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """Where a weight goes in: ``kind``, and how many values one of its outputs sums."""

    kind: str
    final: bool = False


def rebuild(
    data: bytes, *, name: str, taming: Taming, metadata: Mapping[str, str]
) -> tuple[onnx.ModelProto, tuple[RandomWeight, ...]]:
    """The architecture without weights, and the weights that belong to it.

    Args:
        data: the file of the onnx package.
        name: of the network.
        taming: what keeps activations in bounds.
        metadata: what goes into ``metadata_props``.

    Returns:
        FP32, opset 17, ``image`` [batch, 3, 224, 224] to ``probabilities`` or ``logits``
        [batch, 1000]; everything between keeps the operators of the file.
    """
    source = onnx.load_from_string(data)
    _flatten_the_end(source.graph)
    graph = version_converter.convert_version(source, OPSET).graph
    shapes = _take_weight_shapes(graph)
    uses = _find_uses(graph, shapes)
    weights = tuple(
        _draw(name, weight, shape, uses[weight], taming) for weight, shape in shapes.items()
    )
    _keep_the_batch(graph, shapes)
    names = _readable_names(graph, shapes)
    model = _assemble(graph, names, name, metadata)
    return model, tuple(replace(weight, name=names[weight.name]) for weight in weights)


def _flatten_the_end(graph: onnx.GraphProto) -> None:
    """Make the last value [batch, 1000], before a final Softmax and before the upgrade.

    Up to opset 12 Softmax takes all axes from the given one together; on two axes both agree.
    """
    end = graph.output[0]
    if len(end.type.tensor_type.shape.dim) == 2:
        return
    last = graph.node[-1]
    if last.op_type == "Softmax":
        flatten = helper.make_node("Flatten", [last.input[0]], ["flat"], axis=1)
        last.input[0] = "flat"
        graph.node.insert(len(graph.node) - 1, flatten)
    else:
        graph.node.append(helper.make_node("Flatten", [end.name], ["flat"], axis=1))
        end.name = "flat"
    for _ in range(2):
        end.type.tensor_type.shape.dim.pop()


def _take_weight_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Remove every ConstantOfShape with its input; what it made, by name."""
    known = {each.name: each for each in graph.initializer}
    fillers = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    shapes = {}
    for node in fillers:
        shape = numpy_helper.to_array(known[node.input[0]])
        shapes[node.output[0]] = tuple(int(size) for size in shape)
        graph.initializer.remove(known[node.input[0]])
        graph.node.remove(node)
    return shapes


def _find_uses(graph: onnx.GraphProto, weights: Mapping[str, object]) -> dict[str, _Use]:
    origin = {weight: weight for weight in weights}
    uses: dict[str, _Use] = {}
    layers = [node for node in graph.node if node.op_type in _SLOTS]
    for node in graph.node:
        if node.op_type in ("Reshape", "Unsqueeze") and node.input[0] in origin:
            origin[node.output[0]] = origin[node.input[0]]
            continue
        for slot, source in enumerate(node.input):
            if source in origin:
                kind = _kind(node.op_type, slot)
                uses[origin[source]] = _Use(kind=kind, final=node is layers[-1])
    return uses


def _kind(op: str, slot: int) -> str:
    if op in _SLOTS:
        return _SLOTS[op][slot - 1]
    if op == "BatchNormalization":
        return _NORM_SLOTS[slot - 1]
    return {"Mul": "scale", "Add": "shift"}[op]


def _draw(
    network: str, name: str, shape: tuple[int, ...], use: _Use, taming: Taming
) -> RandomWeight:
    if use.kind == "weight":
        # Axis 0 counts the outputs, in Conv and in Gemm with transB alike.
        sums = math.prod(shape[1:])
        return RandomWeight(
            network=network,
            name=name,
            shape=shape,
            deviation=math.sqrt(1 / (_RELU_VARIANCE * sums)) * (taming.last if use.final else 1.0),
            centred=sums > _SMALL_SUM,
        )
    mean = {"scale": 1.0, "variance": taming.variance}.get(use.kind, 0.0)
    spread = _BIAS_SPREAD if use.kind == "bias" else _SPREAD
    return RandomWeight(network=network, name=name, shape=shape, deviation=spread, mean=mean)


def _keep_the_batch(graph: onnx.GraphProto, weights: Mapping[str, object]) -> None:
    """Reshapes of activations say 0 (as in the input) in place of the 1 of one example."""
    shapes = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[0] in weights:
            continue
        shape = numpy_helper.to_array(shapes[node.input[1]]).copy()
        if shape[0] == 1:
            shape[0] = 0
            shapes[node.input[1]].CopyFrom(numpy_helper.from_array(shape, node.input[1]))


def _readable_names(graph: onnx.GraphProto, weights: Mapping[str, object]) -> dict[str, str]:
    """Values are called after the layer that they come from: ``conv1/relu``."""
    names = {name: name.removeprefix("gpu_0/") for name in weights}
    names |= {each.name: f"constants/{i}" for i, each in enumerate(graph.initializer)}
    names[_image_of(graph, weights).name] = "image"
    layers: dict[str, str] = {name: _layer(names[name]) for name in weights}
    taken = set(names.values())
    for node in graph.node:
        layer = _layer_of(node, weights, layers)
        for output in node.output:
            layers[output] = layer
            names[output] = _free(f"{layer}/{node.op_type.lower()}", taken)
    last = "probabilities" if graph.node[-1].op_type == "Softmax" else "logits"
    names[graph.output[0].name] = last
    return names


def _image_of(graph: onnx.GraphProto, weights: Mapping[str, object]) -> onnx.ValueInfoProto:
    inner = {each.name for each in graph.initializer} | set(weights)
    images: list[onnx.ValueInfoProto] = [
        each
        for each in graph.input
        if each.name not in inner and len(each.type.tensor_type.shape.dim) == 4
    ]
    (image,) = images
    return image


def _layer_of(
    node: onnx.NodeProto, weights: Mapping[str, object], layers: Mapping[str, str]
) -> str:
    own = [name for name in node.input if name in weights]
    known = [layers[name] for name in (*own, *reversed(node.input)) if name in layers]
    return known[0] if known else "input"


def _layer(weight: str) -> str:
    for ending in ("_w_0", "_b_0", "_scale_0", "_s_0"):
        weight = weight.removesuffix(ending)
    return weight


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def _assemble(
    graph: onnx.GraphProto,
    names: Mapping[str, str],
    name: str,
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    constants = []
    for each in graph.initializer:
        tensor = onnx.TensorProto()
        tensor.CopyFrom(each)
        tensor.name = names[each.name]
        constants.append(tensor)
    return assemble(
        name,
        list(_renamed_nodes(graph.node, names)),
        constants,
        inputs=[_tensor("image", ["batch", 3, SIDE, SIDE])],
        outputs=[_tensor(names[graph.output[0].name], ["batch", CLASSES])],
        metadata=metadata,
    )


def _renamed_nodes(
    nodes: Sequence[onnx.NodeProto], names: Mapping[str, str]
) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        new = onnx.NodeProto()
        new.CopyFrom(node)
        del new.input[:], new.output[:]
        new.input.extend(names.get(each, each) for each in node.input)
        new.output.extend(names.get(each, each) for each in node.output)
        new.name = new.output[0]
        yield new


def _tensor(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
