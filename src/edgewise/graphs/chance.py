"""Operators whose result is another one each time."""

from __future__ import annotations

RANDOM_OPS = frozenset(
    {
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("Bernoulli", "Multinomial"),
    }
)
"""Always."""
UNREPEATABLE_OPS = RANDOM_OPS | {"Dropout"}
"""Always or while training."""
