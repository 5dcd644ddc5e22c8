"""A share of the requests for a version on trial, the same ones each time."""

from __future__ import annotations

import pytest

from edgewise.errors import BadInput
from edgewise.serving import Canary, read_canary


@pytest.mark.parametrize(
    ("text", "share"), [("cats:2=5%", 0.05), ("cats:2=0.05", 0.05), ("cats:2=0.5%", 0.005)]
)
def test_a_canary_is_typed(text: str, share: float) -> None:
    canary = read_canary(text)
    assert (canary.name, canary.version) == ("cats", 2)
    assert canary.share == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cats", "'cats'"),
        ("cats=5%", "'cats=5%'"),
        ("cats:two=5%", "'cats:two=5%'"),
        ("a/b:2=5%", "'a/b:2=5%'"),
        ("cats:2=-1", "'cats:2=-1'"),
        ("cats:2=nan", "'cats:2=nan'"),
        ("cats:2=0", "the share 0"),
        ("cats:2=100%", "the share 1"),
        ("cats:2=5", "the share 5"),
    ],
)
def test_other_texts_are_refused(text: str, found: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_canary(text)
    assert str(caught.value) == (
        f"expected a model's version with a share of requests between 0 and 1, found {found};"
        " try NAME:2=5%; a version for all requests needs no share"
    )


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_it_takes_its_share(share: float) -> None:
    canary = Canary(name="cats", version=2, share=share)
    taken = sum(canary.takes(f"#{i}") for i in range(10_000))
    assert taken / 10_000 == pytest.approx(share, rel=0.2)


def test_who_is_taken_once_is_taken_always_and_by_a_larger_share_too() -> None:
    small, large = (Canary(name="cats", version=2, share=share) for share in (0.1, 0.2))
    for client in map(str, range(1000)):
        assert small.takes(client) == small.takes(client)
        assert large.takes(client) or not small.takes(client)


def test_another_version_tries_other_clients() -> None:
    second, third = (Canary(name="cats", version=version, share=0.5) for version in (2, 3))
    clients = [str(i) for i in range(100)]
    assert [second.takes(c) for c in clients] != [third.takes(c) for c in clients]
