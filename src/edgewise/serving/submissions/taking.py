"""``POST /v2/models/{model}/submit``: stored first, acknowledged after, in effect once.

The body is a frame as ``infer`` takes it. The key is the frame's parameter ``key``, or the
header ``Idempotency-Key``; the reply is ``{"key", "digest", "stored_at", "duplicate"}``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edgewise.serving.access.access import Admission
from edgewise.serving.observing.account import account_of
from edgewise.serving.protocol.compression import refuse_compression
from edgewise.serving.protocol.fields import only
from edgewise.serving.protocol.refusals import error_reply, refusal
from edgewise.serving.protocol.requests import declared_bytes, header_bytes, read_body
from edgewise.serving.submissions.stored import KeyTaken, Stored, StoreFailed
from edgewise.submission import MAX_SUBMISSION_BYTES, check_key, read_submission

if TYPE_CHECKING:
    from edgewise.serving.submissions.submission_store import SubmissionStore

KEY_FIELD = "Idempotency-Key"
_log = logging.getLogger("edgewise.serving")


async def take_submission(
    request: Request,
    store: SubmissionStore | None,
    *,
    timeout_s: float,
    admission: Admission,
    writers: anyio.CapacityLimiter,
) -> Response:
    """Store one submission.

    Args:
        request: for a model that is served.
        store: where it goes; ``None`` refuses it.
        timeout_s: its body must be there within this time.
        admission: what is under way.
        writers: how many write at once.

    Raises:
        HTTPException: when the request is no submission, or there is no store.
    """
    if store is None:
        raise _switched_off()
    key = only(request.headers, KEY_FIELD) or ""
    if KEY_FIELD in request.headers:
        check_key(key)
    refuse_compression(request.headers)
    nbytes = declared_bytes(
        request.headers, limit_bytes=MAX_SUBMISSION_BYTES, remedy="submit less at once"
    )
    start = header_bytes(request.headers, body_bytes=nbytes)
    model = request.path_params["model"]
    with admission.of(nbytes):
        body = await read_body(request, nbytes, timeout_s=timeout_s)

        def keep() -> tuple[Stored, bool]:
            submission = read_submission(body, header_bytes=start, key=key)
            return store.store(model, submission, bytes(body), start)

        try:
            stored, duplicate = await anyio.to_thread.run_sync(keep, limiter=writers)
        except KeyTaken as error:
            account_of(request.scope).refused = "key_taken"
            return error_reply(409, str(error))
        except StoreFailed as error:
            _log.error("a submission was not stored: %s", error)
            return error_reply(503, _NOT_STORED, {"Retry-After": "10"})
    return _acknowledge(stored, duplicate=duplicate)


def _acknowledge(stored: Stored, *, duplicate: bool) -> Response:
    return JSONResponse(
        {
            "key": stored.key,
            "digest": stored.digest,
            "stored_at": stored.stored_at,
            "duplicate": duplicate,
        }
    )


def _switched_off() -> HTTPException:
    return refusal(
        501,
        expected="a server that takes submissions",
        found="one that does not",
        remedy="start it with: edgewise serve BUNDLE --submissions sqlite:///FILE",
    )


_NOT_STORED = (
    "expected the server's database to take this, found that it did not;"
    " nothing was stored: submit again later, under the same key"
)
