"""Both halves use only what gives the stored answer on this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from command_line import refused, type_command
from edgewise.bundle import Bundle
from edgewise.errors import BadInput, EdgewiseError
from edgewise.running import Options, Policy, connect
from edgewise.serving import server_process
from probed_bundles import device_copy, probed
from session_bundles import image, logits_of, session_bundle

pytestmark = [pytest.mark.net, pytest.mark.engine]
OFF = r"off by 0\.5 of its largest value, at most 0\.001 is engine noise"


def _bundle(folder: Path, *routes: str, wrong: tuple[str, ...] = ()) -> Bundle:
    return probed(session_bundle(folder / "b", *routes), wrong=wrong)


def test_both_halves_of_a_sound_bundle_are_used(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, "split-fp32", "split-fp16", "split-int8", "cloud-png", "local")
    with server_process(bundle.path) as server, connect(bundle, server.url) as session:
        assert session.distrusted == {}
        answer = session.run(image())
        assert answer.inference_source.route == "split-fp32"
        np.testing.assert_allclose(answer.outputs["logits"], logits_of(image()), rtol=1e-5)


def test_a_device_needs_the_files_of_its_own_side_alone(tmp_path: Path) -> None:
    whole = _bundle(tmp_path, "split-fp32", "cloud-raw", "local")
    device = device_copy(whole, tmp_path / "device")
    assert not list(device.path.glob("tail*"))
    with server_process(whole.path) as server, connect(device, server.url) as session:
        for route in ("split-fp32", "cloud-raw", "local"):
            answer = session.run(image(), route=route)
            np.testing.assert_allclose(answer.outputs["logits"], logits_of(image()), rtol=1e-5)


def test_a_route_whose_part_fails_is_dropped(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, "split-fp16", "split-fp32", "local", wrong=("head-half",))
    with server_process(bundle.path) as server, connect(bundle, server.url) as session:
        assert list(session.distrusted) == ["head-half"]
        assert session.distrusted["head-half"].startswith(
            "'half' is not the stored answer: off by"
        )
        answer = session.run(image())
        assert answer.inference_source.route == "split-fp32"
        with pytest.raises(BadInput, match="split-fp16"):
            session.run(image(), route="split-fp16")


def test_a_fallback_that_fails_never_answers(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, "split-fp32", wrong=("full",))
    with connect(bundle, "http://127.0.0.1:9") as session:
        assert list(session.distrusted) == ["full"]
        with pytest.raises(EdgewiseError, match="refused"):
            session.run(image())


def test_nothing_left_is_said_with_the_reason(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, "split-fp32", "local", wrong=("full",))
    message = (
        "expected a part of the bundle that gives its stored answer on this machine, found "
        rf"the part 'full': '\w+' is not the stored answer: {OFF}; "
        "install another version of onnxruntime, or plan the bundle anew here"
    )
    with pytest.raises(BadInput, match=f"^{message}$"):
        connect(bundle, None)
    only = Options(policy=Policy.ONLY_ON_DEVICE)
    with pytest.raises(BadInput, match="gives its stored answer"):
        connect(bundle, "http://127.0.0.1:9", options=only)
    np.save(tmp_path / "x.npy", image())
    refused(type_command("run", bundle.path, tmp_path / "x.npy"), said=message)


def test_the_command_says_what_it_does_not_use(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, "split-fp32", "local", wrong=("head",))
    np.save(tmp_path / "x.npy", image())
    typed = type_command("run", bundle.path, tmp_path / "x.npy", "--server", "http://127.0.0.1:9")
    assert typed.code == 0, typed.err
    assert "not used on this machine: head: 'feature' is not the stored answer" in typed.err
    assert "local" in typed.out


def test_a_server_refuses_a_part_that_fails_and_names_it(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, "split-fp32", "split-int8", wrong=("tail-byte",))
    message = (
        "expected the stored answer from the part 'tail-byte' in the bundle 'tiny', "
        rf"found '\w+' is not the stored answer: {OFF}; "
        "plan it anew with: edgewise plan MODEL -o BUNDLE"
    )
    refused(type_command("serve", bundle.path, "--port", "0"), said=message)


def test_a_server_does_not_judge_parts_of_the_device(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, "split-fp32", "local", wrong=("head",))
    with server_process(bundle.path) as server, connect(bundle, server.url) as session:
        assert session.run(image()).inference_source.route == "local"


def test_a_broken_probe_is_refused_by_both(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, "split-fp32", "local")
    (bundle.path / "probe.bin").write_bytes(bytes(bundle.manifest.probe.bytes))
    said = r"expected probe\.bin as the manifest of .* lists it, found another file"
    with pytest.raises(BadInput, match=said):
        connect(bundle, None)
    refused(type_command("serve", bundle.path, "--port", "0"), said=said)
