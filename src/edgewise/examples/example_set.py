"""Examples, and how they are parted so that nothing is judged on what it was fitted to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from edgewise.errors import BadInput
from edgewise.preparation import Pixels
from edgewise.tensors import Array

Label: TypeAlias = int | float | str
MAX_EXAMPLES = 200_000
_MAX_CLASSES = 2**31


class Source(Protocol):
    """Where the inputs of examples come from."""

    def feeds(self, row: int) -> dict[str, Array]:
        """Every input of the network by name, batch 1, for one row of the source."""

    def pixels(self, row: int) -> Pixels | None:
        """The cropped, resized 8-bit pixels of one row; ``None`` when it is no picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Inputs, prepared when asked for, and what is known of each.

    Args:
        names: what messages and reports call each example.
        labels: a class index, a class or group name, a score, or ``None``.
        keys: SHA-256 of each example's content; equal content has an equal key.
        rows: each example's place in ``source``.
        source: prepares the inputs.
        recipe: says how the inputs are prepared; part of the digest.
    """

    names: tuple[str, ...]
    labels: tuple[Label | None, ...]
    keys: tuple[str, ...]
    rows: tuple[int, ...]
    source: Source
    recipe: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def feeds(self, index: int) -> dict[str, Array]:
        """Every input of the network by name, batch 1.

        Raises:
            BadInput: when the example cannot be read, such as a photo that does not decode.
        """
        return self.source.feeds(self.rows[index])

    def pixels(self, index: int) -> Pixels | None:
        """The cropped, resized 8-bit pixels, H x W x C; ``None`` when it is no picture.

        Raises:
            BadInput: when the photo does not decode.
        """
        return self.source.pixels(self.rows[index])

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return (self.source.feeds(row) for row in self.rows)

    @property
    def digest(self) -> str:
        """SHA-256 of contents, labels, order and preparation."""
        whole = hashlib.sha256(self.recipe.encode())
        for key, label in zip(self.keys, self.labels, strict=True):
            whole.update(f"\n{key} {label!r}".encode())
        return whole.hexdigest()

    def pick(self, indices: Sequence[int]) -> Examples:
        """The examples at ``indices``, in that order."""
        return replace(
            self,
            names=tuple(self.names[i] for i in indices),
            labels=tuple(self.labels[i] for i in indices),
            keys=tuple(self.keys[i] for i in indices),
            rows=tuple(self.rows[i] for i in indices),
        )

    def class_indices(self, classes: Sequence[str] = ()) -> tuple[int, ...]:
        """The labels as class indices.

        Args:
            classes: the model's class names in order of its outputs; only needed for labels
                that are names.

        Raises:
            BadInput: when an example has no label, or one that is no class of the model.
        """
        places = {name: index for index, name in enumerate(classes)}
        return tuple(
            _class_index(label, places, name)
            for label, name in zip(self.labels, self.names, strict=True)
        )

    def split(self, *, calibrate: float = 0.2, select: float = 0.3, seed: int = 0) -> Split:
        """Three parts that share no example and no content; the rest is for reporting.

        The order is that of a hash of seed and content, so that it depends neither on file names
        nor on the order of reading, and copies of one photo stay together.

        Args:
            calibrate: share of the examples, above 0.
            select: share of the examples, above 0; both together below 1.
            seed: another seed gives other parts.

        Raises:
            BadInput: on other shares, or when a part would be empty.
        """
        if not (calibrate > 0 and select > 0 and calibrate + select < 1):
            raise BadInput(
                expected="shares above 0 that leave some examples to report on",
                found=f"calibrate {calibrate} and select {select}",
                remedy="use shares such as 0.2 and 0.3",
            )
        order = sorted(range(len(self)), key=lambda i: (_hash(seed, self.keys[i]), i))
        first = self._cut(order, calibrate)
        second = self._cut(order, calibrate + select)
        parts = (order[:first], order[first:second], order[second:])
        if not all(parts):
            raise BadInput(
                expected="enough different examples for three parts",
                found=f"{len(set(self.keys))} different of {len(self)}",
                remedy="add examples, or change the shares",
            )
        return Split(*(self.pick(sorted(part)) for part in parts))

    def folds(self, k: int = 5, *, calibrate: float = 0.4, seed: int = 0) -> tuple[Split, ...]:
        """Cross-fitting for few examples: every one is reported, by what never saw it.

        Each fold reports on another of ``k`` parts, and calibrates and selects on the others.
        Equal contents share a part, and each label is spread over the parts as evenly as it can
        be. As with :meth:`split`, file names and the order of reading do not matter.

        Args:
            k: how many folds, at least 2.
            calibrate: share of the other parts' contents that calibrates, between 0 and 1; the
                rest selects.
            seed: another seed gives other folds.

        Raises:
            BadInput: on another share, or with too few different examples.
        """
        if not 0 < calibrate < 1:
            raise BadInput(
                expected="a share for calibrating between 0 and 1",
                found=str(calibrate),
                remedy="use a share such as 0.4",
            )
        order = self._spread(seed)
        if not 2 <= k <= len(order) or len(order) - -(-len(order) // k) < 2:
            raise BadInput(
                expected=f"2 folds or more, and different examples for {k} of them",
                found=f"{len(order)} different of {len(self)}",
                remedy="add examples, or use fewer folds (at least 2)",
            )
        return tuple(self._fold(order, part, k, calibrate) for part in range(k))

    def _spread(self, seed: int) -> list[str]:
        """The different contents, those with one label side by side."""
        labels: dict[str, str] = {}
        for key, label in zip(self.keys, self.labels, strict=True):
            labels[key] = min(labels.get(key, repr(label)), repr(label))
        return sorted(labels, key=lambda key: (_hash(seed, labels[key]), _hash(seed, key)))

    def _fold(self, order: list[str], part: int, k: int, calibrate: float) -> Split:
        others = [key for place, key in enumerate(order) if place % k != part]
        # At equal steps, so that both parts see every label that has enough examples.
        count = min(max(round(calibrate * len(others)), 1), len(others) - 1)
        chosen = {others[step * len(others) // count] for step in range(count)}
        report = set(order[part::k])
        parts: tuple[list[int], list[int], list[int]] = ([], [], [])
        for index, key in enumerate(self.keys):
            parts[2 if key in report else 0 if key in chosen else 1].append(index)
        return Split(*map(self.pick, parts))

    def _cut(self, order: list[int], share: float) -> int:
        """The place near ``share`` of ``order`` that does not part equal contents."""
        place = round(share * len(order))
        while 0 < place < len(order) and self._same(order[place - 1], order[place]):
            place += 1
        return place

    def _same(self, left: int, right: int) -> bool:
        return self.keys[left] == self.keys[right]


@dataclass(frozen=True, slots=True)
class Split:
    """Examples for calibrating, for selecting among candidates, and for the reported figures."""

    calibrate: Examples
    select: Examples
    report: Examples


def _hash(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()


def _class_index(label: Label | None, places: dict[str, int], name: str) -> int:
    if isinstance(label, int) and 0 <= label < (len(places) or _MAX_CLASSES):
        return label
    if isinstance(label, str) and label in places:
        return places[label]
    known = f"one of the model's {len(places)} classes" if places else "a class index"
    raise BadInput(
        expected=f"{known} as the label of {name}",
        found="no label" if label is None else repr(label)[:60],
        remedy="correct the label, or use a model with edgewise.labels in its metadata",
    )
