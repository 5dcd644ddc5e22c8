"""Which of several bundles answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from edgewise.bundle import open_bundle, read_manifest
from edgewise.errors import BadInput
from edgewise.serving.repository.canary import Canary
from edgewise.serving.repository.offers import Offer, Snapshot
from edgewise.serving.repository.parts import ServedBundle
from edgewise.serving.repository.shelf import Shelf
from edgewise.wire import Header

MANIFEST = Path(__file__).resolve().parents[4] / "vectors" / "bundle" / "complete" / "bundle.json"
SHELF = Shelf(open_bundle(MANIFEST.parent))


def _bundle(name: str, version: int, *, digest: str = "") -> ServedBundle:
    manifest = replace(read_manifest(MANIFEST.read_bytes()), name=name, version=version)
    found = digest or f"{name}{version}".ljust(64, "0")
    return ServedBundle(
        manifest=manifest, digest=found, routes=(), max_body_bytes=version, shelf=SHELF
    )


CATS = [_bundle("cats", version) for version in (1, 2, 3)]
DOGS = _bundle("dogs", 7)
OLD = _bundle("cats", 1, digest="old".ljust(64, "0"))
SNAPSHOT = Snapshot(current=(CATS[0], DOGS, CATS[2], CATS[1]), previous=(OLD,))
TRIAL = replace(SNAPSHOT, canaries=(Canary(name="cats", version=3, share=0.5),))


def _header(*, id: str = "", **parameters: str) -> Header:
    return Header(tensors=(), id=id, parameters=parameters, model="", version="")


def _refused(snapshot: Snapshot, name: str, version: str | None = None) -> tuple[int, str]:
    with pytest.raises(HTTPException) as caught:
        snapshot.offer(name, version)
    return caught.value.status_code, caught.value.detail


def test_the_highest_version_answers_whoever_names_none() -> None:
    offer = SNAPSHOT.offer("cats", None)
    assert offer.default is CATS[2]
    assert offer.choose(_header()) is CATS[2]
    assert offer.max_body_bytes == 3
    assert SNAPSHOT.offer("dogs", None).default is DOGS


def test_a_version_that_is_named_answers() -> None:
    assert SNAPSHOT.offer("cats", "2").choose(_header()) is CATS[1]
    assert SNAPSHOT.offer("cats", "1").choose(_header()) is CATS[0]


def test_a_bundle_that_is_named_answers_whatever_its_version() -> None:
    for wanted in (*CATS, OLD):
        assert SNAPSHOT.offer("cats", None).choose(_header(bundle=wanted.digest)) is wanted
    assert SNAPSHOT.offer("cats", "1").choose(_header(bundle=OLD.digest)) is OLD


@pytest.mark.parametrize("asked", [DOGS.digest, "f" * 64, "", "cats"])
def test_a_bundle_that_is_not_there_is_refused_with_those_that_are(asked: str) -> None:
    with pytest.raises(HTTPException) as caught:
        SNAPSHOT.offer("cats", None).choose(_header(bundle=asked))
    assert caught.value.status_code == 409
    assert caught.value.detail == (
        "expected a request for the bundle cats30000000 or cats20000000 or cats10000000 or"
        f" old000000000, which this server serves, found one for the bundle {asked[:12]!r};"
        " connect to the server of your bundle, or download this one"
    )


def test_a_bundle_of_another_version_than_the_path_names_is_refused() -> None:
    with pytest.raises(HTTPException, match="found one for the bundle 'cats30000000'"):
        SNAPSHOT.offer("cats", "2").choose(_header(bundle=CATS[2].digest))


def test_names_and_versions_that_are_not_there_are_refused_with_those_that_are() -> None:
    assert _refused(SNAPSHOT, "cows") == (
        404,
        "expected one of the models 'cats', 'dogs', which this server serves, found another name;"
        " ask for /v2/models/cats, or another of them",
    )
    assert _refused(SNAPSHOT, "cats", "4") == (
        404,
        "expected version 1 or 2 or 3 of the model 'cats', found another version; ask for version"
        " 1 or 2 or 3, or for none",
    )
    assert _refused(SNAPSHOT, "dogs", "07")[0] == 404
    assert _refused(Snapshot(current=(DOGS,)), "cats") == (
        404,
        "expected the model 'dogs', which this server serves, found another name;"
        " ask for /v2/models/dogs",
    )


def test_what_was_replaced_answers_by_its_version_when_no_other_has_it() -> None:
    snapshot = Snapshot(current=(CATS[1],), previous=(CATS[2], OLD))
    assert snapshot.offer("cats", None).default is CATS[1]
    assert snapshot.offer("cats", "3").default is CATS[2]
    assert snapshot.versions("cats") == ("1", "2", "3")


def _trial(client: str = "", *, id: str = "") -> ServedBundle:
    return TRIAL.offer("cats", None, client=client).choose(_header(id=id))


def test_on_trial_a_share_goes_to_the_version_and_the_rest_to_the_highest_other() -> None:
    assert TRIAL.offer("cats", None).default is CATS[1]
    assert {_trial(f"#{i}").version for i in range(50)} == {"2", "3"}
    assert {_trial("shop").version for _ in range(50)} == {_trial("shop").version}
    assert {_trial(f"#{i}", id="seven").version for i in range(50)} == {_trial(id="seven").version}


def test_on_trial_whoever_names_a_version_or_a_bundle_gets_it() -> None:
    for i in range(50):
        offer = TRIAL.offer("cats", None, client=str(i))
        assert offer.choose(_header(bundle=CATS[1].digest)) is CATS[1]
        assert TRIAL.offer("cats", "3", client=str(i)).choose(_header()) is CATS[2]
        assert TRIAL.offer("dogs", None, client=str(i)).choose(_header()) is DOGS


@pytest.mark.parametrize(
    ("current", "canaries", "found"),
    [
        (CATS, [Canary(name="cats", version=4, share=0.1)], "versions: 1, 2, 3"),
        (CATS, [Canary(name="cows", version=1, share=0.1)], "versions: none"),
        (CATS[:1], [Canary(name="cats", version=1, share=0.1)], "versions: 1"),
        (CATS, [Canary(name="cats", version=v, share=0.1) for v in (2, 3)], "2 shares"),
    ],
)
def test_a_canary_needs_a_version_and_one_to_compare_it_with(
    current: list[ServedBundle], canaries: list[Canary], found: str
) -> None:
    with pytest.raises(BadInput) as caught:
        Snapshot(current=tuple(current), canaries=tuple(canaries))
    first = canaries[0]
    assert str(caught.value) == (
        f"expected one share for version {first.version} of the model {first.name!r}, and another"
        f" version to compare it with, found {found};"
        " serve both bundles: edgewise serve NEW OLD --canary NAME:VERSION=5%"
    )


def test_an_offer_finds_a_bundle_by_its_digest() -> None:
    offer = Offer(default=CATS[0], bundles=(CATS[0], OLD))
    assert offer.named(OLD.digest) is OLD
    assert offer.named(None) is None
