from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.running.deciding.estimating import (
    TYPICAL,
    Errors,
    Estimator,
    Transfer,
)
from edgewise.running.deciding.fading import Drift, Queue, Window
from edgewise.running.deciding.outlook import Outlook, settle

PACKET = 20_000


def fed(link: Estimator, times_s: list[float], *, now_s: float = 0.0, gap_s: float = 0.25):
    """The estimator after such transfers of one size, and the time of the last."""
    for up_s in times_s:
        now_s += gap_s + up_s
        link = link.observed(Transfer(now_s=now_s, up_bytes=PACKET, up_s=up_s))
    return link, now_s


def expected_s(link: Estimator, now_s: float, size_bytes: float = PACKET) -> float:
    estimate = link.estimate(now_s)
    return estimate.rtt_s + size_bytes / estimate.up_bytes_per_s


def test_before_anything_is_known_it_is_what_was_expected():
    estimate = Estimator(prior=TYPICAL).estimate(0.0)
    assert not estimate.known
    assert estimate.rtt_s == pytest.approx(TYPICAL.rtt_s)
    assert estimate.up_bytes_per_s == pytest.approx(TYPICAL.up_bytes_per_s)
    assert estimate.down_bytes_per_s == pytest.approx(TYPICAL.down_bytes_per_s)


def test_transfers_of_several_sizes_tell_the_rate_from_the_round_trip():
    rng, link = random.Random(0), Estimator(prior=TYPICAL)
    for i in range(80):
        size = rng.choice([2_000, 20_000, 100_000])
        up_s = 0.02 + size / 2e5
        link = link.observed(Transfer(now_s=i / 4, up_bytes=size, up_s=up_s))
    estimate = link.estimate(20.0)
    assert estimate.known
    assert estimate.rtt_s == pytest.approx(0.02, abs=0.01)
    assert estimate.up_bytes_per_s == pytest.approx(2e5, rel=0.05)


def test_transfers_of_one_size_predict_that_size():
    link, now_s = fed(Estimator(prior=TYPICAL), [0.4] * 20)
    assert expected_s(link, now_s) == pytest.approx(0.4, rel=0.05)


def test_a_step_down_is_followed_within_a_few_samples():
    link, now_s = fed(Estimator(prior=TYPICAL), [0.1] * 60)
    link, now_s = fed(link, [1.0] * 4, now_s=now_s)
    assert expected_s(link, now_s) > 0.75


def test_a_step_up_is_followed_slowly_and_in_the_end():
    link, now_s = fed(Estimator(prior=TYPICAL), [1.0] * 20)
    soon, soon_s = fed(link, [0.1] * 4, now_s=now_s)
    assert expected_s(soon, soon_s) > 0.4
    late, late_s = fed(link, [0.1] * 120, now_s=now_s)
    assert expected_s(late, late_s) < 0.2


def test_one_outlier_is_forgotten_soon():
    link, now_s = fed(Estimator(prior=TYPICAL), [0.1] * 40)
    link, now_s = fed(link, [0.6, *[0.1] * 20], now_s=now_s)
    assert expected_s(link, now_s) < 0.15


def test_silence_leads_back_to_what_was_expected():
    link, now_s = fed(Estimator(prior=TYPICAL), [1.0] * 20)
    before = [expected_s(link, now_s + silence_s) for silence_s in (0, 30, 60, 90, 300)]
    assert before == sorted(before, reverse=True)
    assert before[-1] == pytest.approx(TYPICAL.rtt_s + PACKET / TYPICAL.up_bytes_per_s, rel=0.01)
    assert not link.estimate(now_s + 300).known


def test_waiting_in_vain_counts_only_when_longer_than_expected():
    link, now_s = fed(Estimator(prior=TYPICAL), [0.4] * 20)
    vain = Transfer(now_s=now_s, up_bytes=PACKET, up_s=0.1, at_least=True)
    assert expected_s(link.observed(vain), now_s) == pytest.approx(expected_s(link, now_s))
    assert expected_s(link.observed(replace(vain, up_s=4.0)), now_s) > expected_s(link, now_s)


def test_the_download_rate_is_learnt_from_long_replies_alone():
    link = Estimator(prior=TYPICAL)
    short = link.observed(Transfer(now_s=0, up_bytes=1, up_s=0.1, down_bytes=1000, down_s=1.0))
    assert short.estimate(0).down_bytes_per_s == pytest.approx(TYPICAL.down_bytes_per_s)
    for i in range(20):
        link = link.observed(
            Transfer(now_s=i / 4, up_bytes=1, up_s=0.1, down_bytes=100_000, down_s=1.0)
        )
    assert link.estimate(5.0).down_bytes_per_s == pytest.approx(1e5, rel=0.1)


def test_a_clock_that_jumps_back_changes_no_estimate():
    link, now_s = fed(Estimator(prior=TYPICAL), [0.4] * 20)
    assert expected_s(link, now_s - 1000) == pytest.approx(expected_s(link, now_s))


