"""What stays on the device: no socket of any family, no address in the bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import type_command
from edgewise.bundle import Bundle, RouteKind, open_bundle
from session_bundles import image, photo, session_bundle
from small_models import write_examples, write_small_model
from socketless import CAN_GUARD, KILLED, run_socketless

pytestmark = pytest.mark.engine
guarded = pytest.mark.skipif(not CAN_GUARD, reason="the kernel guard is for Linux, 64 bit")
COMMAND = "runpy.run_module('edgewise.cli', run_name='__main__')"
ADDRESS = re.compile(rb"(?i)(?:https?|wss?|tcp|unix)://|\blocalhost\b|\b127\.0\.0\.1\b")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("alone") / "bundle"
    return session_bundle(folder, "local", "cloud-png", "split-fp32")


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    array, picture = tmp_path / "x.npy", tmp_path / "photo.png"
    np.save(array, image())
    Image.fromarray(photo()).save(picture)
    return [array, picture]


@guarded
@pytest.mark.parametrize(
    "words",
    [
        ["--policy", "only_on_device"],
        ["--policy", "only_on_device", "--server", "http://127.0.0.1:9"],
        ["--policy", "only_on_device", "--shadow", "1"],
        [],
    ],
)
def test_run_opens_no_socket(bundle: Bundle, inputs: list[Path], words: list[str]) -> None:
    done = run_socketless(COMMAND, "run", bundle.path, *inputs, "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads(done.stdout)["results"]
    assert [result["inference_source"]["kind"] for result in results] == ["local", "local"]
    assert [result["up_bytes"] for result in results] == [0, 0]


@guarded
def test_a_session_that_stores_what_it_must_not_send_opens_none(
    bundle: Bundle, tmp_path: Path
) -> None:
    program = """
from edgewise import Options, Policy, connect
from edgewise.running import Outbox
options = Options(policy=Policy.ONLY_ON_DEVICE)
with connect(sys.argv[1], "http://127.0.0.1:9", options=options, outbox=Outbox(sys.argv[2])) as s:
    print(s.flush(timeout_s=0.1).waiting)
"""
    done = run_socketless(program, bundle.path, tmp_path / "outbox.db")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


@guarded
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX"])
def test_the_guard_kills_whoever_asks(family: str) -> None:
    done = run_socketless(f"import socket; socket.socket(socket.{family})")
    assert done.returncode == KILLED
    assert done.stderr.startswith("asked for: socket.__new__ ")


@guarded
def test_the_guard_kills_a_session_that_asks_the_cloud(bundle: Bundle, inputs: list[Path]) -> None:
    done = run_socketless(COMMAND, "run", bundle.path, *inputs, "--server", "http://127.0.0.1:9")
    assert done.returncode == KILLED


def test_a_bundle_names_no_server(bundle: Bundle, tmp_path: Path) -> None:
    model = write_small_model(tmp_path / "net.onnx")
    rows = write_examples(tmp_path / "rows.npz")
    planned = tmp_path / "planned"
    typed = type_command(
        "plan", model, "--device", "this-machine", "--link", "wifi", "--data", rows, "-o", planned
    )
    assert typed.code == 0, typed.err
    assert any(route.kind is RouteKind.LOCAL for route in open_bundle(planned).manifest.routes)
    for folder in (planned, bundle.path):
        for file in folder.iterdir():
            assert not ADDRESS.search(file.read_bytes()), file.name
