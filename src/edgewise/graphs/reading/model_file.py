"""Open files that nobody vouches for: once, without waiting, and only what they seem to be."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgewise.errors import BadInput
from edgewise.graphs.model import MAX_FILE_BYTES

_NO_WAIT = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0)


def read_model_file(path: Path) -> bytes:
    """The bytes of the file that a user names.

    Raises:
        BadInput: when there is none, it is no regular file, or over 2 GB.
    """
    expected = f"an ONNX file at {path}"
    try:
        if path.is_dir():
            raise BadInput(expected=expected, found="a folder", remedy="name the file in it")
        descriptor = os.open(path, _NO_WAIT)
    except FileNotFoundError:
        raise BadInput(expected=expected, found="no such file", remedy="check the path") from None
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or "an unusable path"
        remedy = "check the path, and that you may read it"
        raise BadInput(expected=expected, found=found, remedy=remedy) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(
                expected=expected, found="a pipe or a device", remedy="name a regular file"
            )
        if status.st_size > MAX_FILE_BYTES:
            raise BadInput(
                expected=f"{expected} of at most {MAX_FILE_BYTES} bytes",
                found=f"{status.st_size} bytes",
                remedy="export it with external data",
            )
        return read_all(descriptor, status.st_size)
    finally:
        os.close(descriptor)


@contextmanager
def open_beside(location: str, folder: Path) -> Iterator[tuple[int, int]]:
    """Open a file inside a folder, by a relative path with forward slashes.

    No link is followed on the way, so the file that is checked is the file that is read.

    Yields:
        A descriptor, and the file's size in bytes.

    Raises:
        BadInput: when the file is no regular file inside the folder, or has other hard links:
            then somebody else's file would be read.
    """
    parts = location.split("/")
    if "\\" in location or "\0" in location or location.startswith("/") or ".." in parts:
        raise _outside(location)
    steps = [part for part in parts if part not in ("", ".")]
    if not steps or (os.name == "nt" and ":" in location):
        raise _outside(location)
    descriptor = _descend(steps, folder, location)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _missing(location, "a folder, a pipe or a device")
        if status.st_nlink > 1:
            raise BadInput(
                expected=f"external data in {location[:200]!r} that is one file of its own",
                found=f"a file with {status.st_nlink} hard links",
                remedy=f"copy the file: cp {steps[-1]} copy && mv copy {steps[-1]}",
            )
        yield descriptor, status.st_size
    finally:
        os.close(descriptor)


def read_all(descriptor: int, size_bytes: int) -> bytes:
    """As many bytes as the file had when it was opened; fewer when it has shrunk since."""
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(size_bytes)


def _descend(steps: list[str], folder: Path, location: str) -> int:
    """Open step by step, so that no step can be exchanged for a link in between."""
    try:
        if os.open not in os.supports_dir_fd:
            return _open_by_path(folder.joinpath(*steps), folder, location)
        at = os.open(folder, os.O_RDONLY | _FOLDER)
        for index, step in enumerate(steps):
            last = index == len(steps) - 1
            before = at
            try:
                at = os.open(step, _NO_WAIT | _NO_LINK | (0 if last else _FOLDER), dir_fd=before)
            finally:
                os.close(before)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK) or _is_link(folder, steps):
            raise _outside(location) from None
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        raise _missing(location, "no such file" if gone else str(error.strerror)) from None
    return at


def _open_by_path(path: Path, folder: Path, location: str) -> int:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _outside(location)
    return os.open(path, _NO_WAIT | _NO_LINK)


def _is_link(folder: Path, steps: list[str]) -> bool:
    return any(folder.joinpath(*steps[: n + 1]).is_symlink() for n in range(len(steps)))


def _outside(location: str) -> BadInput:
    return BadInput(
        expected="external data inside the model's folder, at a relative path without links",
        found=repr(location[:200]),
        remedy="copy the data file beside the model and export with a relative path",
    )


def _missing(location: str, found: str) -> BadInput:
    return BadInput(
        expected=f"the model's external data in {location[:200]!r}",
        found=found,
        remedy="copy the data file into the model's folder",
    )