@given(
    st.lists(
        st.tuples(st.floats(0, 1e5), st.integers(1, 10**8), st.floats(0, 1e4), st.booleans()),
        max_size=20,
    )
)
def test_whatever_is_measured_the_estimate_is_a_link(
    transfers: list[tuple[float, int, float, bool]],
):
    link = Estimator(prior=TYPICAL)
    for now_s, size, up_s, vain in transfers:
        link = link.observed(Transfer(now_s=now_s, up_bytes=size, up_s=up_s, at_least=vain))
        now = link.estimate(now_s)
        assert now.samples <= len(transfers)
        assert all(0 < one < math.inf for one in (now.up_bytes_per_s, now.down_bytes_per_s))
        assert 0 < now.rtt_s < math.inf


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("local_s", [0.15, 0.2, 0.23])
def test_on_a_noisy_constant_link_the_route_changes_at_most_once_in_ten_seconds(
    seed: int, local_s: float
):
    rng, outlook = random.Random(seed), Outlook(link=Estimator(prior=TYPICAL))
    now_s, switches, before = 0.0, [], ""
    while now_s < 60:
        estimate = outlook.estimate(now_s)
        remote_s = estimate.rtt_s + PACKET / estimate.up_bytes_per_s
        dwell, _ = settle(outlook.dwell, {"cloud": remote_s, "local": local_s}, now_s=now_s)
        outlook = replace(outlook, dwell=dwell)
        if before and dwell.route != before:
            switches.append(now_s)
        before = dwell.route
        up_s = 0.2 * rng.uniform(0.7, 1.3)
        now_s += 0.1 + up_s
        if before == "cloud":
            transfer = Transfer(now_s=now_s, up_bytes=PACKET, up_s=up_s)
            outlook = replace(outlook, link=outlook.link.observed(transfer))
    assert all(later - sooner >= 10 for sooner, later in itertools.pairwise(switches))


def test_drift_follows_throttling_and_fades():
    drift = Drift()
    for i in range(20):
        drift = drift.observed(now_s=i, measured_s=0.3, planned_s=0.1)
    assert drift.ratio(19) == pytest.approx(3.0, rel=0.05)
    assert drift.ratio(79) == pytest.approx(2.0, rel=0.05)
    assert drift.observed(now_s=20, measured_s=0.1, planned_s=0.0) == drift
    assert 1 < drift.observed(now_s=20, measured_s=0.1, planned_s=0.1).ratio(20) < 3


def test_a_window_keeps_the_newest():
    window = Window()
    assert window.quantile(0.5) is None
    for value in range(100):
        window = window.added(float(value))
    assert (window.quantile(0.0), window.quantile(1.0)) == (36.0, 99.0)
    assert window.quantile(0.5) == 67.0


def test_errors_learn_how_steady_a_link_is():
    steady, wild = Errors(), Errors()
    for i in range(40):
        steady = steady.observed(1.05 if i % 2 else 0.95)
        wild = wild.observed(2.0 if i % 2 else 0.5)
    assert steady.chance(1.3) > 0.95 > 0.7 > wild.chance(1.3)
    assert steady.chance(0.7) < 0.05 < 0.2 < wild.chance(0.7)


def test_errors_learn_a_bias():
    errors = Errors()
    for _ in range(40):
        errors = errors.observed(0.5)
    assert errors.chance(0.8) > 0.95
    assert errors.chance(0.4) < 0.05


@given(st.lists(st.floats(1e-6, 1e6), max_size=30), st.floats(1e-3, 1e3), st.floats(1.0, 10.0))
def test_more_room_is_never_less_likely_to_suffice(
    ratios: list[float], room: float, factor: float
):
    errors = Errors()
    for ratio in ratios:
        errors = errors.observed(ratio)
    assert 0 <= errors.chance(room) <= errors.chance(room * factor) <= 1
    assert errors.chance(0.0) == errors.chance(-room) == 0


def test_a_slow_rate_is_not_taken_for_a_long_round_trip():
    link, now_s = fed(Estimator(prior=TYPICAL), [TYPICAL.rtt_s + PACKET / 1e5] * 12)
    estimate = link.estimate(now_s)
    assert estimate.rtt_s < 1.5 * TYPICAL.rtt_s
    assert expected_s(link, now_s, 5 * PACKET) > 0.8 * (TYPICAL.rtt_s + 5 * PACKET / 1e5)


def test_a_longer_queue_counts_at_once_and_a_shorter_one_slowly():
    queue = Queue().observed(now_s=0.0, waited_s=0.2).observed(now_s=0.0, waited_s=2.0)
    assert queue.wait_s(0.0) == 2.0
    shorter = queue.observed(now_s=0.0, waited_s=0.0)
    assert 1.0 < shorter.wait_s(0.0) < 2.0
    assert shorter.wait_s(80.0) < 0.01


@given(st.lists(st.tuples(st.floats(-1e5, 1e5), st.floats(0, 1e4)), max_size=20))
def test_a_queue_is_never_expected_to_be_longer_than_the_longest(
    waits: list[tuple[float, float]],
):
    queue = Queue()
    for now_s, waited_s in waits:
        queue = queue.observed(now_s=now_s, waited_s=waited_s)
        longest_s = max(wait for _, wait in waits)
        assert waited_s <= queue.wait_s(now_s) <= longest_s * (1 + 1e-9)
