"""Encryption at rest."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from edgewise.errors import BadInput
from edgewise.running.submitting.sealing import AesSeal, Unreadable


def test_only_the_same_key_and_purpose_open() -> None:
    seal = AesSeal(b"k" * 32, randomness=os.urandom)
    closed = seal.close(b"secret", about="a")
    assert b"secret" not in closed
    assert seal.close(b"secret", about="a") != closed
    assert seal.open(closed, about="a") == b"secret"
    changed = closed[:-1] + bytes([closed[-1] ^ 1])
    for other, raw, about in (
        (seal, closed, "b"),
        (seal, changed, "a"),
        (seal, closed[:5], "a"),
        (AesSeal(b"l" * 32, randomness=os.urandom), closed, "a"),
    ):
        with pytest.raises(Unreadable):
            other.open(raw, about=about)


@pytest.mark.parametrize(("key", "found"), [(b"short", "5 bytes"), ("k" * 32, "str")])
def test_keys_that_are_none(key: object, found: str) -> None:
    with pytest.raises(BadInput, match=f"expected a key of 32 bytes, found {found}; make one"):
        AesSeal(key, randomness=os.urandom)


def test_without_the_optional_part_it_is_named() -> None:
    script = (
        "import os, sys\n"
        "sys.modules['cryptography'] = None\n"
        "from edgewise.errors import MissingExtra\n"
        "from edgewise.running.submitting.sealing import AesSeal\n"
        "try:\n    AesSeal(bytes(32), randomness=os.urandom)\n"
        "except MissingExtra as error:\n    sys.exit(error.extra)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == "signing\n"
