"""Keys are changed while a server runs."""

from __future__ import annotations

import secrets

from edgewise.serving import KeyRing, new_key
from edgewise.serving.access.doors import Doors


def test_changed_keys_keep_the_budgets_of_whoever_stays() -> None:
    stays, goes = (
        new_key(name, random=secrets.token_bytes, items_per_s=1.0) for name in ("stays", "goes")
    )
    doors = Doors(KeyRing((stays.entry, goes.entry)), clock=lambda: 0.0)
    assert doors.are_guarded
    spent = doors.budget_of(stays.key)
    assert spent is not None
    spent.pay_items(10)
    doors.change(KeyRing((stays.entry,)))
    assert doors.budget_of(goes.key) is None
    assert doors.budget_of(stays.key) is spent
    assert spent.retry_after_s() == 10


def test_a_new_key_under_an_old_name_starts_anew() -> None:
    old, new = (new_key("shop", random=secrets.token_bytes, items_per_s=1.0) for _ in range(2))
    doors = Doors(KeyRing((old.entry,)), clock=lambda: 0.0)
    budget = doors.budget_of(old.key)
    assert budget is not None
    budget.pay_items(10)
    doors.change(KeyRing((new.entry,)))
    assert doors.budget_of(old.key) is None
    fresh = doors.budget_of(new.key)
    assert fresh is not None
    assert fresh.retry_after_s() is None


def test_without_keys_the_doors_are_open_and_know_nobody() -> None:
    doors = Doors(None, clock=lambda: 0.0)
    assert not doors.are_guarded
    assert doors.budget_of("") is None
    assert doors.budget_of("ew_x") is None
