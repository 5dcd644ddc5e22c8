from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edgewise.engines import OnnxRuntimeEngine
from edgewise.errors import BadInput
from edgewise.zoo.efficientnet_lite import build_efficientnet_lite
from edgewise.zoo.lite_scales import LITE0, LITE1, LITE2, LiteScale
from edgewise.zoo.recipes import LITE_BUILDER

Weights = dict[str, NDArray[Any]]

# Kernel, expansion and output channels of each block of Lite0 (arXiv:1905.11946, table 1).
LITE0_BLOCKS = [
    (3, 1, 16),
    *[(3, 6, 24)] * 2,
    *[(5, 6, 40)] * 2,
    *[(3, 6, 80)] * 3,
    *[(5, 6, 112)] * 3,
    *[(5, 6, 192)] * 4,
    (3, 6, 320),
]


def lite0_weights(random: np.random.Generator) -> Weights:
    """A state dict with the shapes of Lite0 and made-up numbers."""
    shapes = {"_conv_stem": (32, 3, 3, 3)}
    norms = {"_bn0": 32, "_bn1": 1280}
    channels = 32
    for index, (kernel, expand, out) in enumerate(LITE0_BLOCKS):
        prefix, inner = f"_blocks.{index}.", channels * expand
        if expand > 1:
            shapes[f"{prefix}_expand_conv"] = (inner, channels, 1, 1)
            norms[f"{prefix}_bn0"] = inner
        shapes[f"{prefix}_depthwise_conv"] = (inner, 1, kernel, kernel)
        shapes[f"{prefix}_project_conv"] = (out, inner, 1, 1)
        norms |= {f"{prefix}_bn1": inner, f"{prefix}_bn2": out}
        channels = out
    shapes |= {"_conv_head": (1280, 320, 1, 1), "_fc": (1000, 1280)}
    weights: Weights = {
        f"{name}.weight": (random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype("f4")
        for name, shape in shapes.items()
    }
    weights["_fc.bias"] = random.normal(size=1000).astype("f4")
    for name, size in norms.items():
        for part in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{name}.{part}"] = random.uniform(0.5, 1.5, size).astype("f4")
        weights[f"{name}.num_batches_tracked"] = np.array(1, "i8")
    return weights


@pytest.fixture(scope="module")
def weights() -> Weights:
    return lite0_weights(np.random.default_rng(1))


def build(weights: Weights, scale: LiteScale = LITE0) -> onnx.ModelProto:
    return build_efficientnet_lite(weights, scale, name="demo", metadata={"key": "value"})


@pytest.fixture(scope="module")
def lite0(weights: Weights) -> onnx.ModelProto:
    return build(weights)


def shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_the_file_states_what_it_is(lite0: onnx.ModelProto) -> None:
    assert lite0.ir_version <= 10
    assert [(each.domain, each.version) for each in lite0.opset_import] == [("", 17)]
    assert [(each.name, shape(each)) for each in lite0.graph.input] == [
        ("image", ["n", 3, 224, 224])
    ]
    assert [(each.name, shape(each)) for each in lite0.graph.output] == [("logits", ["n", 1000])]
    assert {each.key: each.value for each in lite0.metadata_props} == {"key": "value"}


def test_the_graph_holds_nothing_but_the_network(lite0: onnx.ModelProto) -> None:
    ops = [node.op_type for node in lite0.graph.node]
    # 16 blocks of 3 convolutions, one without its first, stem and head; 9 repeats with a sum.
    assert {op: ops.count(op) for op in set(ops)} == {
        "Conv": 49,
        "Clip": 33,
        "Add": 9,
        "GlobalAveragePool": 1,
        "Flatten": 1,
        "Gemm": 1,
    }


def test_sides_and_channels_follow_the_paper(lite0: onnx.ModelProto) -> None:
    inferred = onnx.shape_inference.infer_shapes(lite0, strict_mode=True)
    shapes = {each.name: shape(each) for each in inferred.graph.value_info}
    found = [shapes[f"block{index}/project/conv"][1:] for index in range(16)]
    sides = [112, 56, 56, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7, 7, 7, 7]
    assert found == [
        [out, side, side] for (_, _, out), side in zip(LITE0_BLOCKS, sides, strict=True)
    ]


def test_normalisation_is_folded_into_the_convolution(weights: Weights) -> None:
    ones = np.ones(32, "f4")
    # Variance 0.249 and epsilon 0.001 make a deviation of 0.5.
    norm = {"weight": 3 * ones, "bias": 5 * ones, "running_mean": 2 * ones}
    norm["running_var"] = np.full(32, 0.249, "f4")
    model = build(weights | {f"_bn0.{part}": array for part, array in norm.items()})
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    np.testing.assert_allclose(arrays["stem/weight"], 6 * weights["_conv_stem.weight"], rtol=1e-6)
    np.testing.assert_allclose(arrays["stem/bias"], np.full(32, 5 - 6 * 2), rtol=1e-6)


@pytest.mark.engine
def test_a_batch_gives_what_its_images_give_alone(lite0: onnx.ModelProto) -> None:
    images = np.random.default_rng(2).normal(size=(3, 3, 224, 224)).astype("f4")
    with OnnxRuntimeEngine(lite0.SerializeToString()) as engine:
        together = engine.run({"image": images})["logits"]
        alone = [engine.run({"image": image[None]})["logits"][0] for image in images]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


def test_a_changed_graph_has_a_new_builder_number(lite0: onnx.ModelProto) -> None:
    nodes = [
        (
            node.op_type,
            *node.input,
            *node.output,
            *(
                (attribute.name, onnx.helper.get_attribute_value(attribute))
                for attribute in node.attribute
            ),
        )
        for node in lite0.graph.node
    ]
    digest = hashlib.sha256(json.dumps(nodes).encode()).hexdigest()[:16]
    assert (LITE_BUILDER, digest) == (1, "827cf562bbe0d806"), (
        "raise LITE_BUILDER, or caches keep the old graph"
    )


def refused(weights: Weights, scale: LiteScale = LITE0) -> str:
    with pytest.raises(BadInput) as caught:
        build(weights, scale)
    assert caught.value.expected == "the FP32 weights of this EfficientNet-Lite"
    assert caught.value.remedy == "fetch the file that the zoo pins"
    return caught.value.found


def test_a_missing_weight_is_refused(weights: Weights) -> None:
    without = {name: array for name, array in weights.items() if name != "_bn1.bias"}
    assert refused(without) == "no weight '_bn1.bias'"


def test_a_weight_too_many_is_refused(weights: Weights) -> None:
    assert refused(weights | {"extra": np.zeros(1)}) == "the weight 'extra' too many"


def test_another_shape_is_refused(weights: Weights) -> None:
    wrong = weights | {"_conv_stem.weight": np.zeros((32, 3, 5, 5), "f4")}
    assert refused(wrong) == (
        "'_conv_stem.weight' as float32 [32, 3, 5, 5] in place of float32 [32, 3, 3, 3]"
    )


def test_another_type_is_refused(weights: Weights) -> None:
    wrong = weights | {"_fc.bias": np.zeros(1000, "f8")}
    assert refused(wrong) == "'_fc.bias' as float64 [1000] in place of float32 [1000]"


def test_a_weight_that_is_no_number_is_refused(weights: Weights) -> None:
    wrong = weights | {"_fc.bias": np.full(1000, np.nan, "f4")}
    assert refused(wrong) == "NaN or infinity in '_fc.bias'"


def test_a_negative_variance_is_refused(weights: Weights) -> None:
    wrong = weights | {"_bn0.running_var": np.full(32, -1, "f4")}
    assert refused(wrong) == "a negative variance in _bn0"


def test_a_variance_that_overflows_is_refused(weights: Weights) -> None:
    tiny = {"_bn0.running_var": np.zeros(32, "f4"), "_bn0.weight": np.full(32, 3e38, "f4")}
    assert refused(weights | tiny) == "values too large for FP32 in stem/weight"


@pytest.mark.parametrize("scale", [LITE1, LITE2], ids=["lite1", "lite2"])
def test_the_weights_of_lite0_do_not_make_a_larger_one(weights: Weights, scale: LiteScale) -> None:
    assert "'_blocks." in refused(weights, scale)
