from __future__ import annotations

import math

import pytest

from edgewise.errors import BadInput
from edgewise.running import Options, Policy
from edgewise.specs import LinkSpec, Provenance

LINK = LinkSpec(name="l", provenance=Provenance(source="user-supplied", date="2026-11-21"))


@pytest.mark.parametrize(
    ("options", "predicted_s", "wait_s"),
    [
        (Options(), 60.0, 5.0),
        (Options(link=LINK), 0.1, 1.0),
        (Options(link=LINK), 2.0, 6.0),
        (Options(link=LINK), math.inf, 3600.0),
        (Options(link=LINK, timeout_s=0.2), 2.0, 0.2),
    ],
)
def test_the_wait_follows_the_prediction_unless_stated(
    options: Options, predicted_s: float, wait_s: float
):
    assert options.wait_s(predicted_s=predicted_s) == wait_s


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, math.nan, math.inf, 3601.0])
def test_a_time_out_that_is_none_is_refused(timeout_s: float):
    with pytest.raises(BadInput) as refused:
        Options(timeout_s=timeout_s)
    assert str(refused.value) == (
        f"expected a time-out above 0 and up to 3600 s, found {timeout_s};"
        " leave it out to get three times the predicted time"
    )


def test_a_policy_by_its_bare_name_is_refused_rather_than_ignored():
    with pytest.raises(BadInput, match=r"a Policy: auto, .*found 'only_on_device'; write"):
        Options(policy="only_on_device")
    assert Options(policy=Policy("only_on_device")).policy is Policy.ONLY_ON_DEVICE
