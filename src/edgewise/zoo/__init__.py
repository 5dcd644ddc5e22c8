"""Real networks to try, as ONNX with preparation, licence and source.

>>> import edgewise.zoo
>>> edgewise.zoo.entries()[0].licence
'Apache-2.0'
"""

from __future__ import annotations

from edgewise.zoo.cache import cache_folder
from edgewise.zoo.entry import Recipe, ZooEntry
from edgewise.zoo.fashion import FashionExamples, fashion_examples
from edgewise.zoo.table import entries, get

__all__ = [
    "FashionExamples",
    "Recipe",
    "ZooEntry",
    "cache_folder",
    "entries",
    "fashion_examples",
    "get",
]
