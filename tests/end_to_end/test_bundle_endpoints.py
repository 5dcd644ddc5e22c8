"""What a server gives out of its bundle: the device's files, to the byte, and nothing else."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from command_line import serving, type_command
from edgewise.bundle import MANIFEST, Bundle
from edgewise.running import connect
from edgewise.serving import RunningServer, server_process
from probed_bundles import probed
from session_bundles import image, session_bundle

pytestmark = [pytest.mark.net, pytest.mark.engine]
PATH = "/v2/models/tiny/bundle"


@dataclass(frozen=True, kw_only=True)
class Got:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        return json.loads(self.body)["error"]


def get(url: str, path: str, *, method: str = "GET", **headers: str) -> Got:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    try:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=fields)
        response = connection.getresponse()
        body = response.read()
        lower = {name.lower(): value for name, value in response.getheaders()}
        return Got(status=response.status, headers=lower, body=body)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("served") / "bundle"
    return probed(session_bundle(folder, "split-fp32", "split-int8", "cloud-png", "local"))


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[RunningServer]:
    with server_process(bundle.path) as running:
        yield running


@pytest.mark.parametrize("path", [PATH, "/v2/models/tiny/versions/1/bundle"])
def test_the_manifest_is_given_to_the_byte(
    bundle: Bundle, server: RunningServer, path: str
) -> None:
    got = get(server.url, path)
    assert (got.status, got.headers["content-type"]) == (200, "application/json")
    assert got.body == (bundle.path / MANIFEST).read_bytes()
    assert got.headers["etag"] == f'"{bundle.digest}"'
    assert hashlib.sha256(got.body).hexdigest() == bundle.digest
    known = get(server.url, path, If_None_Match=f'"{bundle.digest}"')
    assert (known.status, known.body) == (304, b"")


def test_every_file_of_the_device_is_given(bundle: Bundle, server: RunningServer) -> None:
    names = {file.path for file in bundle.manifest.device_files}
    assert {"full.onnx", "head.onnx", "head-byte.onnx", "probe.bin"} <= names
    for file in bundle.manifest.device_files:
        got = get(server.url, f"{PATH}/files/{file.path}")
        assert got.status == 200
        assert got.headers["etag"] == f'"{file.sha256}"'
        assert got.headers["content-length"] == str(file.bytes)
        assert hashlib.sha256(got.body).hexdigest() == file.sha256


@pytest.mark.parametrize(
    "name",
    ["tail.onnx", "tail-byte.onnx", "bundle.json", "..%2Fbundle.json", "%2e%2e", "nose", "/etc"],
)
def test_nothing_else_is_given(server: RunningServer, name: str) -> None:
    got = get(server.url, f"{PATH}/files/{name}")
    assert got.status == 404
    assert got.error.startswith("expected a ")


def test_another_model_or_version_is_unknown(server: RunningServer) -> None:
    for path in ("/v2/models/other/bundle", "/v2/models/tiny/versions/9/bundle/files/full.onnx"):
        assert get(server.url, path).status == 404


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, None),
        ("bytes=5-9", 5, 10),
        ("bytes=-7", -7, None),
        ("bytes=3-99999999", 3, None),
        ("bytes=-99999999", 0, None),
        ("BYTES=5-9", 5, 10),
    ],
)
def test_a_range_is_given(
    bundle: Bundle, server: RunningServer, asked: str, start: int, stop: int | None
) -> None:
    raw = bundle.read_part("full")
    first, last, _ = slice(start, stop).indices(len(raw))
    got = get(server.url, f"{PATH}/files/full.onnx", Range=asked)
    assert got.status == 206
    assert got.body == raw[start:stop]
    assert got.headers["content-range"] == f"bytes {first}-{last - 1}/{len(raw)}"
    assert got.headers["content-length"] == str(len(got.body))


@pytest.mark.parametrize("asked", ["bytes=9-5", "bytes=-", "bytes=1-2,4-5", "lines=1-2", "bytes"])
def test_what_is_no_single_range_gets_everything(
    bundle: Bundle, server: RunningServer, asked: str
) -> None:
    got = get(server.url, f"{PATH}/files/full.onnx", Range=asked)
    assert (got.status, got.body) == (200, bundle.read_part("full"))


def test_a_range_behind_the_end_is_refused(bundle: Bundle, server: RunningServer) -> None:
    size = bundle.manifest.part("full").bytes
    for asked in (f"bytes={size}-", "bytes=-0"):
        got = get(server.url, f"{PATH}/files/full.onnx", Range=asked)
        assert (got.status, got.headers["content-range"]) == (416, f"bytes */{size}")
        assert got.error == (
            f"expected a range that begins within the file's {size} bytes, "
            "found one behind its end; ask for the whole file"
        )


def test_a_range_of_another_file_gets_everything(bundle: Bundle, server: RunningServer) -> None:
    path, tag = f"{PATH}/files/full.onnx", f'"{bundle.manifest.part("full").sha256}"'
    assert get(server.url, path, Range="bytes=5-", If_Range=tag).status == 206
    assert get(server.url, path, Range="bytes=5-", If_Range='"other"').status == 200
    assert get(server.url, path, If_None_Match=f'"x", W/{tag}').status == 304


def test_head_gives_the_length_alone(bundle: Bundle, server: RunningServer) -> None:
    got = get(server.url, f"{PATH}/files/full.onnx", method="HEAD")
    assert (got.status, got.body) == (200, b"")
    assert got.headers["content-length"] == str(bundle.manifest.part("full").bytes)


@pytest.mark.parametrize("asked", ["bytes=2-5", "bytes=999999999-"])
def test_head_of_a_range_is_that_of_the_file(
    bundle: Bundle, server: RunningServer, asked: str
) -> None:
    """RFC 9110, section 14.2: a range means something with GET alone."""
    got = get(server.url, f"{PATH}/files/full.onnx", method="HEAD", Range=asked)
    assert got.status == 200
    assert got.headers["content-length"] == str(bundle.manifest.part("full").bytes)


def test_a_file_that_was_changed_under_the_server_is_not_given(tmp_path: Path) -> None:
    bundle = session_bundle(tmp_path / "bundle", "split-fp32", "local")
    with server_process(bundle.path) as server:
        path = f"{PATH}/files/head.onnx"
        assert get(server.url, path).status == 200
        size = bundle.manifest.part("head").bytes
        for spoil in (b"\0" * size, b"short", None):
            if spoil is None:
                (bundle.path / "head.onnx").unlink()
            else:
                (bundle.path / "head.onnx").write_bytes(spoil)
            got = get(server.url, path)
            assert got.status == 410
            assert got.error == (
                "expected the file that the bundle had when this server read it, found another "
                "one, or none; download the bundle that is served now; if that fails too, its "
                "operator has to put a whole one there and send SIGHUP"
            )


def test_foreign_hosts_and_pages_get_nothing(server: RunningServer) -> None:
    assert get(server.url, PATH, Host="evil.example").status == 421
    assert get(server.url, PATH, Origin="http://evil.example").status == 403


def test_keys_and_their_budgets_hold_here_too(tmp_path: Path, bundle: Bundle) -> None:
    made = json.loads(type_command("keys", "new", "shop", "--items-per-s", "0.001", "--json").out)
    keys = tmp_path / "keys.toml"
    keys.write_text(made["entry"])
    shown = {"Authorization": f"Bearer {made['key']}"}
    file = f"{PATH}/files/head.onnx"
    with serving(bundle.path, "--api-keys", str(keys)) as (url, _):
        for path in (PATH, file):
            assert get(url, path).status == 401
            assert get(url, path, **shown).status == 200
        with connect(bundle, url, api_key=made["key"]) as session:
            assert session.run(image()).inference_source.route == "split-fp32"
        assert get(url, PATH, **shown).status == 200
        spent = get(url, file, **shown)
    assert (spent.status, int(spent.headers["retry-after"]) > 1) == (429, True)
