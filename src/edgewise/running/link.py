"""How a request reaches the cloud half: one method, ``send``."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import urllib3

from edgewise.errors import BadInput, LinkFailed
from edgewise.records import parse_json
from edgewise.wire import (
    HEADER_LENGTH_FIELD,
    Bound,
    Frame,
    Message,
    decode_reply,
    encode_request,
    max_frame_bytes,
)

BUNDLE_FIELD = "Edgewise-Bundle"
_STAGE = re.compile(r"([a-z]+);dur=(\d{1,9}(?:\.\d{1,6})?)")
_CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to send, what may come back, and how long it may take.

    Args:
        message: tensors with parameters; ``route`` and ``bundle`` among them.
        model: the bundle's name.
        reply_bounds: the tensors that a sound reply holds.
        timeout_s: from now until the last byte of the reply.
    """

    message: Message
    model: str
    reply_bounds: Sequence[Bound]
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A sound answer of the cloud half.

    Args:
        message: the output tensors.
        waited_s: from the call to the first byte of the reply.
        read_s: from there to the last byte.
        server_s: what the server says it spent, by stage (queue, decode, compute).
        up_bytes: length of the request's body.
        down_bytes: length of the reply's body.
    """

    message: Message
    waited_s: float
    read_s: float
    server_s: Mapping[str, float] = field(default_factory=dict)
    up_bytes: int
    down_bytes: int


class Link(Protocol):
    """Anything that carries requests; wrap one to add behaviour."""

    def send(self, request: Request) -> Reply:
        """The cloud half's answer.

        Raises:
            LinkFailed: when there is none, or it is not sound.
        """

    def close(self) -> None:
        """Free the connection."""


class HttpLink:
    """Open Inference Protocol over one kept-alive HTTP/1.1 connection.

    Args:
        url: where the server listens, such as ``http://127.0.0.1:8000``.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = urllib3.util.parse_url(url)
        except urllib3.exceptions.LocationParseError:
            parsed = urllib3.util.Url()
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise BadInput(
                expected="a server address such as http://127.0.0.1:8000",
                found=repr(url[:200]),
                remedy="copy the address that 'edgewise serve' prints",
            )
        self.url = url
        self._pool = urllib3.connection_from_url(url, maxsize=2, retries=False)

    def served_bundle(self, model: str, *, timeout_s: float) -> str:
        """Digest of the bundle that the server serves; empty when it does not say.

        Raises:
            LinkFailed: when there is no server.
        """
        try:
            response = self._pool.request(
                "GET", f"/v2/models/{model}", timeout=urllib3.Timeout(total=timeout_s)
            )
        except urllib3.exceptions.HTTPError as error:
            raise LinkFailed(_explain(error)) from None
        return str(response.headers.get(BUNDLE_FIELD, ""))

    def send(self, request: Request) -> Reply:
        """The cloud half's answer; see :class:`Link`."""
        frame = encode_request(request.message)
        start_s = time.perf_counter()
        try:
            response = self._pool.request(
                "POST",
                f"/v2/models/{request.model}/infer",
                body=frame.body,
                headers={
                    HEADER_LENGTH_FIELD: str(frame.header_bytes),
                    "Content-Type": "application/octet-stream",
                },
                timeout=urllib3.Timeout(total=request.timeout_s),
                preload_content=False,
                decode_content=False,
                redirect=False,
            )
            return _read_reply(response, request, frame, start_s)
        except urllib3.exceptions.HTTPError as error:
            raise LinkFailed(_explain(error)) from None
        except BadInput as error:
            raise LinkFailed(f"an unsound reply: {error}") from None

    def close(self) -> None:
        """Free the connection."""
        self._pool.close()


def _read_reply(
    response: urllib3.BaseHTTPResponse, request: Request, frame: Frame, start_s: float
) -> Reply:
    waited_s = time.perf_counter() - start_s
    if response.status != 200:
        raise LinkFailed(_explain_refusal(response))
    limit = max_frame_bytes(request.reply_bounds)
    body = _read_body(response, limit, start_s + request.timeout_s)
    header_bytes = response.headers.get(HEADER_LENGTH_FIELD, "")
    if not header_bytes.isascii() or not header_bytes.isdigit() or len(header_bytes) > 9:
        raise LinkFailed(f"a reply without {HEADER_LENGTH_FIELD}")
    reply = Frame(body=body, header_bytes=int(header_bytes))
    return Reply(
        message=decode_reply(reply, request.reply_bounds),
        waited_s=waited_s,
        read_s=time.perf_counter() - start_s - waited_s,
        server_s=_read_timing(response.headers.get("Server-Timing", "")),
        up_bytes=len(frame.body),
        down_bytes=len(body),
    )


def _read_body(response: urllib3.BaseHTTPResponse, limit: int, until_s: float) -> bytes:
    chunks: list[bytes] = []
    total = 0
    while chunk := response.read(_CHUNK_BYTES):
        total += len(chunk)
        chunks.append(chunk)
        if total > limit or time.perf_counter() > until_s:
            response.close()
            late = "took too long" if total <= limit else f"is longer than {limit} bytes"
            raise LinkFailed(f"the reply {late}")
    response.release_conn()
    return b"".join(chunks)


def _read_timing(text: str) -> dict[str, float]:
    # W3C Server Timing: durations are milliseconds.
    return {name: float(value) / 1e3 for name, value in _STAGE.findall(text[:1000])}


def _explain_refusal(response: urllib3.BaseHTTPResponse) -> str:
    raw = response.read(2000)
    response.release_conn()
    try:
        data = parse_json(raw, where="the reply")
    except BadInput:
        data = None
    text = data.get("error", "") if isinstance(data, dict) else ""
    return f"the server answered {response.status}: {str(text)[:300]}".rstrip(": ")


def _explain(error: urllib3.exceptions.HTTPError) -> str:
    for kind, words in _CAUSES:
        if isinstance(error, kind):
            return words
    return type(error).__name__


_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (urllib3.exceptions.ConnectTimeoutError, "the server cannot be reached in time"),
    (urllib3.exceptions.NameResolutionError, "the server's name is not known"),
    (urllib3.exceptions.NewConnectionError, "the connection was refused"),
    (urllib3.exceptions.ReadTimeoutError, "no answer in time"),
    (urllib3.exceptions.ProtocolError, "the connection broke"),
)
