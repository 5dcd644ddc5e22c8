"""``edgewise inspect`` and ``edgewise plan`` as somebody types them."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from command_line import COMMAND, refused, type_command
from edgewise.bundle import open_bundle
from small_models import write_examples, write_small_model

pytestmark = pytest.mark.engine

PROFILE = {
    "schema": 1,
    "nodes": [{"name": "conv", "device_s": 1.0, "cloud_s": 0.1}],
    "edges": [{"name": "image", "producer": None, "consumers": ["conv"], "bytes": 125_000}],
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_small_model(tmp_path / "net.onnx")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_examples(tmp_path / "rows.npz")


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(PROFILE))
    return path


def listing(folder: Path) -> set[str]:
    return {entry.relative_to(folder).as_posix() for entry in folder.rglob("*")}


def test_inspect_in_a_pipe(model: Path) -> None:
    typed = type_command("inspect", model)
    assert typed.code == 0, typed.err
    assert typed.out.startswith("network  net, opset 17, digest ")
    assert "4 legal cuts" in typed.out
    assert "\x1b" not in typed.out + typed.err
    assert typed.err.startswith(f"next: edgewise plan {model} --device")


def test_inspect_json_and_page(model: Path, tmp_path: Path) -> None:
    typed = type_command("inspect", model, "--json", "--html", tmp_path / "out" / "net.html")
    assert typed.code == 0, typed.err
    assert json.loads(typed.out)["name"] == "net"
    assert typed.err == ""
    page = (tmp_path / "out" / "net.html").read_text()
    assert "<svg" in page
    assert "1×4×16×16" in page


def on_terminal(*words: object, env: dict[str, str] | None = None) -> tuple[int, str]:
    """What a command shows on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm-256color", **(env or {})}
    environment.pop("NO_COLOR", None) if not env else None
    with subprocess.Popen(
        [*COMMAND, *map(str, words)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        deadline_s = time.monotonic() + 100
        while time.monotonic() < deadline_s:
            if not select.select([ours], [], [], 1.0)[0]:
                continue
            try:
                chunk = os.read(ours, 65_536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not chunk:
                break
            shown += chunk
        code = process.wait(20)
    os.close(ours)
    return code, shown.decode()


def test_a_terminal_gets_progress_and_a_table_that_fits(model: Path, rows: Path) -> None:
    code, shown = on_terminal("plan", model, "--data", rows, "--link", "lte")
    assert code == 0, shown
    assert "\x1b[" in shown
    assert "━" in shown  # the bar
    table = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown[shown.index("What runs where") :])
    assert "next: the same command with -o BUNDLE" in table
    assert all(len(line) <= 100 for line in table.splitlines())


def test_no_color(model: Path) -> None:
    code, shown = on_terminal("inspect", model, env={"NO_COLOR": "1"})
    assert code == 0
    assert "4 legal cuts" in shown
    assert "\x1b[3" not in shown


def test_plan_writes_a_bundle_that_runs(model: Path, rows: Path, tmp_path: Path) -> None:
    bundle, page = tmp_path / "bundle", tmp_path / "plan.html"
    typed = type_command(
        *("plan", model, "--data", rows, "--device", "slow-phone", "-o", bundle),
        *("--version", 2),
        *("--link", "up=1kbit/s,rtt=1s", "--link", "wifi", "--html", page),
    )
    assert typed.code == 0, typed.err
    assert "What runs where" in typed.out
    assert typed.err.splitlines()[-2:] == [f"wrote {bundle}", f"next: edgewise serve {bundle}"]
    assert open_bundle(bundle).manifest.labels[2] == "<script>alert(1)</script>"
    assert open_bundle(bundle).manifest.version == 2
    assert "What runs where" in page.read_text()
    ran = type_command("run", bundle, rows)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1].startswith("12 answers: 12 by local; median")
    assert listing(tmp_path) == {
        "bundle", "bundle/bundle.json", "bundle/full.onnx", "bundle/probe.bin", "net.onnx",
        "plan.html", "rows.npz",
    }  # fmt: skip


@pytest.mark.net
def test_plan_json_with_measured_routes(model: Path, rows: Path) -> None:
    typed = type_command("plan", model, "--data", rows, "--link", "wifi", "--measure", "--json")
    assert typed.code == 0, typed.err
    report = json.loads(typed.out)
    assert report["chosen"]["name"] == report["trials"][0]["route"]
    assert report["trials"][0]["measured_s"] > 0
    assert report["plans"][0]["link"] == "wifi"
    assert {c["route"] for c in report["candidates"]} == {"local", "split", "cloud"}


def test_plan_from_given_times(profile: Path) -> None:
    typed = type_command("plan", "--profile", profile, "--link", "up=1Mbit/s,rtt=0", "--json")
    assert typed.code == 0, typed.err
    report = json.loads(typed.out)
    assert report["chosen"]["route"] == "local"
    assert report["chosen"]["cut"] == []
    assert report["chosen"]["total_s"] == 1.0
    cloud = report["candidates"][1]
    assert cloud["cut"] == ["image"]
    assert cloud["total_s"] == pytest.approx(1.1)
    assert {"device_energy_j", "payload_bytes", "link_s", "rejected"} <= cloud.keys()
    table = type_command("plan", "--profile", profile, "--link", "lte", "--link", "3g")
    assert table.code == 0
    assert "Plans from given times" in table.out


def test_a_limit_that_is_not_met_is_exit_code_1(profile: Path) -> None:
    words = ("plan", "--profile", profile, "--link", "lte", "--json", "--max-latency")
    assert type_command(*words, "1s").code == 0
    typed = type_command(*words, "1ms")
    assert typed.code == 1
    assert json.loads(typed.out)["chosen"]
    assert "over the limit of 0.001 s" in typed.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "expected either MODEL or --profile FILE, found neither"),
        (("net.onnx", "--profile", "p.json"), "expected either MODEL or --profile FILE, found bo"),
        (("nope.onnx", "--data", "rows.npz"), "expected an ONNX file at nope.onnx, found no such"),
        (("net.onnx",), "found no --data; pass --data PHOTOS, a folder of photos"),
        (("net.onnx", "--data", "nope"), "expected a folder of examples, .* at nope, found noth"),
        (("net.onnx", "--data", "empty"), "expected photos .* in empty, found none"),
        (("net.onnx", "--data", "few.npz"), "expected at least 6 examples in few.npz, found 3"),
        (("net.onnx", "--data", "nan.npz"), "nan.npz"),
        (("net.onnx", "--data", "noise"), "photo noise/a.jpg, found none of these"),
        (("net.onnx", "--device", "slow-fone"), "one of the devices .*slow-phone.*'slow-fone'"),
        (("net.onnx", "--device", "nope.toml"), "nope.toml"),
        (("net.onnx", "--cloud", "aws"), "expected one of the clouds this-machine, found 'aws'"),
        (("net.onnx", "--link", "5g"), "expected one of the links 3g, lte, wifi, found '5g'"),
        (("net.onnx", "--link", "up=5Mbps"), "expected a rate such as 5.85Mbit/s, found '5Mbps'"),
        (("net.onnx", "--link", "up=0bit/s"), "up_bytes_per_s above 0"),
        (("net.onnx", "--data", "rows.npz", "-o", "full"), "a bundle or nothing at full, found"),
        (("net.onnx", "--data", "rows.npz", "-o", "rows.npz"), "nothing at rows.npz, found a fil"),
        (("--profile", "nope.json", "--link", "lte"), "a readable profile at nope.json"),
        (("--profile", "noise/a.jpg", "--link", "lte"), "expected valid JSON in noise/a.jpg"),
        (("--profile", "profile.json"), "expected at least one link, found none"),
        (("--profile", "profile.json", "-o", "b"), "only --link beside --profile, found -o"),
        (("--profile", "profile.json", "--device", "x", "--int8"), "found --device, --int8"),
        (("--profile", "profile.json", "--version", "2"), "--profile, found --version"),
        (("net.onnx", "--version", "0"), "expected a version from 1 to 2147483647, found '0'"),
    ],
)
def test_bad_input_to_plan(
    model: Path, rows: Path, profile: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    for folder in ("empty", "full", "noise"):
        (tmp_path / folder).mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("irreplaceable")
    (tmp_path / "noise" / "a.jpg").write_bytes(b"no photo")
    images = np.load(rows)["image"]
    np.savez(tmp_path / "few.npz", image=images[:3])
    np.savez(tmp_path / "nan.npz", image=np.full_like(images, np.nan))
    before = listing(tmp_path)
    refused(type_command("plan", *words, cwd=tmp_path), said=said)
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nope.onnx", "expected an ONNX file at nope.onnx, found no such file"),
        ("folder", "expected an ONNX file at folder, found a folder"),
        ("text.onnx", "expected an ONNX network in text.onnx"),
        ("empty.onnx", "empty.onnx"),
        ("half.onnx", "half.onnx"),
        ("future.onnx", "future.onnx.*opset|opset.*future.onnx"),
        ("flat.onnx", "expected axes of at least 1 in the input .image., found axis 2 of size 0"),
        ("efficientnet-lit0", "did you mean efficientnet-lite0"),
        ("xyz", "expected an ONNX file or one of efficientnet-lite0, .*found 'xyz'"),
    ],
)
def test_bad_models(model: Path, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "half.onnx").write_bytes(model.read_bytes()[:-100])
    write_small_model(tmp_path / "future.onnx", opset=99)
    write_small_model(tmp_path / "flat.onnx", side=0)
    refused(type_command("inspect", name, cwd=tmp_path), said=said)


