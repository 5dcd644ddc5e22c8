"""Unmodified tritonclient, sync and asyncio, called in one way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient import http as sync_client
from tritonclient.http import aio as async_client
from tritonclient.utils import InferenceServerException

KINDS = ("sync", "aio")
Call = Callable[..., Any]


@contextlib.contextmanager
def calling(kind: str, url: str) -> Iterator[Call]:
    """``call("method", …)`` on a client of either kind."""
    address = url.removeprefix("http://")
    if kind == "sync":
        with sync_client.InferenceServerClient(address) as client:
            yield lambda name, *args, **kwargs: getattr(client, name)(*args, **kwargs)
        return
    with asyncio.Runner() as runner:

        async def opened() -> Any:
            return async_client.InferenceServerClient(address)

        client = runner.run(opened())

        def call(name: str, *args: Any, **kwargs: Any) -> Any:
            coroutine: Coroutine[Any, Any, Any] = getattr(client, name)(*args, **kwargs)
            return runner.run(coroutine)

        yield call
        runner.run(client.close())


def tensor(
    name: str, array: np.ndarray, datatype: str = "FP32", *, binary: bool = True
) -> sync_client.InferInput:
    """An input of a request."""
    made = sync_client.InferInput(name, list(array.shape), datatype)
    return made.set_data_from_numpy(array, binary_data=binary)


def refused(call: Call, *args: Any, **kwargs: Any) -> tuple[str, str]:
    """Status and words of the exception that a call raises."""
    with pytest.raises(InferenceServerException) as caught:
        call(*args, **kwargs)
    return str(caught.value.status()), str(caught.value.message())
