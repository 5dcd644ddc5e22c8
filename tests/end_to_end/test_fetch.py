"""Bundles downloaded from a real server: over broken links, by killed processes, in the CLI."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from certificates import write_certificate
from command_line import COMMAND, refused, serving, type_command
from downloads import HEAVY_BYTES, HURRIED, device_files, files_in, heavy, names_in, small
from edgewise.bundle import Bundle, open_bundle
from edgewise.errors import BadInput, LinkFailed
from edgewise.running import connect, download_bundle, roll_back
from edgewise.serving import RunningServer, server_process
from edgewise.shaping import OutageMode, shaped
from edgewise.specs import LinkSpec, Provenance
from probed_bundles import probed
from session_bundles import image, logits_of, session_bundle

pytestmark = [pytest.mark.net, pytest.mark.engine]
USER = Provenance(source="user-supplied", date="2026-11-21")
SLOW = LinkSpec(name="slow", down_bytes_per_s=300_000.0, rtt_s=0.002, provenance=USER)
FAST = LinkSpec(name="fast", provenance=USER)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return heavy(tmp_path_factory.mktemp("served") / "bundle")


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[RunningServer]:
    with server_process(bundle.path) as running:
        yield running


def address(server: RunningServer) -> tuple[str, int]:
    host, port = server.url.removeprefix("http://").split(":")
    return host, int(port)


def until(condition, *, timeout_s: float = 60.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "it never came about"
        time.sleep(0.01)


def read_screen(screen: int) -> str:
    """Everything that a process writes to its terminal until it ends."""
    shown = b""
    with os.fdopen(screen, "rb", buffering=0) as file, contextlib.suppress(OSError):
        while piece := file.read(65_536):
            shown += piece
    return shown.decode()


def came_bytes(folder: Path) -> int:
    """How much has come of what is on its way."""
    staged = folder.parent / f".{folder.name}.fetch"
    return sum(path.stat().st_size for path in staged.glob("*.*"))


def test_a_device_gets_its_side_and_runs(
    tmp_path: Path, bundle: Bundle, server: RunningServer
) -> None:
    told: list[tuple[str, int, int]] = []
    download = download_bundle(
        server.url, tmp_path / "b", digest=bundle.digest, progress=lambda *said: told.append(said)
    )
    assert files_in(tmp_path / "b") == device_files(bundle)
    assert names_in(tmp_path) == ["b"]
    assert download.bundle == open_bundle(tmp_path / "b")
    assert download.previous is None
    total = sum(file.bytes for file in bundle.manifest.device_files)
    assert download.sent_bytes == total
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1] == ("fetching tiny", total, total)
    with connect(download.bundle, server.url) as session:
        for route in ("split-fp32", "local"):
            answer = session.run(image(), route=route)
            np.testing.assert_allclose(answer.outputs["logits"], logits_of(image()), rtol=1e-5)


def test_what_is_there_is_not_sent_again(tmp_path: Path, server: RunningServer) -> None:
    first = download_bundle(server.url, tmp_path / "b", model="tiny")
    again = download_bundle(server.url, tmp_path / "b")
    assert again.sent_bytes == 0
    assert again.bundle == first.bundle
    assert again.previous is None
    (tmp_path / "b" / "head.onnx").write_bytes(b"spoilt")
    mended = download_bundle(server.url, tmp_path / "b")
    assert mended.sent_bytes == first.bundle.manifest.part("head").bytes
    assert names_in(tmp_path) == ["b", "b.previous"]
    assert mended.bundle.read_part("head")


def test_a_new_version_takes_over_what_did_not_change(tmp_path: Path, bundle: Bundle) -> None:
    newer = heavy(tmp_path / "newer", version=2)
    target = tmp_path / "device" / "b"
    with server_process(bundle.path) as one, server_process(newer.path) as two:
        download_bundle(one.url, target)
        download = download_bundle(two.url, target)
        assert download.sent_bytes == 0  # the networks and the probe are the same
        assert download.bundle.digest == newer.digest != bundle.digest
        assert download.previous == target.with_name("b.previous")
        assert open_bundle(download.previous).digest == bundle.digest
        with pytest.raises(BadInput) as refusal:
            download_bundle(one.url, target)
        assert str(refusal.value) == (
            f"expected version 2 of 'tiny', which {target} holds, or a later one, "
            "found version 1; pass --allow-older to go back"
        )
        assert open_bundle(target).digest == newer.digest
        older = download_bundle(one.url, target, allow_older=True)
        assert older.bundle.digest == bundle.digest
    assert names_in(target.parent) == ["b", "b.previous"]
    assert roll_back(target).digest == newer.digest
    assert roll_back(target).digest == bundle.digest
    assert names_in(target.parent) == ["b", "b.previous"]


def test_there_is_nothing_to_go_back_to(tmp_path: Path, server: RunningServer) -> None:
    download_bundle(server.url, tmp_path / "b")
    with pytest.raises(BadInput) as refusal:
        roll_back(tmp_path / "b")
    assert str(refusal.value) == (
        f"expected the former bundle in {tmp_path / 'b.previous'}, found none that can be "
        "opened; download one with: edgewise fetch URL -o BUNDLE"
    )
    assert names_in(tmp_path) == ["b"]


def test_a_killed_download_goes_on_where_it_was(
    tmp_path: Path, bundle: Bundle, server: RunningServer
) -> None:
    target = tmp_path / "b"
    words = [*COMMAND, "fetch", "-o", str(target)]
    with shaped(address(server), SLOW) as link:
        with subprocess.Popen([*words, link.url], stderr=subprocess.DEVNULL) as process:
            until(lambda: came_bytes(target) > 300_000)
            process.send_signal(signal.SIGKILL)
        assert not target.exists()
        came = came_bytes(target)
        link.set_link(FAST)
        typed = type_command("fetch", link.url, "-o", target, "--json")
    assert typed.code == 0, typed.err
    said = json.loads(typed.out)
    total = sum(file.bytes for file in bundle.manifest.device_files)
    assert said["sent_bytes"] == total - came
    assert files_in(target) == device_files(bundle)
    assert names_in(tmp_path) == ["b"]


def test_a_link_that_breaks_on_the_way_costs_nothing_twice(
    tmp_path: Path, bundle: Bundle, server: RunningServer
) -> None:
    cuts = iter([300_000, 900_000])
    next_cut = next(cuts)

    def tell(text: str, done: int, total: int) -> None:
        nonlocal next_cut
        if done >= next_cut:
            link.set_outage(True, mode=OutageMode.RESET)
            link.set_outage(False)
            next_cut = next(cuts, total + 1)

    with shaped(address(server), SLOW) as link:
        download = download_bundle(link.url, tmp_path / "b", progress=tell, patience=HURRIED)
        assert link.stats().connections >= 3
    total = sum(file.bytes for file in bundle.manifest.device_files)
    assert download.sent_bytes == total
    assert files_in(tmp_path / "b") == device_files(bundle)


def test_a_server_that_ends_for_good_leaves_what_came(tmp_path: Path, bundle: Bundle) -> None:
    target = tmp_path / "b"

    def kill(text: str, done: int, total: int) -> None:
        if done > 300_000:
            os.kill(running.pid, signal.SIGKILL)

    with (
        server_process(bundle.path) as running,
        shaped(address(running), SLOW) as link,
        pytest.raises(LinkFailed) as failure,
    ):
        download_bundle(link.url, target, progress=kill, patience=HURRIED)
    assert str(failure.value).endswith("bytes are kept, run it again to go on")
    assert names_in(tmp_path) == [".b.fetch"]
    with server_process(bundle.path) as again:
        download = download_bundle(again.url, target)
    total = sum(file.bytes for file in bundle.manifest.device_files)
    assert 0 < download.sent_bytes <= total - 300_000
    assert names_in(tmp_path) == ["b"]


def test_two_at_a_time_are_refused(tmp_path: Path, bundle: Bundle, server: RunningServer) -> None:
    target = tmp_path / "b"
    refusals: list[str] = []

    def meanwhile(text: str, done: int, total: int) -> None:
        if not refusals:
            typed = type_command("fetch", server.url, "-o", target)
            refused(typed, said=f"expected one download to {target} at a time, found another one")
            refusals.append(typed.err)

    download_bundle(server.url, target, progress=meanwhile)
    assert refusals
    assert files_in(target) == device_files(bundle)


def test_a_bundle_that_computes_something_else_here_is_not_taken(tmp_path: Path) -> None:
    good = small(tmp_path / "good")
    wrong = probed(session_bundle(tmp_path / "wrong", "split-fp32", "local"), wrong=["full"])
    with server_process(good.path) as one, server_process(wrong.path) as two:
        with pytest.raises(BadInput, match=r"give their stored answers .* the part 'full': "):
            download_bundle(two.url, tmp_path / "device" / "b")
        assert names_in(tmp_path / "device") == []
        download_bundle(one.url, tmp_path / "device" / "b")
        refused(
            type_command("fetch", two.url, "-o", tmp_path / "device" / "b"),
            said="the former bundle, if there was one, is still in place",
        )
    assert files_in(tmp_path / "device" / "b") == device_files(good)
    assert names_in(tmp_path / "device") == ["b"]


def test_a_swap_that_was_killed_in_the_middle_is_mended(
    tmp_path: Path, bundle: Bundle, server: RunningServer
) -> None:
    target = tmp_path / "b"
    download_bundle(server.url, target)
    target.rename(tmp_path / ".b.fetch-old")
    with pytest.raises(LinkFailed):
        download_bundle("http://127.0.0.1:9", target)
    assert files_in(target) == device_files(bundle)
    shutil.copytree(target, tmp_path / ".b.fetch-old")
    assert download_bundle(server.url, target).sent_bytes == 0
    assert names_in(tmp_path) == ["b", "b.previous"]


def test_another_digest_than_the_one_wanted_is_refused(
    tmp_path: Path, bundle: Bundle, server: RunningServer
) -> None:
    with pytest.raises(BadInput) as refusal:
        download_bundle(server.url, tmp_path / "b", digest="0" * 64)
    assert str(refusal.value) == (
        f"expected the bundle {'0' * 64} at {server.url}, found the bundle {bundle.digest}; "
        "ask its operator which one is right"
    )
    assert names_in(tmp_path) == []


def test_a_server_that_lost_a_file_says_so_and_what_came_is_kept(tmp_path: Path) -> None:
    served = small(tmp_path / "served")
    target = tmp_path / "device" / "b"
    with server_process(served.path) as running:
        (served.path / "head.onnx").unlink()
        with pytest.raises(LinkFailed) as failure:
            download_bundle(running.url, target, patience=HURRIED)
    assert str(failure.value) == (
        "the server does not have the files that its manifest lists: the server answered 410: "
        "expected the file that the bundle had when this server read it, found another one, or "
        "none; download the bundle that is served now; if that fails too, its operator has to put "
        "a whole one there and send SIGHUP"
    )
    assert names_in(target.parent) == [".b.fetch"]


# The command


def test_the_command_shows_what_came_and_what_to_type_next(
    tmp_path: Path, bundle: Bundle, server: RunningServer
) -> None:
    typed = type_command("fetch", server.url, "-o", tmp_path / "b")
    assert typed.code == 0, typed.err
    lines = typed.out.splitlines()
    assert len(lines) == len(bundle.manifest.device_files) + 1
    assert lines[0].split() == ["full.onnx", "1.5", "MB", "sent"]
    assert lines[-1].startswith(f"tiny, version 1 ({bundle.digest[:12]}): 1.5 MB, 1.5 MB of it")
    assert typed.err.splitlines()[-1] == (
        f"next: edgewise run {tmp_path / 'b'} --server {server.url} INPUT"
    )
    again = type_command("fetch", server.url, "-o", tmp_path / "b")
    assert "nothing of it sent" in again.out.splitlines()[-1]
    np.save(tmp_path / "x.npy", image())
    ran = type_command("run", tmp_path / "b", "--server", server.url, tmp_path / "x.npy")
    assert (ran.code, ran.err) == (0, "")


def test_the_command_goes_back(tmp_path: Path, bundle: Bundle, server: RunningServer) -> None:
    target = tmp_path / "b"
    first = small(tmp_path / "first")
    with server_process(first.path) as one:
        download_bundle(one.url, target)
    download_bundle(server.url, target)
    typed = type_command("fetch", "--back", "-o", target)
    assert typed.out == f"{target} is tiny, version 1 ({first.digest[:12]}) again\n"
    said = json.loads(type_command("fetch", "--back", "-o", target, "--json").out)
    assert said["bundle"] == bundle.digest


@pytest.mark.parametrize("words", [(), ("http://127.0.0.1:9", "--back")])
def test_an_address_or_the_way_back(tmp_path: Path, words: tuple[str, ...]) -> None:
    refused(
        type_command("fetch", *words, "-o", tmp_path / "b"),
        said="expected the address of a server, or --back, found (both|neither); run: edgewise",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("http://127.0.0.1:9",), "the connection was refused"),
        (("ftp://x",), "expected a server address such as"),
    ],
)
def test_nobody_there(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    refused(type_command("fetch", *words, "-o", tmp_path / "b"), said=said)
    assert names_in(tmp_path) == []


def test_another_model_is_refused(tmp_path: Path, server: RunningServer) -> None:
    typed = type_command("fetch", server.url, "--model", "dog", "-o", tmp_path / "b")
    refused(
        typed, said="expected a bundle to download from .*, found that the server answered 404"
    )


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, server: RunningServer) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("years of work")
    refused(
        type_command("fetch", server.url, "-o", tmp_path / "b"),
        said="expected a bundle or nothing at .*, found something else: 'thesis.txt'",
    )
    assert names_in(tmp_path) == ["b"]
    assert names_in(tmp_path / "b") == ["thesis.txt"]


def test_a_key_is_asked_for_and_shown(tmp_path: Path, bundle: Bundle) -> None:
    made = json.loads(type_command("keys", "new", "device", "--concurrent", "1", "--json").out)
    keys = tmp_path / "keys.toml"
    keys.write_text(made["entry"])
    (tmp_path / "key").write_text(made["key"])
    with serving(bundle.path, "--api-keys", str(keys)) as (url, _):
        refused(
            type_command("fetch", url, "-o", tmp_path / "b"),
            said=f"expected an API key that the server at {url} knows, found none; pass it with",
        )
        typed = type_command(
            "fetch", url, "-o", tmp_path / "b", "--api-key-file", tmp_path / "key"
        )
        assert typed.code == 0, typed.err
    assert files_in(tmp_path / "b") == device_files(bundle)


def test_a_certificate_is_checked(tmp_path: Path, bundle: Bundle) -> None:
    files = write_certificate(tmp_path / "pem")
    words = ("--tls-cert", str(files.cert), "--tls-key", str(files.key))
    with serving(bundle.path, *words) as (url, _):
        refused(
            type_command("fetch", url, "-o", tmp_path / "b"),
            said="certificate is not trusted: nobody whom this device trusts signed it",
        )
        typed = type_command("fetch", url, "-o", tmp_path / "b", "--ca", files.ca)
        assert typed.code == 0, typed.err
    assert files_in(tmp_path / "b") == device_files(bundle)


def test_a_limit_on_file_size_is_said_and_what_came_is_kept(
    tmp_path: Path, server: RunningServer
) -> None:
    typed = type_command("fetch", server.url, "-o", tmp_path / "b", file_bytes=500_000)
    refused(
        typed,
        said=f"expected room and permission to write {tmp_path / 'b'}, found File too large; "
        "free some space or give -o another folder; run it again to go on",
    )
    assert names_in(tmp_path) == [".b.fetch"]
    said = json.loads(type_command("fetch", server.url, "-o", tmp_path / "b", "--json").out)
    assert 0 < said["sent_bytes"] < HEAVY_BYTES


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("mounting a small file system needs the rights of root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_without_room_is_said_before_anything_is_sent(
    small_disk: Path, server: RunningServer
) -> None:
    typed = type_command("fetch", server.url, "-o", small_disk / "b")
    refused(typed, said=f"expected 15[0-9]{{5}} bytes free in {small_disk}/.*, found [0-9]+ bytes")
    assert names_in(small_disk) == []


def test_a_folder_that_cannot_be_written_is_said(small_disk: Path, server: RunningServer) -> None:
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    typed = type_command("fetch", server.url, "-o", small_disk / "b")
    refused(typed, said="expected room and permission to write .*, found Read-only file system")


def test_the_device_half_alone_can_download(tmp_path: Path, server: RunningServer) -> None:
    """Neither the studio's packages nor the server's are needed."""
    blocked = "onnx", "onnx_ir", "rich", "starlette", "uvicorn", "sqlalchemy", "PIL"
    code = (
        "import sys\n"
        f"for name in {blocked!r}:\n"
        "    sys.modules[name] = None\n"
        "from edgewise.cli import main\n"
        f"sys.exit(main(['fetch', {server.url!r}, '-o', {str(tmp_path / 'b')!r}]))\n"
    )
    screen, terminal = pty.openpty()
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=out, stderr=terminal)
    os.close(terminal)
    shown = read_screen(screen)
    assert process.wait(60) == 0, shown
    assert "tiny, version 1" in (tmp_path / "out").read_text()
    assert "fetching tiny  1.5/1.5 MB" in shown
    assert "next: edgewise run" in shown
