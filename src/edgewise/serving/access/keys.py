"""API keys: made once, shown once, kept as hashes.

A key is ``ew_``, eight hexadecimal digits that find its entry, ``_``, and 32 random bytes in
base64url. What is kept is the SHA-256 of the whole key. A slow hash (scrypt, Argon2) would add
nothing: nobody searches 2^256 keys at any speed, while strangers who send wrong keys could make
a slow hash eat the server's time. For the same reason there is no salt: no two keys are equal,
and no table holds any of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgewise.errors import BadInput
from edgewise.records import read_toml

_KEY = re.compile(r"ew_([0-9a-f]{8})_[A-Za-z0-9_\-]{43}")
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_PREFIX = re.compile(r"[0-9a-f]{8}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PREFIX_BYTES = 4
_SECRET_BYTES = 32
_NO_HASH = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """One key as the server knows it; it tells nobody the key.

    Args:
        name: for the operator.
        prefix: the key's eight hexadecimal digits.
        sha256: of the whole key, hexadecimal.
        items_per_s: inputs answered per second; unlimited unless said.
        compute_ms_per_s: milliseconds of the engine per second; unlimited unless said.
        concurrent: requests at once; unlimited unless said.

    >>> KeyEntry(name="shop", prefix="0" * 8, sha256="0" * 64, items_per_s=20.0).concurrent
    """

    name: str
    prefix: str
    sha256: str
    items_per_s: float | None = None
    compute_ms_per_s: float | None = None
    concurrent: int | None = None

    def __post_init__(self) -> None:
        # Values are not repeated: a person may have pasted the key itself.
        if not _NAME.fullmatch(self.name):
            raise _bad_entry("a key's name of 1 to 64 letters, digits and _ . -", "something else")
        if not (_PREFIX.fullmatch(self.prefix) and _SHA256.fullmatch(self.sha256)):
            raise _bad_entry(
                "a key's prefix of 8 and its sha256 of 64 hexadecimal digits", "something else"
            )
        for limit in (self.items_per_s, self.compute_ms_per_s, self.concurrent):
            if limit is not None and not 0 < limit <= 1e9:
                raise _bad_entry(
                    f"limits above 0 and up to 1e9 for the key {self.name!r}", f"{limit:g}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """What a file of keys holds: a table ``[[key]]`` for each."""

    key: tuple[KeyEntry, ...] = ()


class KeyRing:
    """The keys that a server lets in.

    Args:
        entries: no two of one prefix or one name.

    Raises:
        BadInput: when there are none, or two are alike.
    """

    def __init__(self, entries: tuple[KeyEntry, ...]) -> None:
        if not entries:
            raise _bad_entry("at least one [[key]]", "none")
        for names in ([e.name for e in entries], [e.prefix for e in entries]):
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise _bad_entry("keys of different names and prefixes", f"{twice!r} twice")
        self.entries = entries
        self._by_prefix: Mapping[str, KeyEntry] = {entry.prefix: entry for entry in entries}

    def find(self, key: str) -> KeyEntry | None:
        """The entry of a key; the time that it takes does not tell how much of a key is right.

        >>> made = new_key("shop", random=lambda n: bytes(n))
        >>> KeyRing((made.entry,)).find(made.key).name
        'shop'
        """
        match = _KEY.fullmatch(key)
        entry = self._by_prefix.get(match[1]) if match else None
        digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()
        right = hmac.compare_digest(digest, entry.sha256 if entry else _NO_HASH)
        return entry if right else None

    def shared_by(self, workers: int) -> KeyRing:
        """What each of several workers lets in: the same keys, with a part of every limit.

        Together they let through no more than the limits say, except that a key may always have
        one request at each.

        >>> entry = KeyEntry(name="a", prefix="0" * 8, sha256="0" * 64, items_per_s=10.0)
        >>> KeyRing((entry,)).shared_by(4).entries[0].items_per_s
        2.5
        """
        return KeyRing(tuple(_part(entry, workers) for entry in self.entries))


def _part(entry: KeyEntry, workers: int) -> KeyEntry:
    items, compute, at_once = entry.items_per_s, entry.compute_ms_per_s, entry.concurrent
    return replace(
        entry,
        items_per_s=None if items is None else items / workers,
        compute_ms_per_s=None if compute is None else compute / workers,
        concurrent=None if at_once is None else max(1, at_once // workers),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made.

    Args:
        key: for whoever will use it; it cannot be had again.
        entry: for the server's file.
    """

    key: str
    entry: KeyEntry

    def __repr__(self) -> str:
        return f"NewKey(entry={self.entry!r})"


def new_key(
    name: str,
    *,
    random: Callable[[int], bytes],
    items_per_s: float | None = None,
    compute_ms_per_s: float | None = None,
    concurrent: int | None = None,
) -> NewKey:
    """Make a key.

    Args:
        name: for the operator.
        random: so many unpredictable bytes, such as ``secrets.token_bytes``.
        items_per_s: see :class:`KeyEntry`.
        compute_ms_per_s: likewise.
        concurrent: likewise.

    Raises:
        BadInput: when the name or a limit is none.

    >>> new_key("shop", random=lambda n: bytes(n)).key
    'ew_00000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
    """
    prefix = random(_PREFIX_BYTES).hex()
    secret = base64.urlsafe_b64encode(random(_SECRET_BYTES)).decode().rstrip("=")
    key = f"ew_{prefix}_{secret}"
    entry = KeyEntry(
        name=name,
        prefix=prefix,
        sha256=hashlib.sha256(key.encode()).hexdigest(),
        items_per_s=items_per_s,
        compute_ms_per_s=compute_ms_per_s,
        concurrent=concurrent,
    )
    return NewKey(key=key, entry=entry)


def write_entry(entry: KeyEntry) -> str:
    """The entry as TOML, to be appended to a file of keys.

    >>> print(write_entry(KeyEntry(name="a", prefix="0" * 8, sha256="0" * 64, concurrent=4)))
    <BLANKLINE>
    [[key]]
    name = "a"
    prefix = "00000000"
    sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
    concurrent = 4
    <BLANKLINE>
    """
    lines = ["", "[[key]]"]
    lines += [f'{field} = "{getattr(entry, field)}"' for field in ("name", "prefix", "sha256")]
    for field in ("items_per_s", "compute_ms_per_s", "concurrent"):
        limit = getattr(entry, field)
        if limit is not None:
            lines.append(f"{field} = {limit}")
    return "\n".join([*lines, ""])


def read_keys(path: Path | str) -> KeyRing:
    """The keys in a file that ``edgewise keys new`` wrote.

    Raises:
        BadInput: when the file cannot be read, or holds something else or nothing.
    """
    try:
        return KeyRing(read_toml(KeyFile, Path(path)).key)
    except BadInput as error:
        raise BadInput(
            expected=f"API keys in {path}: {error.expected}",
            found=error.found,
            remedy="make keys with: edgewise keys new NAME >> FILE",
        ) from None


def _bad_entry(expected: str, found: str) -> BadInput:
    return BadInput(
        expected=expected, found=found, remedy="make keys with: edgewise keys new NAME >> FILE"
    )
