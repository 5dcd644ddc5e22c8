"""What is said of two sides that answer alike, otherwise, or otherwise than they used to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgewise.bundle import Manifest, Quality
from edgewise.errors import BadInput
from edgewise.running import ShadowOptions
from edgewise.running.shadowing.comparing import (
    Compared,
    PairReport,
    Tally,
    compared,
    deciding_output,
    relative_difference,
)
from session_bundles import session_bundle

pytestmark = pytest.mark.engine
STATED = Quality(metric="agreement", value=0.97, low=0.95, high=0.98, n=500)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("comparing") / "bundle"
    return session_bundle(folder, "cloud-raw", "local").manifest


def stating(manifest: Manifest, **qualities: Quality | None) -> Manifest:
    return replace(
        manifest,
        routes=tuple(
            replace(route, quality=qualities.get(route.name.replace("-", "_")))
            for route in manifest.routes
        ),
    )


def one(*, differs: bool | None = False, difference: float = 0.0, level: float = 0.9) -> Compared:
    return Compared(
        device="local", cloud="cloud-raw", differs=differs, difference=difference, level=level
    )


def pair_of(tally: Tally) -> PairReport:
    (pair,) = tally.pairs()
    return pair


def drawn(share: float, count: int, seed: int = 0) -> list[bool]:
    return (np.random.default_rng(seed).random(count) < share).tolist()


def test_more_disagreement_than_the_bundle_states_is_drift(manifest: Manifest) -> None:
    tally = Tally(stating(manifest, local=STATED, cloud_raw=STATED), window=100)
    for differs in drawn(0.3, 100):
        tally.add(one(differs=differs))
    pair = pair_of(tally)
    assert pair.expected is not None
    assert (pair.expected.low, pair.expected.high) == (0.0, pytest.approx(0.1))
    assert pair.stated
    assert pair.drifted


def test_what_the_stated_agreement_allows_is_no_drift(manifest: Manifest) -> None:
    tally = Tally(stating(manifest, local=STATED, cloud_raw=STATED), window=100)
    for differs in drawn(0.08, 400):
        tally.add(one(differs=differs))
    assert not pair_of(tally).drifted


def test_two_disagreements_in_the_beginning_prove_nothing(manifest: Manifest) -> None:
    tally = Tally(stating(manifest, local=STATED, cloud_raw=STATED), window=100)
    tally.add(one(differs=True))
    tally.add(one(differs=False))
    assert not pair_of(tally).drifted


def test_without_a_stated_agreement_the_first_requests_are_what_is_usual(
    manifest: Manifest,
) -> None:
    tally = Tally(stating(manifest, local=STATED), window=50)  # nothing is stated of the cloud
    for differs in drawn(0.05, 49):
        tally.add(one(differs=differs))
    assert pair_of(tally).expected is None
    for differs in drawn(0.05, 51, seed=1):
        tally.add(one(differs=differs))
    pair = pair_of(tally)
    assert pair.expected is not None
    assert not pair.stated
    assert not pair.drifted
    for differs in drawn(0.6, 50, seed=2):
        tally.add(one(differs=differs))
    assert pair_of(tally).drifted


def test_a_constant_share_is_seldom_called_drift(manifest: Manifest) -> None:
    cried = 0
    for seed in range(200):
        tally = Tally(stating(manifest, local=STATED), window=50)
        for differs in drawn(0.1, 100, seed):
            tally.add(one(differs=differs))
        cried += pair_of(tally).drifted
    assert cried <= 6


def test_outputs_that_become_unsure_are_drift(manifest: Manifest) -> None:
    rng = np.random.default_rng(0)
    tally = Tally(manifest, window=50)
    for level in rng.normal(0.9, 0.05, 100):
        tally.add(one(level=level))
    assert not tally.trend().drifted
    for level in rng.normal(0.7, 0.05, 50):
        tally.add(one(level=level))
    trend = tally.trend()
    assert trend.first is not None
    assert trend.recent is not None
    assert trend.first.mid > 0.85 > 0.75 > trend.recent.mid
    assert trend.drifted


def test_outputs_that_were_constant_may_differ_in_the_last_digits(manifest: Manifest) -> None:
    tally = Tally(manifest, window=30)
    for level in [0.5] * 30 + [0.5 + 1e-9] * 30:
        tally.add(one(level=level))
    assert not tally.trend().drifted


def test_outputs_that_are_no_classes_are_compared_by_their_size(manifest: Manifest) -> None:
    plain = stating(manifest)
    assert deciding_output(plain) is None
    tally = Tally(plain, window=30)
    for difference in [0.01, 0.011] * 15 + [0.2, 0.21] * 15:
        tally.add(one(differs=None, difference=difference))
    pair = pair_of(tally)
    assert pair.disagreement == pytest.approx(0.10775)
    assert pair.largest_difference == 0.21
    assert pair.drifted
    assert tally.trend().name == "mean norm of the output"


def test_labels_make_classes(manifest: Manifest) -> None:
    labelled = replace(stating(manifest), labels=("a", "b", "c", "d", "e"))
    assert deciding_output(labelled) == "logits"
    assert deciding_output(replace(labelled, labels=("a", "b"))) is None


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([0.0], [0.0], 0.0),
        ([0.0, 4.0], [0.0, 3.0], 0.25),
        ([1.0], [-1.0], 2.0),
        ([np.nan], [1.0], 2.0),
        ([1.0], [np.inf], 2.0),
        ([], [], 0.0),
    ],
)
def test_relative_difference(a: list[float], b: list[float], expected: float) -> None:
    assert relative_difference(np.array(a), np.array(b)) == expected


def test_probabilities_are_taken_as_they_are_and_logits_are_not() -> None:
    logits = {"y": np.array([[0.0, np.log(3.0)]])}
    shares = {"y": np.array([[0.25, 0.75]])}
    for outputs in (logits, shares):
        both = compared(outputs, outputs, pair=("local", "cloud"), name="y")
        assert both.level == pytest.approx(0.75)


def test_an_embedding_has_a_norm() -> None:
    outputs = {"y": np.array([[3.0, 4.0]])}
    both = compared(outputs, outputs, pair=("local", "cloud"), name=None)
    assert (both.level, both.differs) == (5.0, None)


@pytest.mark.parametrize("window", [29, 100_001])
def test_a_window_that_is_none_is_refused(window: int) -> None:
    with pytest.raises(BadInput, match=r"^expected a window of 30 to 100000 comparisons, found"):
        ShadowOptions(share=0.5, rng=np.random.default_rng(0), window=window)


def test_a_fallback_that_is_the_full_network_agrees_with_it_wholly(manifest: Manifest) -> None:
    tally = Tally(stating(manifest, cloud_raw=STATED), window=30)
    tally.add(replace(one(differs=True), device="fallback"))
    expected = pair_of(tally).expected
    assert expected is not None
    assert (expected.mid, expected.high) == (pytest.approx(0.03), pytest.approx(0.05))
