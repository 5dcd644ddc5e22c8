"""Fit a classifier on the CPU: augmented batches, SGD under a one-cycle rate, bfloat16.

Schedule: L. N. Smith, N. Topin, "Super-Convergence", arXiv:1708.07120. Label smoothing: C. Szegedy
et al., arXiv:1512.00567, section 7. Augmentation (pad, crop, flip): K. He et al.,
arXiv:1512.03385, section 4.2.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from fashion import MEAN, SCALE, Part
from torch import Tensor, nn

PADDING = 2
"""An image moves by up to so many pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, but for the data and the network."""

    epochs: int
    batch: int
    peak_rate: float
    momentum: float
    weight_decay: float
    smoothing: float
    seed: int


def tensors(part: Part) -> tuple[Tensor, Tensor]:
    """Images and labels; the labels as the loss wants them."""
    return torch.tensor(part.images), torch.tensor(part.labels, dtype=torch.int64)


def prepared(images: Tensor) -> Tensor:
    """`[n, 28, 28]` bytes as normalised `[n, 1, 28, 28]` floats."""
    return ((images.float() - MEAN) / SCALE).unsqueeze(1)


def augmented(padded: Tensor, random: torch.Generator) -> Tensor:
    """One random 28 x 28 crop of every padded image, half of them mirrored."""
    count, height, width = (
        padded.shape[0],
        padded.shape[1] - 2 * PADDING,
        padded.shape[2] - 2 * PADDING,
    )
    corner = torch.randint(2 * PADDING + 1, (2, count, 1), generator=random)
    rows = corner[0] + torch.arange(height)
    columns = corner[1] + torch.arange(width)
    mirror = torch.rand(count, 1, generator=random) < 0.5
    columns = torch.where(mirror, columns.flip(1), columns)
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def batches(part: Part, size: int, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of full batches in a random order."""
    images, labels = tensors(part)
    padded = nn.functional.pad(images, (PADDING,) * 4)
    order = torch.randperm(len(labels), generator=random)
    for chosen in order[: len(order) // size * size].split(size):
        yield prepared(augmented(padded[chosen], random)), labels[chosen]


def half_precision() -> torch.autocast:
    """Convolutions and products in bfloat16; weights, loss and statistics stay float32."""
    return torch.autocast("cpu", torch.bfloat16)


def optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; no decay of biases and normalisation (vectors)."""
    decayed = [weight for weight in network.parameters() if weight.ndim > 1]
    free = [weight for weight in network.parameters() if weight.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=recipe.peak_rate, momentum=recipe.momentum, nesterov=True)


def fit(network: nn.Module, recipe: Recipe, part: Part, judge: Part) -> float:
    """Fit in place, print the accuracy on `judge` after each epoch, return the seconds taken."""
    start_s = time.perf_counter()
    random = torch.Generator().manual_seed(recipe.seed)
    network.to(memory_format=torch.channels_last)
    sgd = optimizer(network, recipe)
    steps = recipe.epochs * (len(part.labels) // recipe.batch)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        sgd, recipe.peak_rate, total_steps=steps, pct_start=0.2, cycle_momentum=False
    )
    for epoch in range(recipe.epochs):
        loss = fit_epoch(network, recipe, sgd, rate, batches(part, recipe.batch, random))
        held_out = accuracy(network, judge)
        spent_s = time.perf_counter() - start_s
        print(
            f"epoch {epoch + 1}: loss {loss:.4f}, held out {held_out:.4f}, {spent_s:.0f} s",
            flush=True,
        )
    return time.perf_counter() - start_s


def fit_epoch(
    network: nn.Module,
    recipe: Recipe,
    sgd: torch.optim.Optimizer,
    rate: torch.optim.lr_scheduler.LRScheduler,
    epoch: Iterator[tuple[Tensor, Tensor]],
) -> float:
    """One step for each batch; the mean loss."""
    network.train()
    losses = []
    for images, labels in epoch:
        with half_precision():
            logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = nn.functional.cross_entropy(
            logits.float(), labels, label_smoothing=recipe.smoothing
        )
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        rate.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@torch.inference_mode()
def accuracy(network: nn.Module, part: Part) -> float:
    """The share of images put in the right class, in float32."""
    network.eval()
    images, labels = tensors(part)
    found = torch.cat([network(prepared(chunk)).argmax(1) for chunk in images.split(500)])
    return (found == labels).float().mean().item()
