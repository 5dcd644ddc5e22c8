"""Can this edgewise do what a bundle asks for? Reserved fields are read, and not acted on yet."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from edgewise.bundle.manifest import Manifest, Side
from edgewise.errors import BadInput, MissingExtra

_RESERVED = ("signature", "exits", "codec_tables")
_MODULES: Mapping[str, tuple[str, str]] = {
    "image": ("PIL", "to decode and encode photos"),
    "text": ("tokenizers", "to read texts"),
}


_DEVICE_ALONE = ("text",)


def check_supported(manifest: Manifest, *, on: Side = Side.DEVICE) -> None:
    """Refuse a bundle that relies on what nobody here would act on.

    A signature that is not verified, or an exit that is never taken, must not pass in silence.

    Args:
        manifest: of the bundle.
        on: the half that wants to use it; only the device reads texts.

    Raises:
        BadInput: naming the first field that is reserved for a later edgewise.
        MissingExtra: when an optional part that the bundle needs is not installed.
    """
    for field in _RESERVED:
        if getattr(manifest, field):
            raise BadInput(
                expected=f"a bundle without {field!r}, which this edgewise does not act on yet",
                found=f"one in {manifest.name!r}",
                remedy="install the edgewise that wrote it, or plan it anew",
            )
    for extra in manifest.needs:
        if extra not in _MODULES:
            raise BadInput(
                expected=f"a bundle that needs some of {', '.join(_MODULES)}",
                found=repr(extra[:60]),
                remedy="install the edgewise that wrote it, or plan it anew",
            )
        module, purpose = _MODULES[extra]
        if on is Side.SERVER and extra in _DEVICE_ALONE:
            continue
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(extra=extra, purpose=purpose)
