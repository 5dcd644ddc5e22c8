"""Devices, links and clouds that ship with edgewise, and the user's own as TOML files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from edgewise.errors import BadInput
from edgewise.records import read_toml
from edgewise.specs import CloudSpec, DeviceSpec, LinkSpec, Provenance
from edgewise.units import parse_duration, parse_rate

__all__ = ["load_cloud", "load_device", "load_link", "names", "parse_link"]

T = TypeVar("T")
_HERE = Path(__file__).parent
_KINDS = ("clouds", "devices", "links")
_LINK_FIELDS: Mapping[str, tuple[str, Callable[[str], float]]] = {
    "up": ("up_bytes_per_s", parse_rate),
    "down": ("down_bytes_per_s", parse_rate),
    "rtt": ("rtt_s", parse_duration),
}
_LINK_EXAMPLE = "up=5.85Mbit/s,rtt=50ms"


def names(kind: str) -> tuple[str, ...]:
    """Names of the catalogue's entries of one kind: ``devices``, ``links`` or ``clouds``.

    Raises:
        BadInput: on another kind.

    >>> names("links")
    ('3g', 'lte', 'wifi')
    """
    if kind not in _KINDS:
        raise BadInput(
            expected=f"one of the kinds {', '.join(_KINDS)}",
            found=repr(kind[:60]),
            remedy="name one of them",
        )
    return tuple(sorted(path.stem for path in (_HERE / kind).glob("*.toml")))


def load_device(text: str) -> DeviceSpec:
    """A device by its name in the catalogue, or from a TOML file.

    Raises:
        BadInput: when it is neither, or the file does not fit.

    >>> load_device("slow-phone").slowdown
    30.0
    """
    return _load(DeviceSpec, "devices", text, remedy="name one of them, or a .toml file")


def load_cloud(text: str) -> CloudSpec:
    """A cloud by its name in the catalogue, or from a TOML file.

    Raises:
        BadInput: when it is neither, or the file does not fit.

    >>> load_cloud("this-machine").slowdown
    1.0
    """
    return _load(CloudSpec, "clouds", text, remedy="name one of them, or a .toml file")


def load_link(text: str) -> LinkSpec:
    """A link by its name in the catalogue, from a TOML file, or written out.

    Raises:
        BadInput: when it is none of these, or does not fit.

    >>> load_link("lte").up_bytes_per_s, load_link("up=1Mbit/s").up_bytes_per_s
    (731250.0, 125000.0)
    """
    if "=" in text and not text.endswith(".toml"):
        return parse_link(text)
    remedy = f"name one of them, a .toml file, or write it out as {_LINK_EXAMPLE}"
    return _load(LinkSpec, "links", text, remedy=remedy)


def parse_link(text: str) -> LinkSpec:
    """A link written out as ``up=RATE[,down=RATE][,rtt=DURATION]``.

    A missing ``down`` is unlimited, a missing ``rtt`` is 0.

    Raises:
        BadInput: on anything else; ``up`` is required, unknown and repeated keys are refused.

    >>> link = parse_link("up=5.85Mbit/s,rtt=50ms")
    >>> link.up_bytes_per_s, link.down_bytes_per_s, link.rtt_s
    (731250.0, inf, 0.05)
    """
    values: dict[str, float] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in _LINK_FIELDS:
            raise _bad_link("only the keys up, down and rtt", part.strip())
        name, parse = _LINK_FIELDS[key]
        if name in values:
            raise _bad_link(f"{key} once", text)
        values[name] = parse(value)
    if "up_bytes_per_s" not in values:
        raise _bad_link("the key up", text)
    provenance = Provenance(source="user-supplied", date="undated", conditions="written out")
    return LinkSpec(name=text.strip(), provenance=provenance, **values)


def _bad_link(expected: str, found: str) -> BadInput:
    return BadInput(
        expected=f"{expected} in a link that is written out",
        found=repr(found[:60]),
        remedy=f"write it as {_LINK_EXAMPLE}",
    )


def _load(cls: type[T], kind: str, text: str, *, remedy: str) -> T:
    known = names(kind)
    if text in known:
        return read_toml(cls, _HERE / kind / f"{text}.toml")
    if text.endswith(".toml"):
        return read_toml(cls, Path(text))
    raise BadInput(
        expected=f"one of the {kind} {', '.join(known)}", found=repr(text[:60]), remedy=remedy
    )
