"""Keys are made once, found in constant time, and never shown again."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

import numpy as np
import pytest

from edgewise.errors import BadInput
from edgewise.serving import KeyEntry, KeyRing, NewKey, new_key, read_keys, write_entry


def _make(name: str = "shop", **limits: float) -> NewKey:
    return new_key(name, random=secrets.token_bytes, **limits)


def test_a_new_key_is_found_and_no_other() -> None:
    first, second = _make("first"), _make("second")
    ring = KeyRing((first.entry, second.entry))
    assert ring.find(first.key) == first.entry
    assert ring.find(second.key) == second.entry
    assert ring.find(_make("third").key) is None


def test_any_other_last_characters_are_refused() -> None:
    made = _make()
    ring = KeyRing((made.entry,))
    for wrong in ("", made.key[:-1], made.key + "A", made.key[:-1] + "~", made.entry.prefix):
        assert ring.find(wrong) is None
    swapped = made.key[:-2] + ("A" if made.key[-2] != "A" else "B") + made.key[-1]
    assert ring.find(swapped) is None
    assert ring.find("ew_é" + made.key[4:]) is None


def test_nothing_that_is_kept_or_shown_holds_the_key() -> None:
    made = _make()
    secret = made.key[12:]
    kept = write_entry(made.entry) + repr(made) + repr(made.entry) + repr(KeyRing((made.entry,)))
    assert secret not in kept
    assert made.entry.sha256 == hashlib.sha256(made.key.encode()).hexdigest()


def test_keys_are_made_of_the_bytes_that_are_passed_in() -> None:
    random = np.random.default_rng(7).bytes
    assert _shape(new_key("a", random=random).key) == ("ew", 8, 43)
    assert len({_make().key for _ in range(50)}) == 50


def _shape(key: str) -> tuple[str, int, int]:
    return key[:2], len(key[3:11]), len(key[12:])


def test_a_file_of_keys_is_read_as_it_was_written(tmp_path: Path) -> None:
    entries = (
        _make("a").entry,
        _make("b.c-d_e", items_per_s=2.5, compute_ms_per_s=100.0, concurrent=3).entry,
    )
    file = tmp_path / "keys.toml"
    file.write_text("".join(map(write_entry, entries)))
    assert read_keys(file).entries == entries


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at least one [[key]], found none; make keys with: edgewise keys new NAME >> FILE"),
        ("[[key]]\nname = 'a'\n", "prefix"),
        ("nonsense", "expected API keys in"),
        ("\x00\xff", "expected API keys in"),
    ],
)
def test_files_that_hold_no_keys_are_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(BadInput) as caught:
        read_keys(file)
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"keys\.toml"):
        read_keys(tmp_path / "keys.toml")


def test_a_key_pasted_in_place_of_its_hash_is_refused_and_not_repeated(tmp_path: Path) -> None:
    made = _make()
    file = tmp_path / "keys.toml"
    file.write_text(write_entry(made.entry).replace(made.entry.sha256, made.key))
    with pytest.raises(BadInput) as caught:
        read_keys(file)
    assert made.key not in str(caught.value)
    assert "64 hexadecimal digits" in str(caught.value)


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(BadInput, match=r"expected keys of different names .*'shop' twice"):
        KeyRing((_make().entry, _make().entry))


@pytest.mark.parametrize("name", ["", "a b", "a\n", 'a"', "x" * 65, "../a"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(BadInput, match="a key's name of 1 to 64 letters, digits and"):
        _make(name)


@pytest.mark.parametrize("limit", [0, -1, 1e10, float("nan"), float("inf")])
def test_limits_that_are_none(limit: float) -> None:
    with pytest.raises(BadInput, match="limits above 0 and up to 1e9 for the key 'shop'"):
        _make(items_per_s=limit)
    entry = {"name": "a", "prefix": "0" * 8, "sha256": "0" * 64}
    with pytest.raises(BadInput, match="limits above 0"):
        KeyEntry(**entry, compute_ms_per_s=limit)


def test_workers_share_every_limit() -> None:
    entry = KeyEntry(
        name="a",
        prefix="0" * 8,
        sha256="0" * 64,
        items_per_s=10.0,
        compute_ms_per_s=500.0,
        concurrent=5,
    )
    free = KeyEntry(name="b", prefix="1" * 8, sha256="0" * 64)
    part, still_free = KeyRing((entry, free)).shared_by(4).entries
    assert (part.items_per_s, part.compute_ms_per_s, part.concurrent) == (2.5, 125.0, 1)
    assert still_free == free
    assert KeyRing((entry,)).shared_by(8).entries[0].concurrent == 1
