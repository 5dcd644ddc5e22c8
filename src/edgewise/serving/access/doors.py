"""The keys that are let in at the moment, and what each has left."""

from __future__ import annotations

from collections.abc import Callable

from edgewise.serving.access.budgets import Budget
from edgewise.serving.access.keys import KeyRing


class Doors:
    """Keys that may be changed while a server runs; used from the event loop alone.

    Args:
        keys: asked for when given.
        clock: seconds that only go forward.

    >>> Doors(None, clock=lambda: 0.0).are_guarded
    False
    """

    def __init__(self, keys: KeyRing | None, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._keys = keys
        self._budgets: dict[str, Budget] = {}
        if keys is not None:
            self.change(keys)

    @property
    def are_guarded(self) -> bool:
        """Whether a key is asked for."""
        return self._keys is not None

    def change(self, keys: KeyRing) -> None:
        """Let in these keys from now on; whoever stays unchanged keeps the budget as it is."""
        kept = self._budgets
        self._budgets = {}
        for entry in keys.entries:
            budget = kept.get(entry.name)
            if budget is None or budget.entry != entry:
                budget = Budget(entry, clock=self._clock)
            self._budgets[entry.name] = budget
        self._keys = keys

    def budget_of(self, key: str) -> Budget | None:
        """What a key has left; ``None`` when it is not let in."""
        entry = self._keys.find(key) if self._keys is not None and key else None
        return self._budgets[entry.name] if entry else None
