"""Bundles worth downloading, and servers that hand them out as they like."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from edgewise.bundle import MANIFEST, Bundle, describe_part, write_bundle
from edgewise.running.linking.backoff import Patience
from probed_bundles import probed
from session_bundles import session_bundle
from session_servers import LyingServer, Seen, http

HURRIED = Patience(first_s=0.01, longest_s=0.05, timeout_s=20.0)
HEAVY_BYTES = 1_500_000


def small(folder: Path, *, version: int = 1, seed: int = 0) -> Bundle:
    """A bundle of a few kilobytes."""
    bundle = session_bundle(folder, "split-fp32", "cloud-raw", "local", seed=seed)
    return probed(bundle, version=version)


def heavy(folder: Path, *, version: int = 1) -> Bundle:
    """The same with a network on the device that takes a while on a slow link."""
    bundle = small(folder)
    raws = {part.name: bundle.read_part(part.name) for part in bundle.manifest.parts}
    network = onnx.load_from_string(raws["full"])
    ballast = np.random.default_rng(0).integers(0, 256, HEAVY_BYTES, dtype=np.uint8)
    network.graph.initializer.append(numpy_helper.from_array(ballast, "ballast"))
    raws["full"] = network.SerializeToString()
    old = bundle.manifest.part("full")
    new = describe_part(
        "full", raws["full"], side=old.side, inputs=old.inputs, outputs=old.outputs
    )
    parts = tuple(new if part.name == "full" else part for part in bundle.manifest.parts)
    manifest = replace(bundle.manifest, parts=parts, probe=None)
    return probed(write_bundle(folder, manifest, raws), version=version)


def names_in(folder: Path) -> list[str]:
    """What lies in a folder, hidden things too."""
    return sorted(path.name for path in folder.iterdir())


def device_files(bundle: Bundle) -> dict[str, bytes]:
    """What a device has to have after a download."""
    names = [MANIFEST, *(file.path for file in bundle.manifest.device_files)]
    return {name: (bundle.path / name).read_bytes() for name in names}


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


FileBehaviour = Callable[[socket.socket, Seen, bytes], None]


@contextlib.contextmanager
def handing_out(
    bundle: Bundle, behave: FileBehaviour, *, manifest: bytes | None = None
) -> Iterator[LyingServer]:
    """A server that gives the manifest, and of the files what ``behave`` makes of them."""
    raw = (bundle.path / MANIFEST).read_bytes() if manifest is None else manifest

    def greet(sock: socket.socket, seen: Seen) -> None:
        path = seen.line.split()[1]
        if path.endswith("/bundle"):
            sock.sendall(http(raw))
            return
        name = path.rpartition("/")[2]
        held = bundle.path / name
        behave(sock, seen, held.read_bytes() if held.exists() else b"")

    index = json.dumps([{"name": bundle.manifest.name, "version": "1"}]).encode()
    server = LyingServer(greet=greet, infer=lambda sock, seen: sock.sendall(http(index)))
    with server.running():
        yield server


def honest(sock: socket.socket, seen: Seen, raw: bytes) -> None:
    """All of the file, whatever range was asked for."""
    sock.sendall(http(raw))


def asked_of(server: LyingServer, name: str) -> list[Seen]:
    """The requests for one file."""
    return [seen for seen in server.seen if f"/files/{name} " in seen.line]
