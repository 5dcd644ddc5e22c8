"""Bundles are exchanged as a whole, or not at all."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path

import pytest
from starlette.requests import Request

from edgewise.bundle import Bundle
from edgewise.errors import BadInput
from edgewise.serving.repository.canary import Canary
from edgewise.serving.repository.parts import ServedBundle, load_bundle
from edgewise.serving.repository.repository import Repository, open_bundles
from unit.serving import tiny_bundle as tiny

pytestmark = pytest.mark.engine
_load = partial(load_bundle, threads=1)


@pytest.fixture
def first(tmp_path: Path) -> Bundle:
    return tiny.write_tiny_bundle(tmp_path / "first")


def _digests(bundles: tuple[ServedBundle, ...]) -> list[str]:
    return [bundle.digest for bundle in bundles]


def test_bundles_of_one_name_stand_side_by_side(first: Bundle, tmp_path: Path) -> None:
    second = tiny.write_tiny_bundle(tmp_path / "second", seed=1, version=2)
    repository = Repository(open_bundles([first.path, second.path]), load=_load)
    assert _digests(repository.snapshot.current) == [first.digest, second.digest]
    assert repository.snapshot.versions("tiny") == ("1", "2")


def test_two_bundles_of_one_name_and_version_are_refused(first: Bundle, tmp_path: Path) -> None:
    twin = tiny.write_tiny_bundle(tmp_path / "twin", seed=1)
    with pytest.raises(BadInput) as caught:
        open_bundles([first.path, twin.path])
    assert str(caught.value) == (
        "expected bundles that differ in name or version, found version 1 of 'tiny' in"
        f" {first.path} and {twin.path}; serve one of them, or plan one anew with:"
        " edgewise plan --version N"
    )
    with pytest.raises(BadInput, match="expected bundles that differ"):
        Repository([first, first], load=_load)


def test_no_bundle_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        open_bundles([])
    assert str(caught.value) == (
        "expected at least one bundle to serve, found none; make one with: edgewise plan MODEL"
        " -o BUNDLE"
    )


def test_fewer_than_no_previous_bundles_are_refused(first: Bundle) -> None:
    with pytest.raises(BadInput, match="expected a number of replaced bundles to keep, 0 or mo"):
        Repository([first], load=_load, keep_previous=-1)


def test_what_did_not_change_is_not_loaded_again(first: Bundle) -> None:
    repository = Repository([first], load=_load)
    (before,) = repository.snapshot.current
    exchange = repository.reload()
    assert (exchange.loaded, exchange.kept) == ((), ())
    assert repository.snapshot.current[0] is before


def test_what_was_replaced_is_kept_within_bounds(first: Bundle) -> None:
    repository = Repository([first], load=_load, keep_previous=2)
    digests = [first.digest]
    for version in (2, 3, 4):
        written = tiny.write_tiny_bundle(first.path, seed=version, version=version)
        digests.insert(0, written.digest)
        exchange = repository.reload()
        assert _digests(exchange.loaded) == digests[:1]
        assert _digests(exchange.kept) == digests[1:3]
    assert repository.snapshot.previous == exchange.kept
    assert repository.snapshot.offer("tiny", None).default.version == "4"


def test_without_any_kept_the_old_one_is_gone(first: Bundle) -> None:
    repository = Repository([first], load=_load, keep_previous=0)
    tiny.write_tiny_bundle(first.path, version=2)
    assert repository.reload().kept == ()
    assert repository.snapshot.offer("tiny", None).named(first.digest) is None


def test_the_old_bundle_comes_back_without_loading(first: Bundle, tmp_path: Path) -> None:
    shutil.copytree(first.path, tmp_path / "copy")
    repository = Repository([first], load=_load)
    (before,) = repository.snapshot.current
    tiny.write_tiny_bundle(first.path, version=2)
    repository.reload()
    shutil.rmtree(first.path)
    shutil.copytree(tmp_path / "copy", first.path)
    exchange = repository.reload()
    assert exchange.loaded == (before,)
    assert repository.snapshot.current[0] is before
    assert [bundle.version for bundle in exchange.kept] == ["2"]


def test_files_are_read_where_a_bundle_has_moved_to(first: Bundle, tmp_path: Path) -> None:
    second = tiny.write_tiny_bundle(tmp_path / "second", seed=1, version=2)
    repository = Repository([first, second], load=_load)
    shutil.rmtree(first.path)
    second.path.rename(first.path)  # the newer one becomes the older one
    tiny.write_tiny_bundle(second.path, seed=2, version=3)
    exchange = repository.reload()
    assert [bundle.version for bundle in exchange.loaded] == ["3"]
    (moved,) = (bundle for bundle in repository.snapshot.current if bundle.version == "2")
    assert moved.digest == second.digest
    assert moved.shelf.path == first.path
    scope = {
        "type": "http",
        "method": "HEAD",
        "headers": [],
        "path_params": {"file": second.manifest.device_files[0].path},
    }
    assert asyncio.run(moved.shelf.file(Request(scope))).status_code == 200


def test_a_bundle_that_cannot_be_served_changes_nothing(first: Bundle, tmp_path: Path) -> None:
    other = tiny.write_tiny_bundle(tmp_path / "other", name="other")
    repository = Repository([first, other], load=_load)
    before = repository.snapshot
    tiny.write_tiny_bundle(first.path, version=2)
    (other.path / "full.onnx").write_bytes(b"garbage")
    manifest = other.path / "bundle.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")  # another digest, so it is loaded
    with pytest.raises(BadInput, match=r"full\.onnx"):
        repository.reload()
    assert repository.snapshot is before
    shutil.rmtree(other.path)
    with pytest.raises(BadInput, match="expected a bundle folder at"):
        repository.reload()
    assert repository.snapshot is before


def test_a_version_on_trial_must_stay(first: Bundle, tmp_path: Path) -> None:
    second = tiny.write_tiny_bundle(tmp_path / "second", version=2)
    canary = Canary(name="tiny", version=2, share=0.5)
    repository = Repository([first, second], load=_load, canaries=(canary,))
    before = repository.snapshot
    tiny.write_tiny_bundle(second.path, version=3)
    with pytest.raises(BadInput, match="expected one share for version 2 of the model 'tiny'"):
        repository.reload()
    assert repository.snapshot is before
