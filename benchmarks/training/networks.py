"""Two small classifiers of 28 x 28 grey images.

`resnet20`: K. He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section
4.2 (n = 3), with strided 1 x 1 projection shortcuts (option B) in place of zero padding.
`mobilenetv3`: blocks of A. Howard et al., "Searching for MobileNetV3", arXiv:1905.02244, sections
4 and 5.2-5.3 (inverted residual, squeeze-excite with a hard sigmoid gate, hard swish), in a table
of our own for small images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """A convolution without bias that keeps the size (up to its stride), and its normalisation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class Depthwise(nn.Conv2d):
    """One filter for each channel, always in float32.

    Under bfloat16 the strided gradient took 7 to 16 times as long here (torch 2.13, two cores).
    """

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(
            channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[n, channels, h, w]` to `[n, channels, h / stride, w / stride]`."""
        with torch.autocast("cpu", enabled=False):
            same = x.dtype == self.weight.dtype  # a cast of no effect would stay in the ONNX graph
            return super().forward(x if same else x.to(self.weight.dtype))


class BasicBlock(nn.Module):
    """relu(x or its projection + two 3 x 3 convolutions of x)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        first = [*conv_norm(inputs, outputs, 3, stride), nn.ReLU()]
        self.body = nn.Sequential(*first, *conv_norm(outputs, outputs, 3))
        same = inputs == outputs and stride == 1
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(*conv_norm(inputs, outputs, 1, stride))
        )
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, outputs, h / stride, w / stride]`."""
        return self.activation(self.body(x) + self.shortcut(x))


def resnet20(classes: int = 10) -> nn.Module:
    """3 x 3 stem, three stages of three basic blocks, widths 16, 32 and 64."""
    layers: list[nn.Module] = [*conv_norm(1, 16, 3), nn.ReLU()]
    inputs = 16
    for width in (16, 32, 64):
        for block in range(3):
            layers.append(BasicBlock(inputs, width, stride=2 if block == 0 and width > 16 else 1))
            inputs = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)
    )


class SqueezeExcite(nn.Module):
    """x times a gate per channel, seen from the channel means."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        squeezed = channels // reduction
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape."""
        return x * self.gate(x)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverted:
    """One row of the MobileNetV3 table."""

    kernel: int
    expanded: int
    outputs: int
    excite: bool
    swish: bool
    stride: int


MOBILENETV3_ROWS = (
    Inverted(kernel=3, expanded=16, outputs=16, excite=True, swish=False, stride=2),
    Inverted(kernel=3, expanded=48, outputs=24, excite=False, swish=False, stride=1),
    Inverted(kernel=3, expanded=72, outputs=24, excite=False, swish=False, stride=1),
    Inverted(kernel=5, expanded=96, outputs=40, excite=True, swish=True, stride=2),
    Inverted(kernel=5, expanded=120, outputs=40, excite=True, swish=True, stride=1),
    Inverted(kernel=5, expanded=120, outputs=40, excite=True, swish=True, stride=1),
    Inverted(kernel=5, expanded=144, outputs=48, excite=True, swish=True, stride=1),
    Inverted(kernel=5, expanded=192, outputs=48, excite=True, swish=True, stride=1),
)


class InvertedResidual(nn.Module):
    """Expand by 1 x 1, depthwise, gate, project by 1 x 1; add x where the shapes agree."""

    def __init__(self, inputs: int, row: Inverted) -> None:
        super().__init__()
        self.body = nn.Sequential(*inverted_layers(inputs, row))
        self.residual = row.stride == 1 and inputs == row.outputs

    def forward(self, x: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, outputs, h / stride, w / stride]`."""
        return x + self.body(x) if self.residual else self.body(x)


def inverted_layers(inputs: int, row: Inverted) -> list[nn.Module]:
    """The layers of one inverted residual; no expansion where it would not widen."""
    activation = nn.Hardswish if row.swish else nn.ReLU
    layers: list[nn.Module] = []
    if row.expanded != inputs:
        layers += [*conv_norm(inputs, row.expanded, 1), activation()]
    depthwise = Depthwise(row.expanded, row.kernel, row.stride)
    layers += [depthwise, nn.BatchNorm2d(row.expanded), activation()]
    if row.excite:
        layers.append(SqueezeExcite(row.expanded))
    return layers + conv_norm(row.expanded, row.outputs, 1)


def mobilenetv3(classes: int = 10) -> nn.Module:
    """Stem, the rows above, a 1 x 1 convolution, mean over the image, one hidden layer."""
    layers: list[nn.Module] = [*conv_norm(1, 16, 3), nn.Hardswish()]
    inputs = 16
    for row in MOBILENETV3_ROWS:
        layers.append(InvertedResidual(inputs, row))
        inputs = row.outputs
    layers += [*conv_norm(inputs, 192, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(
        *layers, nn.Linear(192, 128), nn.Hardswish(), nn.Dropout(0.1), nn.Linear(128, classes)
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {"resnet20": resnet20, "mobilenetv3": mobilenetv3}
