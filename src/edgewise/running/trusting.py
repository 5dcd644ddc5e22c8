"""Which parts of a bundle give their stored answer on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgewise.bundle import Bundle, Route, read_probe, why_distrusted
from edgewise.engines import Engine, open_engine
from edgewise.errors import BadInput
from edgewise.running.usable import check_outputs

_MOST_WORDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The networks of a device half, ready to run.

    Args:
        engines: of the parts that may be used, by their names.
        distrusted: why the others may not.
    """

    engines: Mapping[str, Engine]
    distrusted: Mapping[str, str]


def open_trusted(
    bundle: Bundle, needed: Iterable[tuple[str, Iterable[str]]], *, threads: int
) -> Opened:
    """Load networks, and run each once on the bundle's stored input.

    Args:
        bundle: with its probe; without one every part is trusted.
        needed: names of parts, and of the tensors that each must give.
        threads: threads of one run of a network.

    Raises:
        BadInput: when a part or the probe is missing or broken.
    """
    engines: dict[str, Engine] = {}
    for name, gives in needed:
        if name not in engines:
            engines[name] = open_engine(bundle.read_part(name), threads=threads)
        check_outputs(name, engines[name], gives)
    distrusted = _find_distrusted(bundle, engines)
    for name in distrusted:
        engines.pop(name).close()
    return Opened(engines=engines, distrusted=distrusted)


def trusted_routes(routes: Iterable[Route], distrusted: Mapping[str, str]) -> tuple[Route, ...]:
    """The routes whose device part is not distrusted.

    Raises:
        BadInput: when there is none.
    """
    trusted = tuple(route for route in routes if route.device_part not in distrusted)
    if not trusted:
        raise BadInput(
            expected="a part of the bundle that gives its stored answer on this machine",
            found=distrust_words(distrusted),
            remedy="install another version of onnxruntime, or plan the bundle anew here",
        )
    return trusted


def distrust_words(distrusted: Mapping[str, str]) -> str:
    """Which parts are distrusted and why, for a person.

    >>> distrust_words({"tail": "it fails"})
    "the part 'tail': it fails"
    """
    reasons = (f"the part {name!r}: {why}" for name, why in distrusted.items())
    return "; ".join(reasons)[:_MOST_WORDS]


def _find_distrusted(bundle: Bundle, engines: Mapping[str, Engine]) -> dict[str, str]:
    stored = read_probe(bundle)
    if stored is None:
        return {}
    manifest = bundle.manifest
    found = {
        name: why_distrusted(stored, manifest, manifest.part(name), engine.run)
        for name, engine in engines.items()
    }
    return {name: why for name, why in found.items() if why}
