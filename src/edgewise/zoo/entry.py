"""One network of the zoo: what it is, what it may be used for, how it is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgewise.preparation import ImagePreparation, write_preparation
from edgewise.zoo.cache import Progress


class Recipe(Protocol):
    """How the ONNX file of an entry comes about."""

    def fingerprint(self) -> str:
        """Whatever decides the bytes of the file, as text; another text, another file."""
        ...

    def build(
        self, name: str, metadata: Mapping[str, str], *, cache: Path, progress: Progress
    ) -> bytes:
        """The ONNX file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooEntry:
    """One network of the zoo.

    Args:
        name: how :func:`edgewise.zoo.get` calls it.
        kind: what it does.
        licence: of the weights, as an SPDX expression.
        licence_evidence: the words that say so, quoted.
        source: where the weights come from.
        preparation: how an input is made for it.
        labels: the classes, in the order of its outputs.
        figures: what figures measured with it may claim.
        recipe: how the ONNX file is made.
    """

    name: str
    kind: str
    licence: str
    licence_evidence: str
    source: str
    preparation: ImagePreparation
    labels: tuple[str, ...] = field(repr=False)
    figures: str
    recipe: Recipe = field(repr=False)

    def metadata(self) -> dict[str, str]:
        """What the ONNX file says of itself, for its ``metadata_props``."""
        return {
            "edgewise.preparation": write_preparation(self.preparation),
            "edgewise.labels": json.dumps(self.labels, ensure_ascii=False),
            "edgewise.licence": self.licence,
            "edgewise.source": self.source,
        }

    def key(self) -> str:
        """What the cache knows the file by: changes whenever its bytes would."""
        parts = json.dumps([self.recipe.fingerprint(), self.metadata()], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()[:16]
