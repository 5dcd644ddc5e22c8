"""Whatever is done to a probe's bytes, it is read rightly or refused in our own words."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edgewise.bundle import Bundle, describe_probe, open_bundle, read_probe
from edgewise.errors import BadInput

GOLDEN = Path(__file__).resolve().parents[2] / "vectors" / "bundle" / "complete"
RAW = (GOLDEN / "probe.bin").read_bytes()


def _with(folder: Path, raw: bytes) -> Bundle:
    bundle = open_bundle(shutil.copytree(GOLDEN, folder / "b"))
    (bundle.path / "probe.bin").write_bytes(raw)
    probe = describe_probe(raw, tolerance=1e-3)
    return replace(bundle, manifest=replace(bundle.manifest, probe=probe))


@given(
    start=st.integers(0, len(RAW)),
    length=st.integers(0, 40),
    other=st.binary(max_size=40),
)
def test_a_damaged_probe_is_read_or_refused(start: int, length: int, other: bytes) -> None:
    raw = RAW[:start] + other + RAW[start + length :]
    with tempfile.TemporaryDirectory() as folder:
        try:
            stored = read_probe(_with(Path(folder), raw or b"?"))
        except BadInput:
            return
    assert stored is not None
    shapes = {array.shape for held in stored.tensors.values() for array in held.values()}
    assert all(len(shape) == 2 and shape[1] == 4 for shape in shapes)
