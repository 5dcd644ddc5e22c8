"""The one cache that edgewise keeps: wheels and built models of the zoo."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from edgewise.errors import BadInput

_PART = ".part-"
_ABANDONED_S = 86_400.0
"""Building one network takes minutes: what is a day older, a killed process left behind."""


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the zoo keeps its files: ``$EDGEWISE_CACHE``, else in the user's cache folder.

    Source of the second: the XDG base directory specification 0.8 (a relative
    ``XDG_CACHE_HOME`` is to be ignored).

    Args:
        environment: the environment variables.

    >>> cache_folder({"EDGEWISE_CACHE": "/big/disk"}).as_posix()
    '/big/disk'
    >>> cache_folder({"XDG_CACHE_HOME": "/var/mine"}).as_posix()
    '/var/mine/edgewise'
    """
    own = environment.get("EDGEWISE_CACHE")
    if own:
        return Path(own).expanduser()
    shared = Path(environment.get("XDG_CACHE_HOME", ""))
    base = shared if shared.is_absolute() else Path.home() / ".cache"
    return base / "edgewise"


def file_digest(path: Path) -> str:
    """The SHA-256 digest of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """An empty folder inside ``parent``, which is made when missing; gone afterwards.

    What is finished moves out of it with ``os.replace``, so the cache never holds half a file.
    Scratch folders that are a day older go too.

    Raises:
        BadInput: when the cache cannot be written.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=_PART) as folder:
            _remove_abandoned(Path(folder))
            yield Path(folder)
    except OSError as error:
        raise BadInput(
            expected=f"a cache folder that can be written at {parent}",
            found=error.strerror or "an error",
            remedy="make room, or set EDGEWISE_CACHE to another folder",
        ) from None


def keep(path: Path, write: Callable[[Path], None], *, cache: Path) -> None:
    """Put a file and its digest into the cache, both or neither visible as whole.

    Args:
        path: where; ``PATH.sha256`` stands beside it.
        write: writes the file to the path that it is given.
        cache: the cache folder, in which the file is written before it moves to ``path``.

    Raises:
        BadInput: when the cache cannot be written.
    """
    with scratch_folder(cache) as folder:
        new, digest = folder / "file", folder / "digest"
        write(new)
        digest.write_text(f"{file_digest(new)}  {path.name}\n", encoding="ascii")
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(new, path)
        os.replace(digest, _digest_path(path))


def is_kept(path: Path) -> bool:
    """Whether a file is in the cache and still has the digest it was kept with."""
    try:
        recorded = _digest_path(path).read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return False
    return len(recorded) > 0 and has_digest(path, recorded[0])


def has_digest(path: Path, sha256: str) -> bool:
    """Whether a file is there, can be read, and has this digest."""
    try:
        return file_digest(path) == sha256
    except OSError:
        return False


def _remove_abandoned(fresh: Path) -> None:
    """Compares with the folder just made: clocks of two machines may share one cache."""
    now_s = fresh.stat().st_mtime
    for other in fresh.parent.glob(f"{_PART}*"):
        with contextlib.suppress(OSError):  # another process may be doing the same
            if now_s - other.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(other, ignore_errors=True)


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
