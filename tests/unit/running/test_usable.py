from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgewise.bundle import Bundle, PayloadCodec, RouteKind
from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.running import Options, Policy
from edgewise.running.usable import check_outputs, device_parts, fallback_route, usable_routes
from session_bundles import image as _image
from session_bundles import session_bundle

NAMES = ("cloud-jpeg", "split-fp32", "local")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return session_bundle(tmp_path_factory.mktemp("usable") / "bundle", *NAMES)


def usable(bundle: Bundle, *, online: bool = True, **options: object) -> list[str]:
    routes = usable_routes(bundle.manifest, Options(**options), online=online)
    return [route.name for route in routes]


def test_options_and_the_want_of_a_server_leave_some_routes(bundle: Bundle):
    assert usable(bundle) == list(NAMES)
    assert usable(bundle, online=False) == ["local"]
    assert usable(bundle, raw_input_stays=True) == ["split-fp32", "local"]
    assert usable(bundle, policy=Policy.ONLY_IN_CLOUD) == ["cloud-jpeg", "split-fp32"]


def test_no_server_where_one_is_needed(bundle: Bundle):
    with pytest.raises(BadInput) as refused:
        usable(bundle, online=False, policy=Policy.ONLY_IN_CLOUD)
    assert str(refused.value) == (
        "expected a server for cloud-jpeg, split-fp32, found no address;"
        " start: edgewise serve BUNDLE; and pass the address that it prints"
    )


def test_only_the_networks_that_may_run_are_opened(bundle: Bundle):
    def names(*routes: str, **options: object) -> list[str]:
        chosen = [bundle.manifest.route(route) for route in routes]
        return [name for name, _ in device_parts(bundle.manifest, chosen, Options(**options))]

    assert names(*NAMES) == ["head", "full", "full"]
    assert names("split-fp32", policy=Policy.ONLY_IN_CLOUD) == ["head"]
    assert names("cloud-jpeg") == ["full"]
    assert names("local") == ["full"]


@pytest.mark.parametrize("kind", [RouteKind.EXIT, RouteKind.CASCADE])
def test_a_kind_of_route_from_a_later_edgewise_is_refused(bundle: Bundle, kind: RouteKind):
    manifest = bundle.manifest
    strange = replace(manifest.routes[1], name="strange", kind=kind)
    with pytest.raises(BadInput, match=f"local, split, cloud in .*'strange' of the kind {kind}"):
        usable_routes(replace(manifest, routes=(strange,)), Options(), online=True)


def test_a_cloud_route_that_sends_what_the_model_does_not_take_is_refused(bundle: Bundle):
    manifest = bundle.manifest
    cloud = manifest.route("cloud-jpeg")
    other = replace(cloud.boundary[0], name="other")
    wrong = [
        replace(cloud, boundary=(other,), codec=PayloadCodec.FP32),
        replace(cloud, boundary=(cloud.boundary[0], other)),
        replace(cloud, boundary=()),
    ]
    for route in wrong:
        with pytest.raises(BadInput, match="inputs of the model as what 'cloud-jpeg' sends"):
            usable_routes(replace(manifest, routes=(route,)), Options(), online=True)


@pytest.mark.engine
def test_a_network_that_does_not_give_what_is_wanted_is_refused(bundle: Bundle):
    engine = open_engine(bundle.read_part("full"))
    check_outputs("full", engine, ["logits"])
    with pytest.raises(BadInput, match="the tensor 'feature' from the part 'full' of the bundle"):
        check_outputs("full", engine, ["logits", "feature"])
    assert engine.run({"image": _image()})["logits"].dtype == np.float32


def test_the_fallback_is_the_route_that_runs_the_same_network(bundle: Bundle):
    manifest = bundle.manifest
    assert fallback_route(manifest) == manifest.route("local")
    assert fallback_route(replace(manifest, routes=manifest.routes[:2])) is None
