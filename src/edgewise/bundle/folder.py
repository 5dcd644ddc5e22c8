"""Bundles on disk: there whole or not at all, and never trusted when read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgewise.bundle.manifest import MANIFEST, SCHEMA, Manifest, Part, Side
from edgewise.bundle.soundness import check_manifest
from edgewise.errors import BadInput
from edgewise.records import parse_json, read_record, write_record
from edgewise.tensors import TensorSpec


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
        raw = _read_file(self.path / part.path, max_bytes=part.bytes)
        if len(raw) != part.bytes or hashlib.sha256(raw).hexdigest() != part.sha256:
            raise BadInput(
                expected=f"{part.path} as the manifest of {self.path} lists it",
                found=f"another file of {len(raw)} bytes",
                remedy="copy the bundle again, or plan it anew",
            )
        return raw


def open_bundle(path: Path | str) -> Bundle:
    """Read and check a bundle's manifest; parts are checked when they are read.

    Raises:
        BadInput: when the folder is no bundle, or its manifest is not sound.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise BadInput(
            expected=f"a bundle folder at {folder}",
            found="a file" if folder.exists() else "nothing",
            remedy="make one with: edgewise plan MODEL -o BUNDLE",
        )
    raw = _read_file(folder / MANIFEST, max_bytes=16_000_000)
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
    data = parse_json(raw, where=where)
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

    Args:
        folder: replaced when it already holds a bundle, refused when it holds anything else.
        manifest: what to write; its parts must match ``parts``.
        parts: the bytes of each part by its name.

    Raises:
        BadInput: when the folder cannot be written, or the disk is full.
    """
    target = Path(folder)
    check_manifest(manifest, str(target))
    if target.exists() and not (target / MANIFEST).is_file():
        raise BadInput(
            expected=f"a bundle or nothing at {target}",
            found="something else",
            remedy="give -o another folder",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from None
    try:
        _write_files(staged, manifest, parts)
        _swap(staged, target)
    except OSError as error:
        raise _unwritable(target, error) from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return open_bundle(target)


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


def _write_files(staged: Path, manifest: Manifest, parts: Mapping[str, bytes]) -> None:
    staged.chmod(0o755)
    for part in manifest.parts:
        (staged / part.path).write_bytes(parts[part.name])
    text = json.dumps(write_record(manifest), indent=1, ensure_ascii=False, allow_nan=False)
    (staged / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _swap(staged: Path, target: Path) -> None:
    old = staged.with_name(staged.name + "-old")
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(staged, target)
    except OSError:
        if old.exists():
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _unwritable(target: Path, error: OSError) -> BadInput:
    return BadInput(
        expected=f"room and permission to write {target}",
        found=error.strerror or type(error).__name__,
        remedy="free some space or give -o another folder; nothing was left behind",
    )


def _read_file(path: Path, *, max_bytes: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return file.read(max_bytes) if size <= max_bytes else _refuse_size(path, size)
    except OSError as error:
        raise BadInput(
            expected=f"a regular file {path.name} in {path.parent}",
            found=error.strerror or type(error).__name__,
            remedy="copy the bundle again, or plan it anew",
        ) from None


def _refuse_size(path: Path, size: int) -> bytes:
    raise BadInput(
        expected=f"{path.name} of the listed size",
        found=f"{size} bytes",
        remedy="copy the bundle again, or plan it anew",
    )
