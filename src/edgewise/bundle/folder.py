"""Bundles on disk: there whole or not at all, and never trusted when read."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgewise.bundle.manifest import MANIFEST, SCHEMA, Manifest, Part, Side
from edgewise.bundle.soundness import check_manifest
from edgewise.errors import BadInput
from edgewise.records import parse_json, read_record, write_record
from edgewise.tensors import TensorSpec

MAX_MANIFEST_BYTES = 4_000_000
_SWAP_TRIES = 100
_COPY_AGAIN = "copy the bundle again, or plan it anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle on disk whose manifest has been read and checked."""

    path: Path
    manifest: Manifest
    digest: str

    def read_part(self, name: str) -> bytes:
        """The bytes of one network, checked for size and digest.

        Raises:
            BadInput: when the file is missing or is not what the manifest lists.
        """
        part = self.manifest.part(name)
        raw = _read_file(self.path / part.path, sizes=range(part.bytes, part.bytes + 1))
        if hashlib.sha256(raw).hexdigest() != part.sha256:
            raise BadInput(
                expected=f"{part.path} as the manifest of {self.path} lists it",
                found=f"another file of {len(raw)} bytes",
                remedy=_COPY_AGAIN,
            )
        return raw


def open_bundle(path: Path | str) -> Bundle:
    """Read and check a bundle's manifest; parts are checked when they are read.

    Raises:
        BadInput: when the folder is no bundle, or its manifest is not sound.
    """
    folder = Path(path)
    if not os.path.isdir(folder):
        raise BadInput(
            expected=f"a bundle folder at {folder}",
            found="a file" if os.path.exists(folder) else "nothing",
            remedy="make one with: edgewise plan MODEL -o BUNDLE",
        )
    raw = _read_file(folder / MANIFEST, sizes=range(1, MAX_MANIFEST_BYTES + 1))
    return Bundle(
        path=folder,
        manifest=read_manifest(raw, where=str(folder / MANIFEST)),
        digest=hashlib.sha256(raw).hexdigest(),
    )


def read_manifest(raw: bytes, *, where: str = MANIFEST) -> Manifest:
    """Parse and check the bytes of a manifest.

    Raises:
        BadInput: on another schema, an unknown field, or parts and routes that do not fit.
    """
    data = parse_json(raw, where=where, max_bytes=MAX_MANIFEST_BYTES)
    schema = data.get("schema") if isinstance(data, dict) else None
    if type(schema) is not int or schema != SCHEMA:
        raise BadInput(
            expected=f"schema {SCHEMA} in {where}",
            found=repr(schema)[:40],
            remedy="use the edgewise that wrote the bundle, or plan it anew",
        )
    manifest = read_record(Manifest, data, where=where)
    check_manifest(manifest, where)
    return manifest


def write_bundle(folder: Path | str, manifest: Manifest, parts: Mapping[str, bytes]) -> Bundle:
    """Write a bundle so that it is there whole or not at all.

    All is checked and written beside the folder first, then two renames swap it in. A kill
    between the two leaves the former bundle whole in ``.NAME-…-old`` beside it.

    Args:
        folder: replaced when it holds a bundle and nothing else, refused when it holds more.
        manifest: what to write; its parts must match ``parts``.
        parts: the bytes of each part by its name.

    Raises:
        BadInput: when manifest and parts do not fit, the folder holds anything else or cannot
            be written, or the disk is full.
    """
    target = Path(os.path.realpath(folder))
    raw = _manifest_bytes(manifest, str(target))
    checked = read_manifest(raw, where=str(target))  # before it replaces one that can be read
    _check_parts(manifest, parts)
    files = {part.path: parts[part.name] for part in manifest.parts}
    try:
        _check_replaceable(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from None
    try:
        staged.chmod(0o755)
        for name, content in {**files, MANIFEST: raw}.items():
            (staged / name).write_bytes(content)
        _swap(staged, target)
    except OSError as error:
        raise _unwritable(target, error) from None
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
        path=f"{name}.onnx",
        sha256=hashlib.sha256(raw).hexdigest(),
        bytes=len(raw),
        side=side,
        inputs=inputs,
        outputs=outputs,
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


def _check_replaceable(target: Path) -> None:
    try:
        entries = sorted(os.listdir(target))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        entries = [target.name] if os.path.lexists(target) else []
    foreign = [name for name in entries if name != MANIFEST and not name.endswith(".onnx")]
    if foreign or (entries and MANIFEST not in entries):
        raise BadInput(
            expected=f"a bundle or nothing at {target}",
            found=f"something else: {(foreign or entries)[0]!r}",
            remedy="give -o another folder",
        )


def _swap(staged: Path, target: Path) -> None:
    old = staged.with_name(staged.name + "-old")
    try:
        _take_place(staged, target, old)
    except OSError:
        with contextlib.suppress(OSError):
            os.rename(old, target)
        raise
    finally:
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


def _unwritable(target: Path, error: OSError) -> BadInput:
    blocked = isinstance(error, FileExistsError | NotADirectoryError)
    found = "a file in its path" if blocked else error.strerror or type(error).__name__
    return BadInput(
        expected=f"room and permission to write {target}",
        found=found,
        remedy="free some space or give -o another folder; nothing was left behind",
    )


def _read_file(path: Path, *, sizes: range) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        link = error.errno == errno.ELOOP
        raise _irregular(path, "a symbolic link" if link else str(error.strerror)) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _irregular(path, "a folder, a pipe or a device")
        if status.st_size not in sizes:
            raise _other_size(path, sizes, status.st_size)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    except OSError as error:
        raise _irregular(path, str(error.strerror)) from None
    finally:
        os.close(descriptor)


def _irregular(path: Path, found: str) -> BadInput:
    return BadInput(
        expected=f"a regular file {path.name} in {path.parent}", found=found, remedy=_COPY_AGAIN
    )


def _other_size(path: Path, sizes: range, size: int) -> BadInput:
    wanted = str(sizes.start) if len(sizes) == 1 else f"{sizes.start} to {sizes.stop - 1}"
    return BadInput(
        expected=f"{wanted} bytes in {path}", found=f"{size} bytes", remedy=_COPY_AGAIN
    )
