"""The algebra of costs, to 1e-12 relative."""

import functools
import math
from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from edgewise.cost import ZERO, Cost, Evidence, Forecast

NAMES = tuple(field.name for field in fields(Cost))
amounts = st.one_of(
    st.floats(min_value=0, max_value=1e300),
    st.floats(min_value=0, max_value=1e-300),
    st.floats(min_value=1e-9, max_value=1e12),
    st.just(math.inf),
)
costs = st.builds(Cost, **dict.fromkeys(NAMES, amounts))
operators = st.sampled_from([Cost.__add__, Cost.__or__])


def values(cost: Cost) -> list[float]:
    return [getattr(cost, name) for name in NAMES]


def same(a: Cost, b: Cost) -> bool:
    return all(
        math.isclose(x, y, rel_tol=1e-12, abs_tol=1e-320)
        for x, y in zip(values(a), values(b), strict=True)
    )


@st.composite
def forecasts(draw: st.DrawFn) -> Forecast:
    rows = [sorted(draw(st.tuples(amounts, amounts, amounts))) for _ in NAMES]
    low, mid, high = (
        Cost(**dict(zip(NAMES, column, strict=True))) for column in zip(*rows, strict=True)
    )
    return Forecast(low=low, mid=mid, high=high, evidence=draw(st.sampled_from(Evidence)))


@given(operators, costs, costs, costs)
def test_grouping_does_not_matter(op, a, b, c):
    assert same(op(op(a, b), c), op(a, op(b, c)))


@given(operators, costs, costs)
def test_order_does_not_matter(op, a, b):
    assert op(a, b) == op(b, a)


@given(operators, costs)
def test_zero_changes_nothing(op, a):
    assert op(a, ZERO) == a == op(ZERO, a)


@given(operators, costs, costs)
def test_no_field_ever_lowers(op, a, b):
    total = values(op(a, b))
    assert all(x <= y for x, y in zip(values(a), total, strict=True))
    assert all(x <= y for x, y in zip(values(b), total, strict=True))


@given(operators, costs, costs, costs)
def test_a_dearer_part_never_makes_the_whole_cheaper(op, a, b, extra):
    dearer = a + extra
    assert all(x <= y for x, y in zip(values(op(a, b)), values(op(dearer, b)), strict=True))


@given(costs, costs)
def test_at_once_is_never_slower_and_never_smaller(a, b):
    assert (a | b).latency_s <= (a + b).latency_s
    assert (a | b).peak_bytes >= (a + b).peak_bytes


@given(st.lists(forecasts(), min_size=1, max_size=5))
def test_sums_of_forecasts_keep_their_order(parts):
    total = functools.reduce(Forecast.__add__, parts)
    for low, mid, high in zip(
        values(total.low), values(total.mid), values(total.high), strict=True
    ):
        assert low <= mid <= high
    assert total.evidence == min((p.evidence for p in parts), key=tuple(Evidence).index)
