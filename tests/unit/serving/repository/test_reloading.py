"""Bundles are read again one reading at a time, and none that was asked for is forgotten."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from edgewise.bundle import Bundle
from edgewise.serving.access.access import Access
from edgewise.serving.layers import build_layers
from edgewise.serving.repository.parts import ServedBundle, load_bundle
from edgewise.serving.repository.reloading import Reloading
from edgewise.serving.repository.repository import Repository
from unit.serving import tiny_bundle as tiny

pytestmark = pytest.mark.engine
_load = partial(load_bundle, threads=1)


class Gate:
    """Loads bundles for real, but not before the gate is open."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.is_open = threading.Event()

    def load(self, bundle: Bundle) -> ServedBundle:
        self.begun.append(bundle.manifest.version)
        assert self.is_open.wait(60)
        return _load(bundle)


def _reloading(repository: Repository) -> Reloading:
    return Reloading(repository, build_layers(repository, access=Access()), read_keys=None)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_what_is_asked_for_during_a_reading_is_read_after_it(tmp_path: Path) -> None:
    gate = Gate()
    gate.is_open.set()
    bundle = tiny.write_tiny_bundle(tmp_path / "bundle")
    repository = Repository([bundle], load=gate.load)
    reloading = _reloading(repository)

    async def exchange() -> None:
        gate.is_open.clear()
        tiny.write_tiny_bundle(bundle.path, version=2)
        reloading.ask()
        await _until(lambda: gate.begun == [1, 2])
        assert repository.snapshot.current[0].version == "1"  # it answers while 2 is loaded
        tiny.write_tiny_bundle(bundle.path, version=3)
        reloading.ask()
        reloading.ask()
        gate.is_open.set()
        await _until(lambda: repository.snapshot.current[0].version == "3")

    asyncio.run(exchange())
    assert gate.begun == [1, 2, 3]


def test_whatever_goes_wrong_is_said_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = tiny.write_tiny_bundle(tmp_path / "bundle")
    loads = [_load]

    def load(opened: Bundle) -> ServedBundle:
        if not loads:
            raise MemoryError
        return loads.pop()(opened)

    repository = Repository([bundle], load=load)
    before = repository.snapshot
    tiny.write_tiny_bundle(bundle.path, version=2)

    async def exchange() -> None:
        _reloading(repository).ask()
        await _until(lambda: bool(caplog.records))

    asyncio.run(exchange())
    (record,) = caplog.records
    assert record.getMessage() == "the bundles stay as they were"
    assert record.exc_info is not None
    assert record.exc_info[0] is MemoryError
    assert repository.snapshot is before