def test_a_full_disk_leaves_nothing_behind(model: Path, rows: Path, tmp_path: Path) -> None:
    before = listing(tmp_path)
    words = ("plan", model, "--data", rows, "-o", tmp_path / "bundle")
    refused(type_command(*words, file_bytes=300), said="expected room and permission to write")
    assert listing(tmp_path) == before
    words = ("inspect", model, "--html", tmp_path / "net.html")
    refused(type_command(*words, file_bytes=300), said="expected room and permission to write")
    assert listing(tmp_path) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [("doctor",), ("doctor", "--json"), ("zoo", "list")])
def test_a_full_disk_behind_stdout(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("words", [("zoo", "list"), ("zoo", "list", "--json"), ("doctor",)])
def test_a_reader_that_goes_away(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def _heed_ctrl_c() -> None:
    """A shell lets what it runs in the background ignore Ctrl-C, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_while_planning(model: Path, rows: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    links = [word for i in range(1, 400) for word in ("--link", f"up={i}Mbit/s")]
    with subprocess.Popen(
        [*COMMAND, "plan", str(model), "--data", str(rows), "--int8", "-o", str(bundle), *links],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_ctrl_c,
    ) as process:
        assert process.stderr is not None
        trimming, first = process.stderr.readline(), process.stderr.readline()
        # INT8 has been judged: planning begins
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert trimming.startswith("trim: ")
    assert first.startswith("INT8 by onnxruntime")
    assert process.returncode == 130
    assert err == "edgewise: stopped\n"
    assert out == ""
    assert listing(tmp_path) == {"net.onnx", "rows.npz"}


def test_zoo_names_are_checked() -> None:
    refused(type_command("zoo", "get", "fashion-resnet21"), said="did you mean fashion-resnet20")
