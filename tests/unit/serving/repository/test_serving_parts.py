"""A server refuses at its start what it could not answer later."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgewise.bundle import Bundle, Manifest, write_bundle
from edgewise.errors import BadInput
from edgewise.serving import create_app
from edgewise.serving.repository.parts import load_bundle
from unit.serving import tiny_bundle as tiny

pytestmark = pytest.mark.engine


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny.write_tiny_bundle(tmp_path / "bundle")


def _rewritten(bundle: Bundle, **changes: object) -> Bundle:
    manifest: Manifest = dataclasses.replace(bundle.manifest, **changes)
    parts = {part.name: bundle.read_part(part.name) for part in manifest.parts}
    return write_bundle(bundle.path, manifest, parts)


def _message(bundle: Bundle) -> str:
    with pytest.raises(BadInput) as caught:
        load_bundle(bundle, threads=1)
    return str(caught.value)


def test_routes_share_the_engine_of_their_part(bundle: Bundle) -> None:
    served = load_bundle(bundle, threads=1)
    assert "local" not in [route.route.name for route in served.routes]
    whole = {id(r.engine) for r in served.routes if r.route.server_part == "full"}
    halves = {id(r.engine) for r in served.routes if r.route.server_part != "full"}
    assert (len(whole), len(halves)) == (1, 3)


def test_the_longest_route_bounds_every_body(bundle: Bundle) -> None:
    longest = max(tiny.IMAGE.nbytes(), tiny.FEATURE.nbytes())
    assert load_bundle(bundle, threads=1).max_body_bytes == 65_536 + longest


@pytest.mark.parametrize("name", ["stats", ".", ".."])
def test_a_name_that_means_something_else_in_a_path_is_refused(bundle: Bundle, name: str) -> None:
    assert _message(_rewritten(bundle, name=name)) == (
        "expected a network file whose name means nothing else in a path in the bundle"
        f" {name!r}, found {name!r}; plan it anew with: edgewise plan MODEL -o BUNDLE"
    )


def test_a_name_that_is_no_path_segment_is_refused(bundle: Bundle) -> None:
    assert _message(_rewritten(bundle, name="a/b")) == (
        "expected a name of 1 to 64 letters, digits and _ . - in the bundle 'a/b', found 'a/b';"
        " plan it anew with: edgewise plan MODEL -o BUNDLE"
    )


def test_a_bundle_without_server_parts_is_refused(bundle: Bundle) -> None:
    text = _message(_rewritten(bundle, routes=bundle.manifest.routes[:1]))
    assert text.startswith("expected a route with a server part in the bundle 'tiny', found only")


def test_a_part_that_does_not_take_what_is_sent_is_refused(bundle: Bundle) -> None:
    routes = list(bundle.manifest.routes)
    routes[1] = dataclasses.replace(routes[1], server_part="tail-half")
    assert _message(_rewritten(bundle, routes=tuple(routes))).startswith(
        "expected a server part that takes what 'split-fp32' sends, feature float32 in the bundle"
        " 'tiny', found one that takes half float16;"
    )


def test_images_without_a_preparation_are_refused(bundle: Bundle) -> None:
    text = _message(_rewritten(bundle, preparation=None))
    assert text.startswith("expected a preparation for the images of 'cloud-png'")


def test_images_of_another_size_than_the_network_takes_are_refused(bundle: Bundle) -> None:
    text = _message(_rewritten(bundle, preparation={**tiny.PREPARATION, "height": 8}))
    assert text.startswith("expected float32[1, 3, 16, 16] for the input 'image'")


def test_images_in_another_form_than_flat_bytes_are_refused(bundle: Bundle) -> None:
    routes = list(bundle.manifest.routes)
    flat = routes[5].boundary[0]
    routes[5] = dataclasses.replace(
        routes[5], boundary=(dataclasses.replace(flat, shape=("n", "m")),)
    )
    text = _message(_rewritten(bundle, routes=tuple(routes)))
    assert text.startswith("expected one flat uint8 tensor for one network input in the route")


def test_a_corrupted_part_is_refused(bundle: Bundle) -> None:
    path = bundle.path / "tail.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert "expected tail.onnx as the manifest of" in _message(bundle)


def test_no_threads_are_refused(bundle: Bundle) -> None:
    with pytest.raises(BadInput, match="expected at least 1 thread, found 0; choose with"):
        create_app(bundle, threads=0)
