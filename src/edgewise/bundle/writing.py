"""Writing bundles: there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgewise.bundle.folder import Bundle, read_manifest
from edgewise.bundle.manifest import MANIFEST, Manifest, Part, Probe, Side
from edgewise.bundle.soundness import DATA_ENDING, NETWORK_ENDING, check_manifest
from edgewise.errors import BadInput
from edgewise.records import write_record
from edgewise.tensors import TensorSpec

OLD_ENDING = "-old"
_ENDINGS = (NETWORK_ENDING, DATA_ENDING)
_SWAP_TRIES = 100


def write_bundle(
    folder: Path | str,
    manifest: Manifest,
    parts: Mapping[str, bytes],
    *,
    probe: bytes | None = None,
) -> Bundle:
    """Write a bundle so that it is there whole or not at all.

    All is checked and written beside the folder first, then two renames swap it in. A kill
    between the two leaves the former bundle whole in ``.NAME-…-old`` beside it.

    Args:
        folder: replaced when it holds a bundle and nothing else, refused when it holds more.
        manifest: what to write; its parts must match ``parts``.
        parts: the bytes of each part by its name.
        probe: the bytes of the probe, when the manifest lists one.

    Raises:
        BadInput: when manifest and parts do not fit, the folder holds anything else or cannot
            be written, or the disk is full.
    """
    target = Path(os.path.realpath(folder))
    raw = _manifest_bytes(manifest, str(target))
    checked = read_manifest(raw, where=str(target))  # before it replaces one that can be read
    _check_parts(manifest, parts)
    _check_probe(manifest.probe, probe)
    files = {part.path: parts[part.name] for part in manifest.parts}
    if manifest.probe is not None and probe is not None:
        files[manifest.probe.path] = probe
    try:
        check_replaceable(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise unwritable(target, error) from None
    try:
        staged.chmod(0o755)
        for name, content in {**files, MANIFEST: raw}.items():
            (staged / name).write_bytes(content)
        install(staged, target)
    except OSError as error:
        raise unwritable(target, error) from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Bundle(path=Path(folder), manifest=checked, digest=hashlib.sha256(raw).hexdigest())


def describe_part(
    name: str,
    raw: bytes,
    *,
    side: Side,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
) -> Part:
    """The manifest's entry for a network's bytes."""
    return Part(
        name=name,
        path=f"{name}{NETWORK_ENDING}",
        sha256=hashlib.sha256(raw).hexdigest(),
        bytes=len(raw),
        side=side,
        inputs=inputs,
        outputs=outputs,
    )


def describe_probe(raw: bytes, *, tolerance: float) -> Probe:
    """The manifest's entry for a probe's bytes."""
    return Probe(
        path=f"probe{DATA_ENDING}",
        sha256=hashlib.sha256(raw).hexdigest(),
        bytes=len(raw),
        tolerance=tolerance,
    )


def _manifest_bytes(manifest: Manifest, where: str) -> bytes:
    check_manifest(manifest, where)
    try:
        text = json.dumps(write_record(manifest), indent=1, ensure_ascii=False, allow_nan=False)
        raw = (text + "\n").encode("utf-8")
    except ValueError as error:
        raise BadInput(
            expected=f"finite numbers and valid text in the manifest of {where}",
            found=str(error)[:200],
            remedy="correct the manifest",
        ) from None
    return raw


def _check_parts(manifest: Manifest, parts: Mapping[str, bytes]) -> None:
    listed = {part.name: (part.bytes, part.sha256) for part in manifest.parts}
    given = {name: (len(raw), hashlib.sha256(raw).hexdigest()) for name, raw in parts.items()}
    wrong = sorted(name for name, _ in listed.items() ^ given.items())
    if wrong:
        raise BadInput(
            expected="exactly the parts that the manifest lists, byte for byte",
            found=f"another, a missing or a further part {wrong[0]!r}",
            remedy="list each part with describe_part",
        )


def _check_probe(listed: Probe | None, raw: bytes | None) -> None:
    wanted = None if listed is None else (listed.bytes, listed.sha256)
    given = None if raw is None else (len(raw), hashlib.sha256(raw).hexdigest())
    if wanted != given:
        raise BadInput(
            expected="exactly the probe that the manifest lists, byte for byte",
            found="none" if given is None else "another one",
            remedy="list it with describe_probe",
        )


def check_replaceable(target: Path) -> None:
    """Refuse to replace a folder that holds anything but a bundle.

    Raises:
        BadInput: naming what else is there.
        OSError: when the folder cannot be looked into.
    """
    try:
        entries = sorted(os.listdir(target))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        entries = [target.name] if os.path.lexists(target) else []
    foreign = [name for name in entries if name != MANIFEST and not name.endswith(_ENDINGS)]
    if foreign or (entries and MANIFEST not in entries):
        raise BadInput(
            expected=f"a bundle or nothing at {target}",
            found=f"something else: {(foreign or entries)[0]!r}",
            remedy="give -o another folder",
        )


def install(staged: Path, target: Path, *, previous: Path | None = None) -> None:
    """Put a finished folder in the place of a bundle.

    Args:
        staged: moved; beside the target.
        target: what is there moves away, and comes back when the swap fails.
        previous: where the former bundle goes, in the place of whatever is there; without it
            the former bundle is deleted.

    Raises:
        OSError: when the system refuses; then the former bundle is where it was.
    """
    old = staged.with_name(staged.name + OLD_ENDING)
    try:
        _take_place(staged, target, old)
    except OSError:
        with contextlib.suppress(OSError):
            os.rename(old, target)
        raise
    if previous is not None and os.path.isdir(old):
        shutil.rmtree(previous, ignore_errors=True)
        with contextlib.suppress(OSError):  # the new bundle is in place; that is what counts
            os.rename(old, previous)
    shutil.rmtree(old, ignore_errors=True)


def _take_place(staged: Path, target: Path, old: Path) -> None:
    for _ in range(_SWAP_TRIES):  # another writer may put its bundle there in between
        try:
            os.rename(staged, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
        shutil.rmtree(old, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(target, old)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def unwritable(target: Path, error: OSError) -> BadInput:
    """Why a bundle could not be written, and what to do."""
    blocked = isinstance(error, FileExistsError | NotADirectoryError)
    found = "a file in its path" if blocked else error.strerror or type(error).__name__
    return BadInput(
        expected=f"room and permission to write {target}",
        found=found,
        remedy="free some space or give -o another folder; nothing was left behind",
    )
