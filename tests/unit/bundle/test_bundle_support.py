"""What is reserved for later is not passed over in silence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgewise.bundle import (
    ExitHead,
    Manifest,
    Side,
    Signature,
    check_supported,
    open_bundle,
    support,
)
from edgewise.errors import BadInput, MissingExtra

COMPLETE = Path(__file__).resolve().parents[3] / "vectors" / "bundle" / "complete"


def _plain() -> Manifest:
    manifest = open_bundle(COMPLETE).manifest
    return replace(manifest, signature=None, exits=(), codec_tables=(), needs=())


def test_a_bundle_without_reserved_fields_is_supported() -> None:
    check_supported(_plain())
    check_supported(replace(_plain(), needs=("image",)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("signature", Signature(algorithm="ed25519", key_id="k")),
        ("exits", (ExitHead(name="e", route="r", output="o", threshold=0.5),)),
    ],
)
def test_what_nobody_acts_on_is_refused(field: str, value: object) -> None:
    with pytest.raises(BadInput, match=f"expected a bundle without '{field}', .* install"):
        check_supported(replace(_plain(), **{field: value}))


def test_a_later_extra_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match="found 'telepathy'; install the edgewise that wrote it"):
        check_supported(replace(_plain(), needs=("telepathy",)))


def test_the_server_needs_nothing_to_read_texts_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(support._MODULES, "text", ("no_such_module", "to read texts"))
    text = replace(_plain(), needs=("text",))
    check_supported(text, on=Side.SERVER)
    with pytest.raises(MissingExtra, match=r"the optional part 'text' to read texts"):
        check_supported(text)
