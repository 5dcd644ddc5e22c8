"""Intervals by resampling: do they hold what they promise?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from edgewise.errors import BadInput
from edgewise.examples import METRICS, Interval, Unit, estimate, metric, paired_difference
from edgewise.tensors import Array

MAE = metric("mae")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def inputs_of(name: str, n: int = 40) -> tuple[Array, Array, Array]:
    """Outputs of two networks and what both are compared with."""
    base = rng(1).normal(size=(n, 2))
    a, b = (base + noise * rng(2).normal(size=(n, 2)) for noise in (0.1, 0.6))
    kind = METRICS[name].target
    if kind == "reference":
        return a, b, base
    if kind == "classes":
        return a, b, base.argmax(axis=1)
    if kind == "groups":
        return a, b, np.arange(n) // 4
    return a[:, 0], b[:, 0], base[:, 0]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_an_interval_that_only_the_generator_decides(name: str) -> None:
    a, b, target = inputs_of(name)
    one = metric(name)
    first = paired_difference(one, a, b, target, rng=rng(5), resamples=300)
    assert first == paired_difference(one, a, b, target, rng=rng(5), resamples=300)
    assert first.mid == pytest.approx(one(a, target) - one(b, target))
    assert first.low <= first.mid <= first.high
    assert first.n == len(a)
    swapped = paired_difference(one, b, a, target, rng=rng(5), resamples=300)
    assert (swapped.low, swapped.high) == pytest.approx((-first.high, -first.low))
    alone = estimate(one, a, target, rng=rng(5), resamples=300)
    assert alone.low <= alone.mid == one(a, target) <= alone.high


def test_another_generator_gives_another_interval() -> None:
    a, b, target = inputs_of("mae")
    assert paired_difference(MAE, a, b, target, rng=rng(0)) != paired_difference(
        MAE, a, b, target, rng=rng(1)
    )


def test_the_interval_of_a_mean_is_scipys() -> None:
    errors = rng(3).gamma(2.0, size=200)
    ours = estimate(MAE, errors, np.zeros(200), rng=rng(4), resamples=20_000)
    theirs = bootstrap(
        (errors,), np.mean, method="percentile", n_resamples=20_000, rng=rng(5)
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)


def test_shares_of_examples_have_wilsons_interval() -> None:
    outputs, labels = np.eye(10), np.arange(10)
    found = estimate(metric("top1"), outputs, labels, rng=rng())
    assert (found.low, found.mid, found.high) == (pytest.approx(0.7225, abs=1e-4), 1.0, 1.0)


def test_pairing_narrows_the_interval_of_a_difference() -> None:
    hard = rng(6).gamma(2.0, size=300)
    a, b = hard + 0.1 * rng(7).normal(size=300), hard + 0.1
    target = np.zeros(300)
    paired = paired_difference(MAE, a, b, target, rng=rng(0))
    alone = estimate(MAE, a, target, rng=rng(0))
    assert paired.high - paired.low < 0.2 * (alone.high - alone.low)


def test_the_interval_of_a_paired_difference_holds_the_truth_19_times_in_20() -> None:
    random, held, runs = rng(11), 0, 400
    for _ in range(runs):
        labels = np.zeros(150, np.int64)
        wrong_a = random.random(150) < 0.10
        wrong_b = np.where(random.random(150) < 0.7, wrong_a, random.random(150) < 0.20)
        truth = 0.3 * (0.20 - 0.10)  # of 30 % drawn anew, 20 % instead of 10 % are wrong
        a, b = (np.eye(2)[wrong.astype(int)] for wrong in (wrong_a, wrong_b))
        found = paired_difference(metric("top1"), a, b, labels, rng=random, resamples=400)
        held += found.low <= truth <= found.high
    assert 0.90 <= held / runs <= 0.985


def test_examples_of_one_group_are_drawn_together() -> None:
    """Ten copies of each of 20 values: 200 rows that say no more than 20."""
    random = rng(12)
    held = {False: 0, True: 0}
    groups = np.repeat(np.arange(20), 10)
    for _ in range(150):
        values = 5 + random.normal(size=20)[groups]
        for by_group in held:
            one = MAE.drawn_by(groups.tolist()) if by_group else MAE
            found = estimate(one, values, np.zeros(200), rng=random, resamples=200)
            held[by_group] += found.low <= 5 <= found.high
    assert held[True] / 150 > 0.85
    assert held[False] / 150 < 0.6


def test_recall_draws_by_its_own_groups() -> None:
    rows, _, groups = inputs_of("recall@1", 80)
    one = metric("recall@1")
    told = one.drawn_by(groups.tolist())
    assert estimate(one, rows, groups, rng=rng()) == estimate(told, rows, groups, rng=rng())


def test_many_examples_are_resampled_in_parts() -> None:
    errors = rng(8).normal(size=50_000) + 5
    found = estimate(MAE, errors, np.zeros(50_000), rng=rng(9), resamples=200)
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(50_000), rel=0.3)


def test_networks_that_never_differ_give_a_point() -> None:
    a, _, target = inputs_of("top1")
    found = paired_difference(metric("top1"), a, a, target, rng=rng())
    assert (found.low, found.mid, found.high) == (0, 0, 0)


@pytest.mark.parametrize("resamples", [0, 99, 100_001])
def test_too_few_or_too_many_resamples_are_refused(resamples: int) -> None:
    with pytest.raises(BadInput, match="100 to 100000 resamples"):
        estimate(MAE, np.ones(3), np.zeros(3), rng=rng(), resamples=resamples)


def test_one_example_or_group_is_refused() -> None:
    with pytest.raises(BadInput, match=r"two examples, or groups of them, .* found 1"):
        estimate(MAE, np.ones(1), np.zeros(1), rng=rng())
    with pytest.raises(BadInput, match="found 1"):
        estimate(MAE.drawn_by("aaa"), np.ones(3), np.zeros(3), rng=rng())


def test_different_counts_are_refused() -> None:
    with pytest.raises(BadInput, match="found 3 and 2"):
        paired_difference(MAE, np.ones(3), np.ones(2), np.zeros(3), rng=rng())
    with pytest.raises(BadInput, match="found 3 and 2"):
        estimate(MAE.drawn_by("ab"), np.ones(3), np.zeros(3), rng=rng())


def test_a_metric_that_is_mostly_undefined_is_refused() -> None:
    groups = np.array([0, 0, *range(1, 40)])  # most resamples have neither of the pair
    with pytest.raises(BadInput, match="defined on most resamples"):
        estimate(metric("recall@1"), rng().normal(size=(41, 3)), groups, rng=rng())


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        (Unit.SHARE, "50.0 % (25.0 to 75.0 %, n = 4)"),
        (Unit.POINTS, "50.0 points (25.0 to 75.0 points, n = 4)"),
        (Unit.NATS, "0.5 nats (0.25 to 0.75 nats, n = 4)"),
        (Unit.PLAIN, "0.5 (0.25 to 0.75, n = 4)"),
        (Unit.LABEL, "0.5 (0.25 to 0.75, n = 4)"),
    ],
)
def test_an_interval_shows_its_unit(unit: Unit, shown: str) -> None:
    assert str(Interval(low=0.25, mid=0.5, high=0.75, n=4, unit=unit)) == shown


def test_a_difference_of_shares_is_in_points() -> None:
    a, b, target = inputs_of("top1")
    assert paired_difference(metric("top1"), a, b, target, rng=rng()).unit is Unit.POINTS
    a, b, target = inputs_of("kl")
    assert paired_difference(metric("kl"), a, b, target, rng=rng()).unit is Unit.NATS
