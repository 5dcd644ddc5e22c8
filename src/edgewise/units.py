"""Read and print quantities with units; everywhere else numbers are SI."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from edgewise.errors import BadInput

_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z/]*)\s*")
_RATES: Mapping[str, float] = {
    "bit/s": 1 / 8,
    "kbit/s": 1e3 / 8,
    "Mbit/s": 1e6 / 8,
    "Gbit/s": 1e9 / 8,
    "B/s": 1.0,
    "kB/s": 1e3,
    "MB/s": 1e6,
}
_TIMES: Mapping[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0}
_SIZES: Mapping[str, float] = {
    "B": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "KiB": 1024.0,
    "MiB": 1024.0**2,
    "GiB": 1024.0**3,
}


def parse_rate(text: str) -> float:
    """Bytes per second from a rate with its unit.

    >>> parse_rate("5.85Mbit/s")
    731250.0
    """
    return _parse(text, _RATES, "a rate such as 5.85Mbit/s")


def parse_duration(text: str) -> float:
    """Seconds from a duration with its unit; a bare 0 needs none.

    >>> parse_duration("80ms")
    0.08
    """
    return _parse(text, _TIMES, "a duration such as 80ms")


def parse_size(text: str) -> float:
    """Bytes from a size with its unit.

    >>> parse_size("1.5MB")
    1500000.0
    """
    return _parse(text, _SIZES, "a size such as 1.5MB")


def _parse(text: str, factors: Mapping[str, float], what: str) -> float:
    match = _NUMBER.fullmatch(text)
    found = repr(text[:60])
    units = f"use one of the units {', '.join(factors)}"
    if match is None:
        raise BadInput(expected=what, found=found, remedy=units)
    bare_zero = not match[2] and float(match[1]) == 0
    if not bare_zero and match[2] not in factors:
        raise BadInput(expected=what, found=found, remedy=units)
    value = float(match[1]) * factors.get(match[2], 1.0)
    if not math.isfinite(value) or value < 0:
        raise BadInput(expected=what, found=found, remedy="use a finite number, at least 0")
    return value


def format_duration(seconds: float) -> str:
    """A duration as people read it.

    >>> [format_duration(s) for s in (0.0000042, 0.0123, 4.2, 600.0)]
    ['4.2 µs', '12.3 ms', '4.20 s', '10.0 min']
    """
    if abs(seconds) < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    if abs(seconds) < 1:
        return f"{seconds * 1e3:.1f} ms"
    if abs(seconds) < 120:
        return f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min"


def format_bytes(count: float) -> str:
    """A size as people read it, in powers of ten.

    >>> [format_bytes(n) for n in (12, 17600, 18_600_000)]
    ['12 B', '17.6 kB', '18.6 MB']
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def format_rate(bytes_per_s: float) -> str:
    """A rate as people read it.

    >>> format_rate(731250.0)
    '5.85 Mbit/s'
    >>> format_rate(1e10)
    '80.00 Gbit/s'
    """
    if math.isinf(bytes_per_s):
        return "unlimited"
    mbit = bytes_per_s * 8 / 1e6
    return f"{mbit:.2f} Mbit/s" if mbit < 1e3 else f"{mbit / 1e3:.2f} Gbit/s"


def format_count(count: float) -> str:
    """A large count with its SI prefix.

    >>> format_count(385_000_000)
    '385.0 M'
    """
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(count) >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f}"


def format_share(part: float, whole: float) -> str:
    """A share in percent; small ones are not rounded away.

    >>> [format_share(part, 5000) for part in (0, 1, 1000, 4999, 5000)]
    ['0 %', '<0.1 %', '20.0 %', '>99.9 %', '100.0 %']
    """
    if part <= 0 or whole <= 0:
        return "0 %"
    percent = 100 * part / whole
    if percent < 0.1:
        return "<0.1 %"
    return ">99.9 %" if 99.95 <= percent < 100 else f"{percent:.1f} %"
