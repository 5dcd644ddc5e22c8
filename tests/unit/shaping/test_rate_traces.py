from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.errors import BadInput
from edgewise.shaping import RateTrace, read_rate_trace, shipped_traces, write_rate_trace
from edgewise.shaping.generated import GENERATORS, write_shipped_traces

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "data" / "link-traces"


@st.composite
def traces(draw: st.DrawFn) -> RateTrace:
    spans = draw(st.lists(st.floats(0.01, 10), min_size=1, max_size=8))
    rates = draw(
        st.lists(
            st.one_of(st.just(0.0), st.floats(1.0, 1e6)),
            min_size=len(spans),
            max_size=len(spans),
        ).filter(any)
    )
    ends = [sum(spans[:i]) for i in range(1, len(spans) + 1)]
    return RateTrace(starts_s=(0.0, *ends[:-1]), rates_bytes_per_s=tuple(rates), period_s=ends[-1])


@given(traces(), st.floats(0, 100), st.floats(1, 1e6))
def test_a_transmission_ends_when_its_bytes_have_flowed(
    trace: RateTrace, start_s: float, size_bytes: float
) -> None:
    end_s = trace.finish_s(start_s, size_bytes)
    goal = trace.bytes_by(start_s) + size_bytes
    assert end_s >= start_s
    assert trace.bytes_by(end_s) == pytest.approx(goal, rel=1e-9, abs=1e-3)
    earlier_s = max(start_s, end_s - 1e-3)
    assert trace.bytes_by(earlier_s) < goal or earlier_s == start_s


@given(traces(), st.floats(0, 100), st.floats(0, 100))
def test_the_integral_rises_and_repeats(trace: RateTrace, a_s: float, b_s: float) -> None:
    low_s, high_s = sorted((a_s, b_s))
    assert trace.bytes_by(low_s) <= trace.bytes_by(high_s) + 1e-6
    one_period = trace.mean_rate_bytes_per_s * trace.period_s
    assert trace.bytes_by(a_s + trace.period_s) == pytest.approx(
        trace.bytes_by(a_s) + one_period, rel=1e-9, abs=1e-3
    )


def test_a_cap_leaves_slower_parts_alone() -> None:
    trace = RateTrace(starts_s=(0.0, 1.0), rates_bytes_per_s=(5.0, 50.0), period_s=2.0)
    assert trace.capped(10.0).rates_bytes_per_s == (5.0, 10.0)


def test_a_trace_that_begins_late_counts_from_its_first_line(tmp_path: Path) -> None:
    file = tmp_path / "late.txt"
    file.write_text("180.0 8\n\n185.0\t0\n190.0 16.0\n")
    trace = read_rate_trace(file)
    assert trace.starts_s == (0.0, 5.0, 10.0)
    assert trace.period_s == 15.0
    assert (trace.rate_at(4.9), trace.rate_at(5.0), trace.rate_at(29.9)) == (1e6, 0.0, 2e6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 1 to 200000 lines"),
        ("0 1\n1 2 3\n", "expected two numbers, 'seconds Mbit/s', in line 2"),
        ("0 1\n1 fast\n", "expected two numbers, 'seconds Mbit/s', in line 2"),
        ("0 nan\n", "expected finite numbers of at least 0 in line 1"),
        ("0 inf\n", "expected finite numbers of at least 0 in line 1"),
        ("0 -1\n", "expected finite numbers of at least 0 in line 1"),
        ("0 1\n2 1\n\n2 1\n", "expected a time after 2.0 s in line 4"),
        ("0 0\n1 0\n", "expected a rate above 0 somewhere"),
        ("0 1\n1 \N{MICRO SIGN}\n", "expected plain text"),
    ],
)
def test_a_bad_file_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        read_rate_trace(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        read_rate_trace(tmp_path / "none.txt")
    with pytest.raises(BadInput, match="directory"):
        read_rate_trace(tmp_path)


def test_a_huge_file_is_refused_without_reading_all_of_it(tmp_path: Path) -> None:
    file = tmp_path / "huge.txt"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(BadInput, match="at most 16000000 bytes"):
        read_rate_trace(file)


@pytest.mark.parametrize(
    ("starts_s", "rates", "period_s", "message"),
    [
        ((), (), 1.0, "rising times from 0"),
        ((1.0,), (1.0,), 2.0, "rising times from 0"),
        ((0.0, 0.0), (1.0, 1.0), 2.0, "rising times from 0"),
        ((0.0,), (1.0,), 0.0, "rising times from 0"),
        ((0.0,), (1.0, 2.0), 1.0, "1 finite rates"),
        ((0.0,), (float("inf"),), 1.0, "1 finite rates"),
        ((0.0,), (0.0,), 1.0, "something flows"),
    ],
)
def test_a_trace_that_cannot_be_is_refused(
    starts_s: tuple[float, ...], rates: tuple[float, ...], period_s: float, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        RateTrace(starts_s=starts_s, rates_bytes_per_s=rates, period_s=period_s)


def test_writing_and_reading_gives_the_same_trace(tmp_path: Path) -> None:
    trace = GENERATORS["blackout"](random.Random(5))
    write_rate_trace(trace, tmp_path / "t.txt")
    again = read_rate_trace(tmp_path / "t.txt")
    assert (again.starts_s, again.period_s) == (trace.starts_s, trace.period_s)
    assert again.mean_rate_bytes_per_s == pytest.approx(trace.mean_rate_bytes_per_s, rel=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]


def test_the_shipped_traces_are_what_their_generators_make(tmp_path: Path) -> None:
    """Made anew by ``write_shipped_traces(folder of the shipped ones)``."""
    write_shipped_traces(tmp_path)
    for name, path in shipped_traces().items():
        assert path.read_bytes() == (tmp_path / f"{name}.txt").read_bytes()


def test_the_shipped_traces_show_what_their_names_say() -> None:
    read = {name: read_rate_trace(path) for name, path in shipped_traces().items()}
    wifi = read["wifi-walk-away"]
    assert wifi.bytes_by(10.0) > 0.3 * wifi.bytes_by(90.0)
    assert wifi.bytes_by(90.0) - wifi.bytes_by(60.0) < 0.01 * wifi.bytes_by(30.0)
    dark = read["blackout"]
    assert dark.bytes_by(30.0) == dark.bytes_by(20.0) > 0
    bus = [rate * 8 / 1e3 for rate in read["3g-bus-near-outages"].rates_bytes_per_s]
    assert 10 < sum(20 <= kbit <= 50 for kbit in bus) < 60
    assert min(bus) >= 20


@pytest.mark.skipif(not RECORDED.is_dir(), reason="needs ../shared/data/link-traces")
def test_every_recorded_trace_is_read() -> None:
    files = sorted(RECORDED.glob("*.txt"))
    assert files
    for file in files:
        trace = read_rate_trace(file)
        assert min(trace.rates_bytes_per_s) <= trace.mean_rate_bytes_per_s
        assert trace.mean_rate_bytes_per_s <= max(trace.rates_bytes_per_s)
        assert trace.finish_s(0.0, trace.bytes_by(trace.period_s)) <= trace.period_s + 1e-6
