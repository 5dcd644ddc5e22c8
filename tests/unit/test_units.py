import math

import pytest

from edgewise import units
from edgewise.errors import BadInput


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (units.parse_rate, "8bit/s", 1.0),
        (units.parse_rate, "1 kbit/s", 125.0),
        (units.parse_rate, " 5.85 Mbit/s ", 731_250.0),
        (units.parse_rate, "1Gbit/s", 1.25e8),
        (units.parse_rate, "2B/s", 2.0),
        (units.parse_rate, "2kB/s", 2e3),
        (units.parse_rate, "2MB/s", 2e6),
        (units.parse_duration, "1.5s", 1.5),
        (units.parse_duration, "80ms", 0.08),
        (units.parse_duration, "5us", 5e-6),
        (units.parse_duration, "2min", 120.0),
        (units.parse_duration, "1h", 3600.0),
        (units.parse_duration, "0", 0.0),
        (units.parse_duration, ".5s", 0.5),
        (units.parse_duration, "1e-3s", 1e-3),
        (units.parse_duration, "3.s", 3.0),
        (units.parse_size, "1B", 1.0),
        (units.parse_size, "1.5MB", 1.5e6),
        (units.parse_size, "1GB", 1e9),
        (units.parse_size, "1KiB", 1024.0),
        (units.parse_size, "1MiB", 2.0**20),
        (units.parse_size, "1GiB", 2.0**30),
    ],
)
def test_reads_every_unit(read, text, value):
    assert read(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("text", ["", "fast", "5", "5 Mbps", "5mbit/s", "80 ms", "1 2 kB/s"])
def test_another_unit_is_refused_with_those_known(text):
    with pytest.raises(BadInput) as refusal:
        units.parse_rate(text)
    assert str(refusal.value) == (
        f"expected a rate such as 5.85Mbit/s, found {text!r}; use one of the units "
        "bit/s, kbit/s, Mbit/s, Gbit/s, B/s, kB/s, MB/s"
    )


@pytest.mark.parametrize("text", ["-1s", "1e400s", "1e308h"])
def test_negative_and_infinite_amounts_are_refused(text):
    with pytest.raises(BadInput) as refusal:
        units.parse_duration(text)
    assert str(refusal.value) == (
        f"expected a duration such as 80ms, found {text!r}; use a finite number, at least 0"
    )


def test_a_long_text_is_quoted_in_part():
    with pytest.raises(BadInput) as refusal:
        units.parse_size("1" * 100_000 + "x")
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (units.format_duration, 0.0, "0.0 µs"),
        (units.format_duration, 0.00098, "980.0 µs"),
        (units.format_duration, 0.001, "1.0 ms"),
        (units.format_duration, 1.0, "1.00 s"),
        (units.format_duration, 119.0, "119.00 s"),
        (units.format_duration, 120.0, "2.0 min"),
        (units.format_duration, -0.5, "-500.0 ms"),
        (units.format_bytes, 0, "0 B"),
        (units.format_bytes, 999, "999 B"),
        (units.format_bytes, 1000, "1.0 kB"),
        (units.format_bytes, 2.5e9, "2.5 GB"),
        (units.format_rate, math.inf, "unlimited"),
        (units.format_rate, 125_000.0, "1.00 Mbit/s"),
        (units.format_count, 12, "12"),
        (units.format_count, 1_200, "1.2 k"),
        (units.format_count, 3.85e8, "385.0 M"),
        (units.format_count, 2e9, "2.0 G"),
    ],
)
def test_writes_as_people_read(write, value, text):
    assert write(value) == text
