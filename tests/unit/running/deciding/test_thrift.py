from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.bundle import Coefficients
from edgewise.errors import BadInput
from edgewise.running import Options
from edgewise.running.deciding.thrift import HostState, know_energy, weighed
from session_worlds import CLOUD, LOCAL, ROUTES, SPLIT

TIMES = {"split": 0.25, "cloud": 0.3, "local": 0.4}


def test_energy_is_spared_on_battery_alone_and_below_the_share():
    assert HostState(battery_share=0.19).is_low(0.2)
    assert not HostState(battery_share=0.2).is_low(0.2)
    assert not HostState(battery_share=0.1, on_charger=True).is_low(0.2)
    assert not HostState(battery_share=None).is_low(1.0)
    assert not HostState(battery_share=0.0).is_low(0.0)


@pytest.mark.parametrize("share", [-0.1, 1.1, 15, float("nan")])
def test_a_share_that_is_none_is_refused(share: float):
    with pytest.raises(BadInput, match=r"battery share from 0 to 1, found .*divide a percentage"):
        HostState(battery_share=share)
    with pytest.raises(BadInput, match=r"share of the battery from 0 to 1.*never spares"):
        Options(low_battery_share=share)


def test_all_the_energy_is_worth_the_cost_of_the_cheapest():
    assert weighed(ROUTES, TIMES) == pytest.approx({"split": 0.325, "cloud": 0.425, "local": 0.65})


def test_nobody_spares_what_nobody_spends():
    free = [replace(LOCAL, coefficients=Coefficients(device_s=0.4, device_j=0.0))]
    assert weighed(free, {"local": 0.4}) == {"local": 0.4}


def test_energy_counts_only_when_that_of_all_is_known():
    assert know_energy([SPLIT, CLOUD, LOCAL])
    assert not know_energy([SPLIT, replace(LOCAL, coefficients=Coefficients(device_s=0.4))])
