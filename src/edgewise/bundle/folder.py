"""Bundles on disk, never trusted when read."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from edgewise.bundle.manifest import MANIFEST, SCHEMA, CodecTable, Manifest, Part, Probe
from edgewise.bundle.soundness import check_manifest
from edgewise.errors import BadInput
from edgewise.records import parse_json, read_record

MAX_MANIFEST_BYTES = 4_000_000
_COPY_AGAIN = "copy the bundle again, or plan it anew"

ListedFile = Part | CodecTable | Probe
"""A file that a manifest lists, with its size and digest."""


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
        return self.read_file(self.manifest.part(name))

    def read_file(self, file: ListedFile) -> bytes:
        """The bytes of a listed file, checked for size and digest.

        Raises:
            BadInput: when the file is missing or is not what the manifest lists.
        """
        raw = _read_file(self.path / file.path, sizes=_exactly(file.bytes))
        if hashlib.sha256(raw).hexdigest() != file.sha256:
            raise self._other_file(file.path, len(raw))
        return raw

    def open_file(self, file: ListedFile) -> BufferedReader:
        """A listed file, open for reading; its size has been checked, its digest has not.

        Raises:
            BadInput: when the file is missing or has another size.
        """
        return _open_regular(self.path / file.path, sizes=_exactly(file.bytes))

    def manifest_bytes(self) -> bytes:
        """The manifest as it was when the bundle was opened, to the byte.

        Raises:
            BadInput: when another one has taken its place.
        """
        raw = _read_file(self.path / MANIFEST, sizes=range(1, MAX_MANIFEST_BYTES + 1))
        if hashlib.sha256(raw).hexdigest() != self.digest:
            raise self._other_file(MANIFEST, len(raw))
        return raw

    def _other_file(self, name: str, size: int) -> BadInput:
        return BadInput(
            expected=f"{name} as the manifest of {self.path} lists it",
            found=f"another file of {size} bytes",
            remedy=_COPY_AGAIN,
        )


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


def _exactly(size: int) -> range:
    return range(size, size + 1)


def _read_file(path: Path, *, sizes: range) -> bytes:
    with _open_regular(path, sizes=sizes) as file:
        try:
            return file.read(os.fstat(file.fileno()).st_size)
        except OSError as error:
            raise _irregular(path, str(error.strerror)) from None


def _open_regular(path: Path, *, sizes: range) -> BufferedReader:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        link = error.errno == errno.ELOOP
        raise _irregular(path, "a symbolic link" if link else str(error.strerror)) from None
    try:
        _check_regular(path, os.fstat(descriptor), sizes)
    except BaseException:
        os.close(descriptor)
        raise
    return open(descriptor, "rb")


def _check_regular(path: Path, status: os.stat_result, sizes: range) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _irregular(path, "a folder, a pipe or a device")
    if status.st_size not in sizes:
        raise _other_size(path, sizes, status.st_size)


def _irregular(path: Path, found: str) -> BadInput:
    return BadInput(
        expected=f"a regular file {path.name} in {path.parent}", found=found, remedy=_COPY_AGAIN
    )


def _other_size(path: Path, sizes: range, size: int) -> BadInput:
    wanted = str(sizes.start) if len(sizes) == 1 else f"{sizes.start} to {sizes.stop - 1}"
    return BadInput(
        expected=f"{wanted} bytes in {path}", found=f"{size} bytes", remedy=_COPY_AGAIN
    )
