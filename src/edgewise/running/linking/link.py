"""How a request reaches the cloud half over HTTP."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import urllib3

from edgewise.errors import BadInput, LinkFailed
from edgewise.running.linking.address import Address
from edgewise.running.linking.connection import FAILURES, TIMEOUTS, Connection, HttpRequest
from edgewise.running.linking.exchange import Refused, Reply, Request
from edgewise.running.linking.refusals import (
    answered_words,
    json_field,
    may_pass,
    one_line,
    refusal_words,
)
from edgewise.wire import (
    DIGEST_FIELD,
    HEADER_LENGTH_FIELD,
    Frame,
    Message,
    decode_reply,
    encode_request,
    max_frame_bytes,
)

_STAGE = re.compile(r"([a-z]+);dur=([0-9]{1,9}(?:\.[0-9]{1,6})?)")
_LENGTH = re.compile(r"[0-9]{1,9}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_METADATA_BYTES = 262_144


class HttpLink:
    """Open Inference Protocol over kept-alive HTTP/1.1 connections; mostly there is one.

    Args:
        url: where the server listens, such as ``http://127.0.0.1:8000``.
        api_key: sent with every request, to this server alone.
        ca_path: PEM; trust these certificates instead of those that the system trusts.

    Raises:
        BadInput: when it is no such address, key or file.
    """

    def __init__(
        self, url: str, *, api_key: str | None = None, ca_path: Path | str | None = None
    ) -> None:
        self._address = Address(url, api_key=api_key, ca_path=ca_path)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()

    @property
    def url(self) -> str:
        """Where the server listens."""
        return self._address.url

    def served_bundle(self, model: str, digest: str, *, timeout_s: float) -> str:
        """Digest of the bundle that is served under that name; empty when nobody says.

        Args:
            model: the name.
            digest: of the bundle that is wanted, should the server have several.
            timeout_s: for the answer.

        Raises:
            LinkFailed: when nobody answers.
            TimeoutError: when nobody answers in time.
            BadInput: when what answers does not serve such a model, nor will it later.
        """
        until_s = time.perf_counter() + timeout_s
        fields = {**self._address.fields, DIGEST_FIELD: digest}
        asked = HttpRequest(method="GET", path=self._path(model), headers=fields)
        with self._borrowed() as connection:
            response = connection.ask(asked, until_s=until_s)
            raw = connection.read(response, limit_bytes=_MAX_METADATA_BYTES, until_s=until_s)
        if may_pass(response.status):
            raise LinkFailed(refusal_words(response.status, raw))
        if response.status == 401:
            raise self._address.not_let_in()
        if response.status != 200:
            raise self._not_serving(
                model, f"one that answered {answered_words(response.status, raw)}"
            )
        if json_field(raw, "name") != model:
            raise self._not_serving(model, "something else that speaks HTTP")
        digest = str(response.headers.get(DIGEST_FIELD, ""))
        return digest if _DIGEST.fullmatch(digest) else ""

    def send(self, request: Request) -> Reply:
        """The cloud half's answer; see :class:`Link`."""
        frame = encode_request(request.message)
        asked = self._frame_request(request.model, "infer", frame)
        start_s = time.perf_counter()
        with self._borrowed() as connection:
            response = connection.ask(asked, until_s=start_s + request.timeout_s)
            waited_s = time.perf_counter() - start_s
            body = connection.read(
                response,
                limit_bytes=max_frame_bytes(request.reply_bounds),
                until_s=start_s + request.timeout_s,
            )
        return Reply(
            message=_read_reply(response, body, request),
            waited_s=waited_s,
            read_s=time.perf_counter() - start_s - waited_s,
            server_s=_read_timing(response.headers.get("Server-Timing", "")),
            up_bytes=len(frame.body),
            down_bytes=len(body),
        )

    def post(
        self, model: str, verb: str, frame: Frame, *, limit_bytes: int, timeout_s: float
    ) -> tuple[int, bytes]:
        """Status and body of whatever the server answers to a frame.

        Args:
            model: the bundle's name.
            verb: the last part of the path.
            frame: the request's body.
            limit_bytes: the longest reply that is read.
            timeout_s: from now until the last byte of the reply.

        Raises:
            LinkFailed: when nobody answers, or at too great a length.
            TimeoutError: when nobody answers in time.
        """
        until_s = time.perf_counter() + timeout_s
        asked = self._frame_request(model, verb, frame)
        with self._borrowed() as connection:
            response = connection.ask(asked, until_s=until_s)
            raw = connection.read(response, limit_bytes=limit_bytes, until_s=until_s)
        return response.status, raw

    def close(self) -> None:
        """End the sends that are under way, and free the connections."""
        with self._lock:
            idle, self._idle = self._idle, []
            for connection in self._busy:
                connection.cut()
        for connection in idle:
            connection.close()

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[Connection]:
        connection = self._take()
        try:
            yield connection
        except TIMEOUTS:
            connection.close()
            raise TimeoutError from None
        except FAILURES as error:
            connection.close()
            raise self._address.broken(error) from None
        except BaseException:
            connection.close()
            raise
        finally:
            self._give_back(connection)

    def _take(self) -> Connection:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
            if connection is None or not connection.reusable:
                if connection is not None:
                    connection.close()
                connection = self._address.connect()
            self._busy.add(connection)
            return connection

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            self._busy.discard(connection)
            if connection.reusable:
                self._idle.append(connection)
            else:
                connection.close()

    def _frame_request(self, model: str, verb: str, frame: Frame) -> HttpRequest:
        return HttpRequest(
            method="POST",
            path=f"{self._path(model)}/{verb}",
            body=frame.body,
            headers={
                HEADER_LENGTH_FIELD: str(frame.header_bytes),
                "Content-Type": "application/octet-stream",
                **self._address.fields,
            },
        )

    def _path(self, model: str) -> str:
        return f"{self._address.prefix}/v2/models/{quote(model, safe='')}"

    def _not_serving(self, model: str, found: str) -> BadInput:
        return BadInput(
            expected=f"a server of the model {model!r} at {self.url}",
            found=found,
            remedy="start one with: edgewise serve BUNDLE; and pass the address that it prints",
        )


def _read_reply(response: urllib3.BaseHTTPResponse, body: bytes, request: Request) -> Message:
    if response.status != 200:
        raise Refused(refusal_words(response.status, body), response.status)
    length = response.headers.get(HEADER_LENGTH_FIELD, "")
    if not _LENGTH.fullmatch(length):
        raise LinkFailed(f"a reply without {HEADER_LENGTH_FIELD}")
    try:
        message = decode_reply(Frame(body=body, header_bytes=int(length)), request.reply_bounds)
    except BadInput as error:
        found = f"expected {error.expected}, found {error.found}"
        raise LinkFailed(f"an unsound reply: {one_line(found)}") from None
    if message.id not in ("", request.message.id):
        raise LinkFailed("an unsound reply: it answers another request")
    for name, array in message.tensors.items():
        # Our inputs are finite: something overflowed on the way or broke, and NaN decides nothing.
        if np.issubdtype(array.dtype, np.floating) and np.isnan(array).any():
            raise LinkFailed(f"an unsound reply: NaN in {name!r}")
    return message


def _read_timing(text: str) -> dict[str, float]:
    # W3C Server Timing: durations are milliseconds.
    return {name: float(value) / 1e3 for name, value in _STAGE.findall(text[:1000])}
