"""``edgewise run`` without a server: inputs of every form, answers, and refusals."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewise.bundle import Bundle, write_bundle
from edgewise.cli import main
from session_bundles import image, logits_of, photo, session_bundle
from unit.serving import tiny_bundle as tiny

pytestmark = pytest.mark.engine

SPAN = {"kind", "start_s", "duration_s"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return session_bundle(tmp_path_factory.mktemp("bundles") / "bundle", "local", "split-fp32")


def run(bundle: Bundle, *words: object) -> int:
    return main(["run", str(bundle.path), *map(str, words)])


def results(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], *words: object
) -> list[dict[str, object]]:
    assert run(bundle, *words, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["bundle"] == bundle.digest
    every: list[dict[str, object]] = report["results"]
    return every


def refusal(bundle: Bundle, capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run(bundle, *words) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.err.startswith("edgewise: ")
    assert said.err.count("\n") == 1
    return said.err


def save_photo(path: Path, seed: int = 1) -> Path:
    Image.fromarray(photo(seed)).save(path, "PNG")
    return path


def test_json_has_outputs_source_deadline_and_spans(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", image())
    (result,) = results(bundle, capsys, tmp_path / "x.npy", "--deadline", "1h")
    assert result["input"] == str(tmp_path / "x.npy")
    outputs = result["outputs"]
    assert isinstance(outputs, dict)
    np.testing.assert_allclose(outputs["logits"], logits_of(image()), rtol=1e-4)
    assert result["inference_source"] == {
        "route": "local",
        "kind": "local",
        "reason": "the only route that can be taken",
        "agreement": 0.75,
    }
    assert result["deadline_met"] is True
    spans = result["spans"]
    assert isinstance(spans, list)
    assert [span["kind"] for span in spans] == ["prepare", "local"]
    assert all(set(span) == SPAN for span in spans)


def test_a_deadline_that_passed_is_said(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", image())
    (result,) = results(bundle, capsys, tmp_path / "x.npy", "--deadline", "0")
    assert result["deadline_met"] is False
    assert run(bundle, tmp_path / "x.npy", "--deadline", "0") == 0
    assert capsys.readouterr().out.endswith("LATE\n")


def test_rows_of_npz(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.concatenate([image(1), image(2), image(3)])
    file = tmp_path / "rows.npz"
    np.savez(file, image=images, y=np.arange(3))
    answers = results(bundle, capsys, file)
    assert [answer["input"] for answer in answers] == [f"{file}[{row}]" for row in range(3)]
    for row, answer in enumerate(answers):
        outputs = answer["outputs"]
        assert isinstance(outputs, dict)
        np.testing.assert_allclose(outputs["logits"], logits_of(image(row + 1)), rtol=1e-4)


def test_inputs_may_stand_before_options_or_behind_them(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (str(save_photo(tmp_path / name)) for name in ("a.png", "b.png"))
    for words in ((a, b, "--policy", "auto"), ("--policy", "auto", a, b)):
        assert [answer["input"] for answer in results(bundle, capsys, *words)] == [a, b]
    assert main(["run", str(bundle.path), "--polic", "auto", a]) == 2
    assert "expected no '--polic' here; did you mean --policy?" in capsys.readouterr().err


def test_npz_of_batch_one(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "one.npz", image=image())
    (answer,) = results(bundle, capsys, tmp_path / "one.npz")
    assert answer["input"] == str(tmp_path / "one.npz")


def test_npz_of_pixels_is_prepared_as_a_photo_is(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "pixels.npz", image=photo(4)[None])
    (answer,) = results(bundle, capsys, tmp_path / "pixels.npz")
    outputs = answer["outputs"]
    assert isinstance(outputs, dict)
    np.testing.assert_allclose(outputs["logits"], logits_of(photo(4)), rtol=1e-3)


def test_a_folder_is_taken_in_order_without_hidden_files(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_photo(tmp_path / "b.png")
    save_photo(tmp_path / "A.PNG", seed=2)
    np.save(tmp_path / "c.npy", image())
    (tmp_path / "._b.png").write_bytes(b"left by another system")
    (tmp_path / "notes.txt").write_text("not an input")
    assert run(bundle, tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["A.PNG", "b.png", "c.npy"]
    assert all("local" in line and "sent nothing" in line for line in lines[:3])
    assert lines[3].startswith("3 answers: 3 by local; median ")
    assert len(lines) == 4


def test_slowdown_is_said(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_photo(tmp_path / "a.png")
    assert run(bundle, tmp_path / "a.png", "--slowdown", "2") == 0
    out, err = capsys.readouterr()
    assert err == "emulating a device 2 times slower than this machine\n"
    assert out.count("\n") == 1


def test_names_cannot_command_the_terminal(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_photo(tmp_path / "a\x1b[2J.png")
    assert run(bundle, tmp_path / "a\x1b[2J.png") == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((1, 3, 8, 8), np.float32), "[1, 3, 8, 8]"),
        (np.zeros((3, 16, 16), np.float32), "[3, 16, 16]"),
        (np.zeros((1, 3, 16, 16), np.float64), "float64"),
        (np.zeros((1, 3, 16, 16), np.int64), "int64"),
        (np.full((1, 3, 16, 16), np.nan, np.float32), "NaN"),
        (np.full((1, 3, 16, 16), np.inf, np.float32), "infin"),
        (np.zeros((5, 5, 7), np.uint8), "[5, 5, 7]"),
    ],
)
def test_arrays_that_do_not_fit(
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    array: np.ndarray,
    said: str,
) -> None:
    np.save(tmp_path / "odd.npy", array)
    message = refusal(bundle, capsys, tmp_path / "odd.npy")
    assert "odd.npy" in message
    assert said.lower() in message.lower()


def test_npz_with_a_wrong_name(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "odd.npz", picture=image())
    message = refusal(bundle, capsys, tmp_path / "odd.npz")
    assert "expected in " in message
    assert "odd.npz the inputs image, found picture; name each input" in message


def test_npz_with_nan(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "odd.npz", image=np.full((2, 3, 16, 16), np.nan, np.float32))
    assert "odd.npz" in refusal(bundle, capsys, tmp_path / "odd.npz")


def test_objects_are_not_unpickled(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], object))
    message = refusal(bundle, capsys, tmp_path / "evil.npy")
    assert "found Array can't be memory-mapped: Python objects in dtype; write it" in message


def test_an_archive_under_the_wrong_name(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "x.npz", image=image())
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    assert "call it .npz" in refusal(bundle, capsys, tmp_path / "x.npy")


def test_an_array_that_promises_more_than_it_has(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = np.lib.format.header_data_from_array_1_0(np.zeros(1, np.float32))
    with (tmp_path / "big.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**head, "shape": (10**12,)})
    message = refusal(bundle, capsys, tmp_path / "big.npy")
    assert "expected an array in" in message
    assert "big.npy" in message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.npy", b"", "empty.npy"),
        ("empty.npz", b"", "empty.npz"),
        ("noise.npy", b"\x93NUMPY noise", "noise.npy"),
        ("empty.jpg", b"", "empty.jpg"),
        ("text.jpg", b"this is no photo", "expected a JPEG, PNG, WebP or GIF photo in the photo"),
        ("cut.png", b"\x89PNG\r\n\x1a\n", "cut.png"),
    ],
)
def test_files_that_are_not_what_they_are_called(
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    said: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in refusal(bundle, capsys, tmp_path / name)


def test_a_photo_that_ends_early(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = save_photo(tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    assert "half.png" in refusal(bundle, capsys, tmp_path / "half.png")


def test_a_pixel_bomb(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("1", (30_000, 30_000)).save(tmp_path / "bomb.png")
    message = refusal(bundle, capsys, tmp_path / "bomb.png")
    assert "bomb.png" in message
    assert "pixels" in message


def test_nothing_there(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nope.jpg" in refusal(bundle, capsys, tmp_path / "nope.jpg")
    assert "nope.npy" in refusal(bundle, capsys, tmp_path / "nope.npy")
    assert "nope.npz" in refusal(bundle, capsys, tmp_path / "nope.npz")
    assert "found none; name files or a folder" in refusal(bundle, capsys, tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--route", "teleport"), "found 'teleport'; choose one of them"),
        (("--slowdown", "0.5"), "expected --slowdown of at least 1"),
        (("--slowdown", "nan"), "expected --slowdown of at least 1"),
        (("--timeout", "0"), "expected a time-out above 0"),
        (("--deadline", "-1s"), "expected a duration such as 80ms, found '-1s'; use"),
        (("--link", "ltee"), "expected one of the links 3g, lte, wifi, found 'ltee'"),
        (("--link", "up=5"), "expected a rate such as 5.85Mbit/s, found '5'"),
        (("--server", "nowhere"), "expected a server address such as http://127.0.0.1:8000"),
        (("--policy", "only_in_cloud"), "start: edgewise serve BUNDLE"),
    ],
)
def test_options_that_do_not_fit(
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    save_photo(tmp_path / "a.png")
    assert said in refusal(bundle, capsys, tmp_path / "a.png", *words)


def test_damaged_bundles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo_file = save_photo(tmp_path / "a.png")
    damaged = session_bundle(tmp_path / "bundle", "local")
    part = damaged.path / "full.onnx"
    raw = part.read_bytes()
    part.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert "full.onnx as the manifest of" in refusal(damaged, capsys, photo_file)
    part.write_bytes(raw[:-1])
    assert f"expected {len(raw)} bytes in" in refusal(damaged, capsys, photo_file)
    part.unlink()
    assert "expected a regular file full.onnx" in refusal(damaged, capsys, photo_file)
    (damaged.path / "bundle.json").write_text("{")
    assert "bundle.json" in refusal(damaged, capsys, photo_file)
    (damaged.path / "bundle.json").write_text('{"schema": 99}')
    assert "expected schema 1 in" in refusal(damaged, capsys, photo_file)


def test_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (tmp_path, tmp_path / "nope", Path(__file__)):
        assert main(["run", str(place), "a.png"]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert str(place) in err


def test_without_labels_nothing_is_called_a_class(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_photo(tmp_path / "a.png")
    (answer,) = results(bundle, capsys, tmp_path / "a.png")
    assert answer["label"] is None
    assert run(bundle, tmp_path / "a.png") == 0
    shown = capsys.readouterr().out
    assert f"largest at {int(logits_of(photo()).argmax())} of {tiny.CLASSES}  " in shown
    assert "class" not in shown


@pytest.mark.parametrize("more", [(), ("--fps", 30)])
def test_a_route_that_there_is_not_is_the_fault_of_no_input(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...]
) -> None:
    save_photo(tmp_path / "a.png")
    said = refusal(bundle, capsys, tmp_path / "a.png", "--route", "nope", *more)
    assert "expected one of the routes local, found 'nope'" in said
    assert "a.png" not in said


def test_labels_name_the_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = session_bundle(tmp_path / "plain", "local")
    labels = tuple(f"class-{i}" for i in range(tiny.CLASSES))
    manifest = dataclasses.replace(plain.manifest, labels=labels)
    raw = {part.name: plain.read_part(part.name) for part in manifest.parts}
    named = write_bundle(tmp_path / "named", manifest, raw)
    save_photo(tmp_path / "a.png")
    (answer,) = results(named, capsys, tmp_path / "a.png")
    assert answer["label"] == labels[int(logits_of(photo()).argmax())]
