"""Photos as a source of examples, and the photos that come with edgewise."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edgewise.examples.example_set import Examples, Label
from edgewise.preparation import (
    ImagePreparation,
    Pixels,
    check_photo,
    open_pixels,
    prepare,
    read_photo_file,
    write_preparation,
)
from edgewise.tensors import Array

_ASSETS = Path(__file__).resolve().parent / "assets" / "photos"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoSource:
    """Photos in files, prepared one at a time when asked for.

    Args:
        files: where they are.
        preparation: what the network wants.
        input_name: the network's input.
    """

    files: tuple[Path, ...]
    preparation: ImagePreparation
    input_name: str

    def feeds(self, row: int) -> dict[str, Array]:
        """The prepared photo by the input's name, batch 1."""
        return {self.input_name: prepare(self.files[row], self.preparation)}

    def pixels(self, row: int) -> Pixels:
        """The cropped, resized pixels of the photo."""
        return open_pixels(self.files[row], self.preparation)


def photo_examples(
    files: tuple[Path, ...],
    names: tuple[str, ...],
    labels: tuple[Label | None, ...],
    preparation: ImagePreparation,
    input_name: str,
) -> Examples:
    """Examples from photos; each is read once for its hash and its header checked.

    Raises:
        BadInput: naming the first file that is no photo.
    """
    return Examples(
        names=names,
        labels=labels,
        keys=tuple(map(_photo_key, files)),
        rows=tuple(range(len(files))),
        source=PhotoSource(files=files, preparation=preparation, input_name=input_name),
        recipe=write_preparation(preparation),
    )


def demo_photos() -> tuple[Path, ...]:
    """The freely licensed photos that come with edgewise, in order of name.

    ``LICENCES.md`` beside them names author, source and licence of each.

    >>> len(demo_photos())
    30
    """
    return tuple(sorted(_ASSETS.glob("*.jpg")))


def _photo_key(file: Path) -> str:
    data = read_photo_file(file)
    check_photo(data, name=f"the photo {file}")
    return hashlib.sha256(data).hexdigest()
