"""The folder beside a bundle in which its next version is put together, whatever happens.

It is called ``.NAME.fetch``. Files that are whole have their own names; one that is on its way is
called after its SHA-256, so that whoever comes later can go on with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgewise.bundle import (
    MANIFEST,
    OLD_ENDING,
    Bundle,
    ListedFile,
    check_replaceable,
    install,
    unwritable,
)
from edgewise.errors import BadInput

_PART = ".part"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """The next version of a bundle, as far as it has come.

    Args:
        target: where the bundle will be.
        path: where it is put together.
    """

    target: Path
    path: Path

    @property
    def previous(self) -> Path:
        """Where the former bundle goes."""
        return previous_of(self.target)

    def part(self, file: ListedFile) -> Path:
        """The file as long as it is not whole."""
        return self.path / f"{file.sha256}{_PART}"

    def whole(self, file: ListedFile) -> Path:
        """The file when it is."""
        return self.path / file.path

    def has(self, file: ListedFile) -> bool:
        """Whether the file is whole."""
        return _is_sound(self.whole(file), file)

    def finish(self, file: ListedFile) -> bool:
        """Make a part that is long enough whole; one with other content is deleted instead."""
        part = self.part(file)
        if not _is_sound(part, file):
            part.unlink(missing_ok=True)
            return False
        _sync(part)
        os.replace(part, self.whole(file))
        return True

    def take(self, file: ListedFile, former: Bundle) -> bool:
        """Copy a file of the same content out of the former bundle, if it has one."""
        for other in former.manifest.device_files:
            if other.sha256 == file.sha256:
                with contextlib.suppress(BadInput), former.open_file(other) as source:
                    with self.part(file).open("wb") as copy:
                        shutil.copyfileobj(source, copy)
                    return self.finish(file)
        return False

    def keep_only(self, files: Collection[ListedFile]) -> None:
        """Delete what belongs to none of these files."""
        wanted = {self.part(file).name for file in files} | {file.path for file in files}
        for entry in os.listdir(self.path):
            if entry not in wanted:
                (self.path / entry).unlink()

    def part_bytes(self, file: ListedFile) -> int:
        """How much of the file is there; what is too long to be it is deleted."""
        part = self.part(file)
        try:
            size = part.stat().st_size
        except FileNotFoundError:
            return 0
        if size > file.bytes:
            part.unlink()
            return 0
        return size

    def held_bytes(self, files: Iterable[ListedFile]) -> int:
        """How much of all of them is there."""
        return sum(
            file.bytes if self.whole(file).exists() else self.part_bytes(file) for file in files
        )

    def add_manifest(self, raw: bytes) -> None:
        """The last file, which makes the folder a bundle."""
        (self.path / MANIFEST).write_bytes(raw)
        _sync(self.path / MANIFEST)

    def install(self, *, keep_former: bool) -> None:
        """Put the finished bundle in its place, and the former one aside."""
        install(self.path, self.target, previous=self.previous if keep_former else None)

    def discard(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def staging(folder: Path | str) -> Iterator[Staging]:
    """The staging folder of a bundle, for one process at a time; what is in it stays.

    Args:
        folder: where the bundle is, or will be.

    Raises:
        BadInput: when the folder holds anything else, cannot be written, or another process is
            at work there.
    """
    target = Path(os.path.realpath(folder))
    path = target.parent / f".{target.name}.fetch"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path, target):
            _mend(target, path)
            check_replaceable(target)
            yield Staging(target=target, path=path)
    except OSError as error:
        raise _no_room(target, error) from None


def previous_of(target: Path) -> Path:
    """Where the former bundle of a folder is kept.

    >>> previous_of(Path("models/cats")).as_posix()
    'models/cats.previous'
    """
    return target.with_name(f"{target.name}.previous")


def check_free(parent: Path, wanted_bytes: int) -> None:
    """Refuse what will not fit before any of it is sent.

    Raises:
        BadInput: when the disk has less room.
    """
    free = shutil.disk_usage(parent).free
    if free < wanted_bytes:
        raise BadInput(
            expected=f"{wanted_bytes} bytes free in {parent}",
            found=f"{free} bytes",
            remedy="free some space or give -o another folder",
        )


def _mend(target: Path, path: Path) -> None:
    """End a swap that was killed in the middle."""
    old = path.with_name(path.name + OLD_ENDING)
    if not old.is_dir():
        return
    if not os.path.lexists(target):
        os.rename(old, target)
        return
    shutil.rmtree(previous_of(target), ignore_errors=True)
    os.rename(old, previous_of(target))


@contextlib.contextmanager
def _locked(path: Path, target: Path) -> Iterator[None]:
    path.mkdir(mode=0o755, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if not _is_alone(descriptor, path):
            raise BadInput(
                expected=f"one download to {target} at a time",
                found="another one under way",
                remedy="wait until it is done, or give -o another folder",
            )
        yield
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.rmdir(path)  # unless something is in it, or it is the bundle now


def _is_alone(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with the process
        held, there = os.fstat(descriptor), os.stat(path)
    except (BlockingIOError, FileNotFoundError):  # the second: done, and moved into place
        return False
    return held.st_ino == there.st_ino


def _is_sound(path: Path, file: ListedFile) -> bool:
    try:
        if path.is_symlink() or path.stat().st_size != file.bytes:
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _no_room(target: Path, error: OSError) -> BadInput:
    cause = unwritable(target, error)
    return BadInput(
        expected=cause.expected,
        found=cause.found,
        remedy="free some space or give -o another folder; run it again to go on",
    )
