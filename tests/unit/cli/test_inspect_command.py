"""``edgewise inspect``: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import inspected
from edgewise.cli import main
from small_models import write_small_model

pytestmark = pytest.mark.engine


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.onnx"
    path.write_bytes(inspected.words())
    return path


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err.splitlines()[-1]


def test_it_says_what_a_person_wants_first(
    words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(words)]) == 0
    out, err = capsys.readouterr()
    order = ["network ", "inputs ", "sizes ", "MACs ", "What computes", "Best of 2 legal cuts"]
    assert sorted(order, key=out.index) == order
    assert "words = 128 (words assumed; state it with --axis words=SIZE)" in out
    assert err == (
        f"next: edgewise plan {words} --device slow-phone --link lte --axis words=128 "
        "--data EXAMPLES.npz -o BUNDLE\n"
    )


def test_the_next_command_fits_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_small_model(tmp_path / "my net.onnx")
    assert main(["inspect", str(path), "--no-trim"]) == 0
    out, err = capsys.readouterr()
    assert f"edgewise plan '{path}' " in err
    assert "--data PHOTOS -o" in err
    assert "trim     unknown: it was not asked for" in out


def test_plan_is_told_to_state_a_size_for_every_axis(
    words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(words), "--data", "rows.npz"]) == 2
    said = "found the open axis 'words'; add --axis words=SIZE, and give examples of that size"
    assert said in capsys.readouterr().err
    assert main(["plan", str(words), "--axis", "words=5"]) == 2
    assert "found no --data; pass --data EXAMPLES.npz" in capsys.readouterr().err
    assert main(["plan", str(words), "--axis", "wrods=5"]) == 2
    assert "found 'wrods': 5" in capsys.readouterr().err


def test_axes_and_batch(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(words), "--axis", "words=5", "--batch", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["axes"] == {"words": 5}
    assert report["batch"] == 2
    assert report["inputs"][0] == {
        "name": "ids",
        "dtype": "int64",
        "shape": ["batch", "words"],
        "role": "content",
        "bytes": 80,
    }


def test_all_lists_every_cut(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(words), "--all"]) == 0
    out, _ = capsys.readouterr()
    assert "rows " in out[out.index("2 legal cuts") :]
    assert "★ mean" in out


def test_page_and_node_data(
    words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, data = tmp_path / "net.html", tmp_path / "net.json"
    line = ["inspect", str(words), "--html", str(page), "--node-data", str(data)]
    assert main([*line, "--by", "weights"]) == 0
    _, err = capsys.readouterr()
    assert err.splitlines()[:2] == [f"wrote {page}", f"wrote {data}"]
    assert "<svg" in page.read_text()
    assert json.loads(data.read_text())["name"] == "weight bytes"


def test_what_cannot_be_counted_is_inspected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.onnx"
    path.write_bytes(inspected.data_sized())
    assert main(["inspect", str(path)]) == 0
    out, _ = capsys.readouterr()
    assert "MACs     48, without all of 2 nodes ('where', 'cast'): 'places'" in out
    assert "NonZero" in out


def test_hostile_names_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evil.onnx"
    path.write_bytes(inspected.chain(6, prefix=inspected.EVIL))
    assert main(["inspect", str(path), "--all"]) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "\u2028" not in out + err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--axis", "words"], "an axis with its size, such as sequence=64, found 'words'"),
        (["--axis", "words=0"], "an axis with its size, such as sequence=64, found 'words=0'"),
        (["--axis", "words=-3"], "found 'words=-3'; use a whole number from 1"),
        (["--axis", "words=9999999999999"], "found 'words=9999999999999'; use a whole number"),
        (["--axis", "=3"], "found '=3'"),
        (["--axis", "wrods=3"], "one of the open axes batch, words, found 'wrods'; check the na"),
        (["--batch", "0"], "expected a batch of at least 1, found '0'"),
        (["--batch", "two"], "expected a batch of at least 1, found 'two'"),
        (["--by", "colour"], "invalid choice: 'colour'"),
        (["--html", "."], "expected a file to write the page to, found the folder ."),
        (["--node-data", "."], "expected a file to write the node data to, found the folder ."),
    ],
)
def test_bad_options(
    words: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(["inspect", str(words), *options], capsys)


@pytest.mark.parametrize("option", ["--html", "--node-data"])
def test_a_place_that_cannot_be_written(
    words: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inside_a_file = str(words / "net.html")
    line = refused(["inspect", str(words), option, inside_a_file], capsys)
    assert "expected room and permission to write" in line
    assert [entry.name for entry in words.parent.iterdir()] == ["words.onnx"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("net.pt", "found a PyTorch file, by its name; export it: torch.onnx.export("),
        ("net.pth", "found a PyTorch file, by its name"),
        ("net.safetensors", "found weights without a graph, by its name"),
        ("net.tflite", "found a TensorFlow Lite network, by its name"),
        ("net.h5", "found a Keras network, by its name"),
    ],
)
def test_files_of_other_kinds(
    tmp_path: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    assert said in refused(["inspect", str(tmp_path / name)], capsys)


def test_a_zoo_name_is_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))
    assert main(["inspect", "fashion-resnet20", "--json", "--no-trim"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "fashion-resnet20"
