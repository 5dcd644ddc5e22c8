import math
from dataclasses import FrozenInstanceError, fields

import pytest

from edgewise.cost import ZERO, Cost, Evidence, Forecast
from edgewise.errors import BadInput

A = Cost(latency_s=1, energy_j=2, peak_bytes=30, up_bytes=4, down_bytes=5, provider_usd=6)
B = Cost(latency_s=10, energy_j=20, peak_bytes=3, user_usd=7, co2_kg=8)


def test_one_after_the_other():
    assert Cost(
        latency_s=11, energy_j=22, peak_bytes=30, up_bytes=4, down_bytes=5,
        provider_usd=6, user_usd=7, co2_kg=8,
    ) == A + B  # fmt: skip


def test_both_at_once():
    assert Cost(
        latency_s=10, energy_j=22, peak_bytes=33, up_bytes=4, down_bytes=5,
        provider_usd=6, user_usd=7, co2_kg=8,
    ) == A | B  # fmt: skip


def test_every_field_is_a_float_and_frozen():
    assert all(type(getattr(A, field.name)) is float for field in fields(A))
    with pytest.raises(FrozenInstanceError):
        A.latency_s = 2.0


@pytest.mark.parametrize("field", [field.name for field in fields(Cost)])
@pytest.mark.parametrize("value", [-1e-9, math.nan, -math.inf])
def test_negative_costs_and_nan_are_refused(field, value):
    with pytest.raises(BadInput) as refusal:
        Cost(**{field: value})
    assert str(refusal.value) == (
        f"expected {field} of at least 0, found {value}; check what it was computed from"
    )


def test_a_forecast_out_of_order_is_refused():
    with pytest.raises(BadInput) as refusal:
        Forecast(low=ZERO, mid=A, high=ZERO, evidence=Evidence.PREDICTED)
    assert str(refusal.value) == (
        "expected low <= mid <= high in latency_s, found 0.0, 1.0, 0.0; order the three costs"
    )


@pytest.mark.parametrize(
    ("a", "b", "weaker"),
    [
        (Evidence.PREDICTED, Evidence.MEASURED, Evidence.PREDICTED),
        (Evidence.MEASURED, Evidence.FITTED, Evidence.FITTED),
        (Evidence.MEASURED, Evidence.MEASURED, Evidence.MEASURED),
    ],
)
def test_a_sum_is_as_sure_as_its_weaker_part(a, b, weaker):
    assert (Forecast.exactly(A, a) + Forecast.exactly(B, b)).evidence is weaker
