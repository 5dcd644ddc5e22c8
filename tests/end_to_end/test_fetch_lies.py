"""Servers that give a download something else than they say: nothing of it is believed."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path

import pytest

from downloads import (
    HURRIED,
    FileBehaviour,
    asked_of,
    device_files,
    files_in,
    handing_out,
    honest,
    names_in,
    small,
)
from edgewise.bundle import MANIFEST, Bundle, open_bundle
from edgewise.errors import BadInput, EdgewiseError, LinkFailed
from edgewise.running import download_bundle
from session_servers import LyingServer, Seen, answer, error, http

pytestmark = [pytest.mark.net, pytest.mark.engine]
FIRST = "full.onnx"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small(tmp_path_factory.mktemp("served") / "bundle")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "device" / "b"


def staged(target: Path) -> Path:
    return target.parent / f".{target.name}.fetch"


def only_first(behave: FileBehaviour) -> FileBehaviour:
    """Lie about the first file, be honest about the others."""

    def choose(sock: socket.socket, seen: Seen, raw: bytes) -> None:
        (behave if f"/{FIRST} " in seen.line else honest)(sock, seen, raw)

    return choose


def test_an_honest_server_of_another_make_will_do(bundle: Bundle, target: Path) -> None:
    with handing_out(bundle, honest) as server:
        download_bundle(server.url, target)
    assert files_in(target) == device_files(bundle)


def test_a_server_without_ranges_is_asked_for_everything_again(
    bundle: Bundle, target: Path
) -> None:
    tries = iter(range(99))

    def breaking(sock: socket.socket, seen: Seen, raw: bytes) -> None:
        if next(tries) == 0:
            sock.sendall(http(raw)[:-7])
            sock.shutdown(socket.SHUT_RDWR)
        else:
            honest(sock, seen, raw)

    with handing_out(bundle, only_first(breaking)) as server:
        download = download_bundle(server.url, target, patience=HURRIED)
        first, second = asked_of(server, FIRST)
    size, sha256 = bundle.manifest.part("full").bytes, bundle.manifest.part("full").sha256
    assert "range" not in first.headers
    assert second.headers["range"] == f"bytes={size - 7}-"
    assert second.headers["if-range"] == f'"{sha256}"'
    assert download.files[0].sent_bytes == 2 * size - 7
    assert files_in(target) == device_files(bundle)


def test_what_an_earlier_process_spoilt_is_fetched_anew(bundle: Bundle, target: Path) -> None:
    part = bundle.manifest.part("full")
    staged(target).mkdir(parents=True)
    (staged(target) / f"{part.sha256}.part").write_bytes(b"\0" * 10)
    (staged(target) / "head.onnx").write_bytes(b"half of it")
    (staged(target) / "rubbish").write_bytes(b"")

    def ranges(sock: socket.socket, seen: Seen, raw: bytes) -> None:
        if "range" not in seen.headers:
            return honest(sock, seen, raw)
        place = f"bytes 10-{len(raw) - 1}/{len(raw)}"
        sock.sendall(http(raw[10:], status="206 Partial Content", Content_Range=place))
        return None

    with handing_out(bundle, only_first(ranges)) as server:
        download_bundle(server.url, target)
        assert len(asked_of(server, FIRST)) == 2
    assert files_in(target) == device_files(bundle)
    assert names_in(target.parent) == ["b"]


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
def test_a_busy_server_is_asked_again(bundle: Bundle, target: Path, status: str) -> None:
    tries = iter(range(99))

    def busy(sock: socket.socket, seen: Seen, raw: bytes) -> None:
        if next(tries) < 2:
            sock.sendall(error(status, "later"))
        else:
            honest(sock, seen, raw)

    with handing_out(bundle, only_first(busy)) as server:
        download_bundle(server.url, target, patience=HURRIED)
    assert files_in(target) == device_files(bundle)


def _chunked(sock: socket.socket, seen: Seen, raw: bytes) -> None:
    head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    sock.sendall(head.encode())
    while True:
        sock.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")


def _endless(sock: socket.socket, seen: Seen, raw: bytes) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        sock.sendall(bytes(65_536))


def _promise(length: int) -> FileBehaviour:
    return lambda sock, seen, raw: sock.sendall(http(raw, length=len(raw) + length))


def _range(text: str) -> FileBehaviour:
    return lambda sock, seen, raw: sock.sendall(
        http(raw, status="206 Partial Content", Content_Range=text)
    )


SIZE = r"[0-9]+"
OTHER, NONE = "'bytes 5-9/10'", "'none'"
TELL = "; tell the server's operator; nothing of it was kept"
LISTED = rf"for full\.onnx, as the bundle's manifest lists it, found {{}}{TELL}"
LIES: dict[str, tuple[FileBehaviour, str]] = {
    "too long": (_promise(1), f"expected Content-Length {SIZE} {LISTED.format(SIZE)}"),
    "too short": (_promise(-1), f"expected Content-Length {SIZE} {LISTED.format(SIZE)}"),
    "huge": (_promise(10**15), f"expected Content-Length {SIZE} {LISTED.format(SIZE)}"),
    "chunked without end": (_chunked, f"expected Content-Length {SIZE} {LISTED.format('none')}"),
    "without end": (_endless, f"expected Content-Length {SIZE} {LISTED.format('none')}"),
    "a range that nobody asked for": (
        _range("bytes 5-9/10"),
        f"expected Content-Range 'bytes 0-{SIZE}/{SIZE}' {LISTED.format(OTHER)}",
    ),
    "a range nowhere": (
        lambda sock, seen, raw: sock.sendall(http(raw, status="206 Partial Content")),
        f"expected Content-Range 'bytes 0-{SIZE}/{SIZE}' {LISTED.format(NONE)}",
    ),
    "other bytes": (
        lambda sock, seen, raw: sock.sendall(http(bytes(len(raw)))),
        r"expected full\.onnx with the SHA-256 that the manifest lists, [0-9a-f]{64}, "
        "found other bytes; run it again; if it stays so, tell the server's operator",
    ),
    "not found": (
        lambda sock, seen, raw: sock.sendall(error("404 Not Found", "no such file")),
        "expected a bundle to download from .*, found that the server answered 404: no such file;",
    ),
    "elsewhere": (
        lambda sock, seen, raw: sock.sendall(http(b"", status="302 Found", Location="http://x")),
        "expected a bundle to download from .*, found that the server answered 302: it sends us",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_and_nothing_of_it_kept(bundle: Bundle, target: Path, name: str) -> None:
    behave, message = LIES[name]
    with (
        handing_out(bundle, only_first(behave)) as server,
        pytest.raises(BadInput, match=f"^{message}"),
    ):
        download_bundle(server.url, target, patience=HURRIED)
    assert not target.exists()
    assert not staged(target).exists()


def test_bytes_behind_the_end_go_nowhere(bundle: Bundle, target: Path) -> None:
    def more(sock: socket.socket, seen: Seen, raw: bytes) -> None:
        sock.sendall(http(raw) + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")

    with handing_out(bundle, more) as server:
        download_bundle(server.url, target, patience=HURRIED)
    assert files_in(target) == device_files(bundle)


def test_another_version_of_a_file_is_no_file_of_this_bundle(bundle: Bundle, target: Path) -> None:
    def newer(sock: socket.socket, seen: Seen, raw: bytes) -> None:
        sock.sendall(http(raw, ETag=f'"{"0" * 64}"'))

    with handing_out(bundle, only_first(newer)) as server:
        with pytest.raises(LinkFailed) as failure:
            download_bundle(server.url, target, patience=HURRIED)
        assert str(failure.value) == (
            "the server does not have the files that its manifest lists: "
            "the server has another version of the bundle by now"
        )
        assert len(asked_of(server, FIRST)) == 3
    assert not target.exists()


def test_a_bundle_that_changes_on_the_way_is_begun_anew(
    tmp_path: Path, bundle: Bundle, target: Path
) -> None:
    newer = small(tmp_path / "newer", version=2, seed=1)
    offers = iter([bundle, newer])

    def give(sock: socket.socket, seen: Seen) -> None:
        name = seen.line.split()[1].rpartition("/")[2]
        if name == "bundle":
            sock.sendall(http((next(offers).path / MANIFEST).read_bytes()))
        else:
            raw = (newer.path / name).read_bytes()
            sock.sendall(http(raw, ETag=f'"{hashlib.sha256(raw).hexdigest()}"'))

    with LyingServer(greet=give, infer=give).running() as server:
        download = download_bundle(server.url, target, model="tiny", patience=HURRIED)
    assert download.bundle.digest == newer.digest
    assert files_in(target) == device_files(newer)


def test_a_connection_that_gives_nothing_is_given_up(bundle: Bundle, target: Path) -> None:
    def silent(sock: socket.socket, seen: Seen, raw: bytes) -> None:
        sock.sendall(http(raw)[: -len(raw)])
        sock.shutdown(socket.SHUT_RDWR)

    with handing_out(bundle, only_first(silent)) as server:
        with pytest.raises(LinkFailed) as failure:
            download_bundle(server.url, target, patience=HURRIED)
        assert len(asked_of(server, FIRST)) == 6
    total = sum(file.bytes for file in bundle.manifest.device_files)
    assert str(failure.value) == (
        f"the connection broke; 0 of {total} bytes are kept, run it again to go on"
    )


# The manifest


def _manifest(bundle: Bundle, **changes: object) -> bytes:
    data = json.loads((bundle.path / MANIFEST).read_bytes())
    return json.dumps(data | changes).encode()


@pytest.mark.parametrize(
    "path",
    [
        "../full.onnx",
        "/etc/full.onnx",
        "..",
        "a/full.onnx",
        "..\\full.onnx",
        "bundle.json",
        "full.so",
        ".onnx",
    ],
)
def test_a_path_that_leaves_the_bundle_is_refused(bundle: Bundle, target: Path, path: str) -> None:
    data = json.loads((bundle.path / MANIFEST).read_bytes())
    data["parts"][0]["path"] = path
    with handing_out(bundle, honest, manifest=json.dumps(data).encode()) as server:
        with pytest.raises(BadInput, match=r"expected a (plain )?file name"):
            download_bundle(server.url, target)
        assert not any("/files/" in seen.line for seen in server.seen)
    assert names_in(target.parent) == []


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"", "expected valid JSON in the manifest from http"),
        (b"<html>", "expected valid JSON in the manifest from http.*; check that an edgewise of"),
        (b"[" * 100_000, "expected "),
        (b" " * 4_000_001, "the reply is longer than 4000000 bytes"),
        (b'{"schema": 99}', "expected schema 1 in the manifest from"),
    ],
)
def test_a_manifest_that_is_none_is_refused(
    bundle: Bundle, target: Path, manifest: bytes, message: str
) -> None:
    with (
        handing_out(bundle, honest, manifest=manifest) as server,
        pytest.raises(EdgewiseError, match=message),
    ):
        download_bundle(server.url, target, model="tiny")
    assert names_in(target.parent) == []


def test_the_manifest_of_another_model_is_refused(bundle: Bundle, target: Path) -> None:
    with (
        handing_out(bundle, honest, manifest=_manifest(bundle, name="dog")) as server,
        pytest.raises(BadInput, match=r"expected the manifest of 'tiny' .* that of 'dog'"),
    ):
        download_bundle(server.url, target)


def test_a_manifest_that_lists_more_than_the_disk_holds_is_refused(
    bundle: Bundle, target: Path
) -> None:
    data = json.loads((bundle.path / MANIFEST).read_bytes())
    extra = [
        {**data["parts"][0], "name": f"p{i}", "path": f"p{i}.onnx", "bytes": 2**31}
        for i in range(4_000)
    ]
    raw = json.dumps(data | {"parts": [*data["parts"], *extra]}).encode()
    assert len(raw) < 4_000_000
    with handing_out(bundle, honest, manifest=raw) as server:
        with pytest.raises(BadInput, match=r"expected 85899[0-9]+ bytes free in"):
            download_bundle(server.url, target)
        assert not any("/files/" in seen.line for seen in server.seen)
    assert names_in(target.parent) == []


@pytest.mark.parametrize(
    ("index", "found"),
    [
        ([], "none"),
        ([{"name": "a"}, {"name": "b"}, {"name": "a"}], "a, b"),
        ({"name": "a"}, "none"),
        ([3, {"name": 4}], "none"),
    ],
)
def test_the_model_has_to_be_named_unless_there_is_one(
    bundle: Bundle, target: Path, index: object, found: str
) -> None:
    with handing_out(bundle, honest) as server:
        server.infer = answer(http(json.dumps(index).encode()))
        with pytest.raises(BadInput) as refusal:
            download_bundle(server.url, target)
        assert (
            refusal.value.expected == f"one model at {server.url}, or the name of one with --model"
        )
        assert refusal.value.found == found


def test_the_former_bundle_stays_whatever_the_server_does(bundle: Bundle, target: Path) -> None:
    with handing_out(bundle, honest) as server:
        download_bundle(server.url, target)
    newer = _manifest(bundle, version=2, labels=["other"])
    data = json.loads(newer)
    data["parts"][0]["sha256"] = "0" * 64
    with (
        handing_out(bundle, honest, manifest=json.dumps(data).encode()) as server,
        pytest.raises(BadInput, match="found other bytes"),
    ):
        download_bundle(server.url, target)
    assert files_in(target) == device_files(bundle)
    assert open_bundle(target).read_part("full")
