"""The sample bundle: the one in ``vectors/``, which uses every field of the manifest."""

import json
from pathlib import Path

import pytest

from edgewise.bundle import MANIFEST, Manifest, read_manifest

COMPLETE = Path(__file__).resolve().parents[3] / "vectors" / "bundle" / "complete"


@pytest.fixture
def complete() -> Path:
    return COMPLETE


@pytest.fixture
def manifest() -> Manifest:
    return read_manifest((COMPLETE / MANIFEST).read_bytes())


@pytest.fixture
def parts(manifest) -> dict[str, bytes]:
    return {part.name: (COMPLETE / part.path).read_bytes() for part in manifest.parts}


@pytest.fixture
def data():
    """The manifest as parsed JSON, to be changed by a test."""
    return json.loads((COMPLETE / MANIFEST).read_bytes())
