"""The networks that benchmarks try: the zoo's, and those that other packages ship."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgewise.zoo import cache_folder, entries, get
from support.foreign_networks import FOREIGN, fetch

TEXT_AXES = {"sequence": 16, "past": 8}
TEXT_LIMITS = {"input_ids": (0, 999), "attention_mask": (1, 1), "token_type_ids": (0, 0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One network, and what its random inputs need; see :class:`Foreign`."""

    name: str
    path: Path
    axes: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the inputs to judge with: more where an integer chooses what is computed."""
        chooses = any(len(limits) > 2 for limits in self.limits.values())
        return (0, 1, 2, 3) if chooses else (0, 1)

    def job(self, **more: Any) -> dict[str, Any]:
        """What a child process has to know of it."""
        limits = {name: list(pair) for name, pair in self.limits.items()}
        return {"source": str(self.path), "axes": dict(self.axes), "limits": limits, **more}


def subjects(only: Sequence[str] = ()) -> Iterator[Subject]:
    """All, or those that are named; fetched when their turn comes."""
    for entry in entries():
        if not only or entry.name in only:
            yield Subject(
                name=entry.name, path=get(entry.name), axes=TEXT_AXES, limits=TEXT_LIMITS
            )
    for one in FOREIGN:
        if not only or one.name in only:
            path = fetch(one, cache=cache_folder())
            yield Subject(name=one.name, path=path, axes=one.axes, limits=one.limits)
