"""The files that ship inside the package: class names, two small networks, labelled images."""

from __future__ import annotations

import csv
from importlib.resources import files

from edgewise.errors import BadInput


def shipped_bytes(name: str) -> bytes:
    """A file of ``zoo/assets``.

    Args:
        name: its path inside that folder.

    Raises:
        BadInput: when the installed package lacks it.

    >>> shipped_bytes("imagenet-1k-classes.tsv")[:11]
    b'class_index'
    """
    try:
        return files("edgewise.zoo").joinpath("assets", *name.split("/")).read_bytes()
    except OSError:
        raise BadInput(
            expected=f"the file zoo/assets/{name} in the installed package",
            found="no such file",
            remedy="install edgewise again: pip install --force-reinstall edgewise",
        ) from None


def imagenet_labels() -> tuple[str, ...]:
    """The names of the 1 000 classes of ImageNet-1k (ILSVRC 2012), in their usual order.

    >>> len(imagenet_labels()), imagenet_labels()[0]
    (1000, 'tench')
    """
    lines = shipped_bytes("imagenet-1k-classes.tsv").decode().splitlines()
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return tuple(row["name"] for row in rows)
