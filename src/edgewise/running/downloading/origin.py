"""Where a bundle is downloaded from: asks once, and judges what is promised before it is read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import urllib3

from edgewise.bundle import MAX_MANIFEST_BYTES, ListedFile
from edgewise.errors import BadInput, LinkFailed
from edgewise.records import parse_json
from edgewise.running.linking.address import Address
from edgewise.running.linking.connection import FAILURES, TIMEOUTS, Connection, HttpRequest
from edgewise.running.linking.refusals import may_pass, refusal_words

_MAX_WORDS_BYTES = 65_536
_SHOWN_NAMES = 8


class Changed(LinkFailed):
    """The server has another version of the bundle by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A file's bytes on their way.

    Args:
        start: where in the file the first one belongs.
        pieces: the bytes; breaks off with LinkFailed.
    """

    start: int
    pieces: Iterator[bytes]


class Origin:
    """A server that gives out bundles; used by one thread.

    Args:
        url: where it listens.
        api_key: shown to it with every request.
        ca_path: PEM; trust these certificates instead of those that the system trusts.
        stall_s: how long to wait for the next byte.

    Raises:
        BadInput: when it is no such address, key or file.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        ca_path: Path | str | None = None,
        stall_s: float,
    ) -> None:
        self._address = Address(url, api_key=api_key, ca_path=ca_path)
        self._stall_s = stall_s
        self._kept: Connection | None = None

    @property
    def url(self) -> str:
        """Where the server listens."""
        return self._address.url

    def only_model(self) -> str:
        """The name of the one model that the server has.

        Raises:
            LinkFailed: when nobody answers.
            BadInput: when it has none, or several.
        """
        raw = self._read("POST", "/v2/repository/index", limit_bytes=MAX_MANIFEST_BYTES)
        names = _names(raw)
        if len(names) != 1:
            raise BadInput(
                expected=f"one model at {self.url}, or the name of one with --model",
                found=", ".join(names[:_SHOWN_NAMES]) or "none",
                remedy="name it with --model NAME" if names else "ask its operator",
            )
        return names[0]

    def manifest(self, model: str) -> bytes:
        """The bytes of a bundle's manifest; nothing has been checked but their length.

        Raises:
            LinkFailed: when nobody answers.
            BadInput: when there is no such model, or the server lets nobody in.
        """
        return self._read("GET", _path(model), limit_bytes=MAX_MANIFEST_BYTES)

    @contextlib.contextmanager
    def file(self, model: str, file: ListedFile, *, start: int) -> Iterator[Body]:
        """A file's bytes, from ``start`` on if the server can do that, else from the beginning.

        Raises:
            Changed: when the server has other bytes under that name by now.
            LinkFailed: when nobody answers, or the connection breaks.
            BadInput: when what is promised is not the file that the manifest lists.
        """
        tag = f'"{file.sha256}"'
        wish = {"Range": f"bytes={start}-", "If-Range": tag} if start else {}
        path = f"{_path(model)}/files/{quote(file.path, safe='')}"
        with self._asked("GET", path, wish) as (connection, response):
            begins = start if response.status == 206 else 0
            _check_promise(response, file, begins=begins, tag=tag)
            pieces = connection.pieces(response, stall_s=self._stall_s)
            yield Body(start=begins, pieces=self._told(pieces))

    def close(self) -> None:
        """Free the connection."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _read(self, method: str, path: str, *, limit_bytes: int) -> bytes:
        with self._asked(method, path, {}) as (connection, response):
            until_s = time.perf_counter() + self._stall_s
            with self._worded():
                return connection.read(response, limit_bytes=limit_bytes, until_s=until_s)

    @contextlib.contextmanager
    def _asked(
        self, method: str, path: str, wish: Mapping[str, str]
    ) -> Iterator[tuple[Connection, urllib3.BaseHTTPResponse]]:
        """A good answer that is still to be read; the connection is kept when it has been."""
        asked = HttpRequest(
            method=method,
            path=self._address.prefix + path,
            body=b"" if method == "POST" else None,
            headers={"Accept-Encoding": "identity", **self._address.fields, **wish},
        )
        connection = self._take()
        try:
            yield connection, self._good_answer(connection, asked)
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            self._kept = connection
        else:
            connection.close()

    def _good_answer(self, connection: Connection, asked: HttpRequest) -> urllib3.BaseHTTPResponse:
        until_s = time.perf_counter() + self._stall_s
        with self._worded():
            response = connection.ask(asked, until_s=until_s)
            if response.status in (200, 206):
                return response
            words = connection.read(response, limit_bytes=_MAX_WORDS_BYTES, until_s=until_s)
        raise self._refused(response.status, words)

    def _told(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        with self._worded():
            yield from pieces

    @contextlib.contextmanager
    def _worded(self) -> Iterator[None]:
        """What sockets raise, in the words of a person."""
        try:
            yield
        except TIMEOUTS:
            raise LinkFailed(f"no answer within {self._stall_s:g} s") from None
        except FAILURES as error:
            raise self._address.broken(error) from None

    def _take(self) -> Connection:
        kept, self._kept = self._kept, None
        if kept is not None and kept.reusable:
            return kept
        if kept is not None:
            kept.close()
        return self._address.connect()

    def _refused(self, status: int, words: bytes) -> Exception:
        said = refusal_words(status, words)
        if status == 401:
            return self._address.not_let_in()
        if may_pass(status):
            return LinkFailed(said)
        if status == 410:
            return Changed(said)
        return BadInput(
            expected=f"a bundle to download from {self.url}",
            found=f"that {said}",
            remedy="check the address and --model; the server must be an edgewise of this version",
        )


def _path(model: str) -> str:
    return f"/v2/models/{quote(model, safe='')}/bundle"


def _names(raw: bytes) -> list[str]:
    with contextlib.suppress(BadInput):
        index = parse_json(raw, where="the index of models", max_bytes=MAX_MANIFEST_BYTES)
        if isinstance(index, list):
            rows = (row.get("name") for row in index if isinstance(row, dict))
            return list(dict.fromkeys(name[:80] for name in rows if isinstance(name, str)))
    return []


def _check_promise(
    response: urllib3.BaseHTTPResponse, file: ListedFile, *, begins: int, tag: str
) -> None:
    """Refuse other bytes than those that the manifest lists before one of them is read."""
    if response.headers.get("ETag", tag) != tag:
        raise Changed("the server has another version of the bundle by now")
    left = file.bytes - begins
    found = response.headers.get("Content-Length", "none")
    if found != str(left):
        raise _lie(file, f"Content-Length {left}", found)
    wanted = f"bytes {begins}-{file.bytes - 1}/{file.bytes}"
    found = response.headers.get("Content-Range", "none")
    if response.status == 206 and found != wanted:
        raise _lie(file, f"Content-Range {wanted!r}", repr(found[:80]))


def _lie(file: ListedFile, expected: str, found: str) -> BadInput:
    return BadInput(
        expected=f"{expected} for {file.path}, as the bundle's manifest lists it",
        found=found[:90],
        remedy="tell the server's operator; nothing of it was kept",
    )
