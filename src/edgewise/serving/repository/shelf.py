"""What a device downloads of a bundle: the manifest, and the files of its own side alone.

Every file is named by its SHA-256 in ``ETag``, so that what broke off can go on where it was.
Sources: RFC 9110, sections 13 (conditional requests) and 14 (ranges).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from edgewise.bundle import Bundle, ListedFile
from edgewise.errors import BadInput
from edgewise.serving.protocol.fields import only
from edgewise.serving.protocol.refusals import refusal

_CHUNK_BYTES = 262_144
_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})", re.IGNORECASE)
_Mark = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Bytes of a file that are asked for.

    Args:
        start: the first one.
        stop: behind the last one.
        is_part: whether a range was asked for.
    """

    start: int
    stop: int
    is_part: bool


class Shelf:
    """The files of one bundle that a device may have.

    A file is checked against the manifest when it is first asked for, and again whenever
    something has touched it since.

    Args:
        bundle: open; its folder is read from when somebody asks.

    Raises:
        BadInput: when the manifest is no longer the one that was opened.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._manifest = bundle.manifest_bytes()
        self._files = {file.path: file for file in bundle.manifest.device_files}
        self._checked: dict[str, _Mark] = {}

    @property
    def path(self) -> Path:
        """The folder that is read from."""
        return self._bundle.path

    def manifest(self, headers: Headers) -> Response:
        """The manifest, to the byte: its SHA-256 is the bundle's digest."""
        tag = _tag(self._bundle.digest)
        if _is_known(headers, tag):
            return Response(status_code=304, headers={"ETag": tag})
        return Response(self._manifest, media_type="application/json", headers={"ETag": tag})

    async def file(self, request: Request) -> Response:
        """A file, or the range of it that is asked for.

        Raises:
            HTTPException: 404 for what is not for devices, 410 for what is no longer what the
                manifest lists, 416 for a range beyond the end.
        """
        file = self._find(request.path_params["file"])
        tag = _tag(file.sha256)
        fields = {"ETag": tag, "Accept-Ranges": "bytes"}
        if _is_known(request.headers, tag):
            return Response(status_code=304, headers=fields)
        is_head = request.method == "HEAD"  # for which no range is defined
        asked = Headers() if is_head else request.headers
        stretch = read_range(asked, tag=tag, size=file.bytes)
        mark = await anyio.to_thread.run_sync(self._check, file)
        if stretch.is_part:
            fields["Content-Range"] = f"bytes {stretch.start}-{stretch.stop - 1}/{file.bytes}"
        fields |= {
            "Content-Length": str(stretch.stop - stretch.start),
            "Content-Type": "application/octet-stream",
        }
        status = 206 if stretch.is_part else 200
        if is_head:
            return Response(status_code=status, headers=fields)
        pieces = self._pieces(file, stretch, mark)
        return StreamingResponse(pieces, status_code=status, headers=fields)

    def _find(self, path: str) -> ListedFile:
        file = self._files.get(path)
        if file is None:
            raise refusal(
                404,
                expected="a file that the bundle's manifest lists for the device",
                found="another name",
                remedy="ask for the path of a part whose side is device or both, or of the probe",
            )
        return file

    def _check(self, file: ListedFile) -> _Mark:
        try:
            with self._bundle.open_file(file) as stream:
                mark = _mark(stream.fileno())
                if self._checked.get(file.path) != mark:
                    if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                        raise _gone()
                    self._checked[file.path] = mark
        except BadInput:
            raise _gone() from None  # its words name folders of this machine
        return mark

    async def _pieces(
        self, file: ListedFile, stretch: Stretch, mark: _Mark
    ) -> AsyncIterator[bytes]:
        with self._bundle.open_file(file) as stream:
            if _mark(stream.fileno()) != mark:
                raise _gone()  # too late for a status: the connection breaks, and that is seen
            stream.seek(stretch.start)
            left = stretch.stop - stretch.start
            while left:
                piece = await anyio.to_thread.run_sync(stream.read, min(left, _CHUNK_BYTES))
                if not piece:
                    raise _gone()
                left -= len(piece)
                yield piece


def read_range(headers: Headers, *, tag: str, size: int) -> Stretch:
    """What of a file is asked for; all of it unless one range in bytes is, of the same file.

    Args:
        headers: of the request.
        tag: the file's entity tag; another one in ``If-Range`` asks for the whole new file.
        size: of the file, in bytes.

    Raises:
        HTTPException: 416 when the range begins behind the end.

    >>> read_range(Headers({"range": "bytes=2-"}), tag='"t"', size=10)
    Stretch(start=2, stop=10, is_part=True)
    """
    whole = Stretch(start=0, stop=size, is_part=False)
    asked = _RANGE.fullmatch(only(headers, "range") or "")
    if asked is None or headers.get("if-range", tag) != tag:
        return whole
    first, last = asked.groups()
    if (not first and not last) or (first and last and int(last) < int(first)):
        return whole
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size:
        raise refusal(
            416,
            expected=f"a range that begins within the file's {size} bytes",
            found="one behind its end",
            remedy="ask for the whole file",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return Stretch(start=start, stop=stop, is_part=True)


def _tag(sha256: str) -> str:
    return f'"{sha256}"'


def _is_known(headers: Headers, tag: str) -> bool:
    known = ",".join(headers.getlist("if-none-match"))
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in known.split(","))


def _mark(descriptor: int) -> _Mark:
    """Changes whenever the file is written to or replaced."""
    status = os.fstat(descriptor)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _gone() -> HTTPException:
    return refusal(
        410,
        expected="the file that the bundle had when this server read it",
        found="another one, or none",
        remedy="download the bundle that is served now; if that fails too, its operator has to put"
        " a whole one there and send SIGHUP",
    )
