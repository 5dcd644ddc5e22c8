"""What is known about one request while it is answered: for its key's budget, metrics and log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.types import Scope

from edgewise.serving.access.budgets import Budget
from edgewise.serving.protocol.refusals import refusal

if TYPE_CHECKING:
    from edgewise.serving.protocol.requests import Infer
    from edgewise.serving.repository.parts import ServedBundle

_FIELD = "edgewise.account"


@dataclass(slots=True, kw_only=True)
class Account:
    """One request, as far as it has come.

    Args:
        endpoint: a word from a short list.
        model: that is served; empty until it is known.
        version: of it: the default one, until the request's JSON is read.
        id: what the client calls the request; hostile.
        route: of the bundle, once it is known.
        codec: of that route's payload.
        items: inputs in the request.
        status: of the answer; ``None`` when nobody waited for it.
        refused: why, in a word from a short list; empty when it was not.
        stages: seconds by stage, as the answer says.
        own_compute_s: its part of the engine's time, beside those it ran together with.
        total_s: from the head to the last byte of the answer.
        ran_items: rows of the run of the network that this request stands for; 0 when it rode
            along with another.
        in_bytes: of the body.
        out_bytes: likewise.
        budget: of the key, when keys are asked for.
    """

    endpoint: str = "other"
    model: str = ""
    version: str = ""
    id: str = ""
    route: str = ""
    codec: str = ""
    items: int = 0
    status: int | None = None
    refused: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    own_compute_s: float = 0.0
    total_s: float = 0.0
    ran_items: int = 0
    in_bytes: int = 0
    out_bytes: int = 0
    budget: Budget | None = None

    def address(self, bundle: ServedBundle) -> None:
        """Note which bundle a request is for."""
        self.model, self.version = bundle.name, bundle.version

    def open(self, asked: Infer) -> None:
        """Note what is asked for, and take it from the key's budget.

        Raises:
            HTTPException: 429 when the key has too little left.
        """
        route = asked.head.route.route
        self.address(asked.head.bundle)
        self.id = asked.message.id
        self.route = route.name
        self.codec = route.codec.value
        self.items = items_of(asked)
        if self.budget is None:
            return
        wait_s = self.budget.retry_after_s(items=self.items)
        if wait_s is not None:
            self.refused = "budget"
            raise refusal(429, **over_budget(wait_s), headers={"Retry-After": str(wait_s)})
        self.budget.pay_items(self.items)


def over_budget(wait_s: int) -> dict[str, str]:
    """The words of a refusal for a key that has used what it may.

    >>> over_budget(2)["remedy"]
    'try again in 2 s, or answer on the device'
    """
    return {
        "expected": "a key with something left of its budget",
        "found": "none",
        "remedy": f"try again in {wait_s} s, or answer on the device",
    }


def items_of(asked: Infer) -> int:
    """Inputs in a request: the rows of its first tensor; encoded pixels are one."""
    name, array = next(iter(asked.message.tensors.items()))
    bound = next((b for b in asked.head.route.route.boundary if b.name == name), None)
    is_flat = array.ndim < 2 or bound is None
    return 1 if is_flat else max(1, array.shape[0])


def account_of(scope: Scope) -> Account:
    """The account of the request that a scope belongs to; made when there is none.

    >>> scope = {}
    >>> account_of(scope) is account_of(scope)
    True
    """
    account = scope.get(_FIELD)
    if not isinstance(account, Account):
        account = scope[_FIELD] = Account()
    return account
