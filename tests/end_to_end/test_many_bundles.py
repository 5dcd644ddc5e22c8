"""One server with several bundles: versions side by side, a version on trial, an exchange."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tritonclient import http as triton

from command_line import refused, serving, type_command
from edgewise.bundle import Bundle
from edgewise.errors import BadInput
from edgewise.running import Options, Policy, connect
from edgewise.serving import new_key, read_canary, server_process, write_entry
from edgewise.serving.protocol.openapi import openapi
from edgewise.wire import HEADER_LENGTH_FIELD, Message, encode_request
from http_requests import INFER, ask, infer, metrics
from session_bundles import image, logits_of, session_bundle
from unit.serving import tiny_bundle as tiny

pytestmark = [pytest.mark.net, pytest.mark.engine]
CLOUD = Options(policy=Policy.PREFER_IN_CLOUD)


@dataclass(frozen=True, kw_only=True)
class Site:
    url: str
    old: Bundle
    new: Bundle


def _old(folder: Path) -> Bundle:
    return session_bundle(folder, "split-fp32", "local")


def _new(folder: Path, version: int = 2) -> Bundle:
    return session_bundle(folder, "split-fp32", "local", seed=1, version=version)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two versions of one name, and another name."""
    folder = tmp_path_factory.mktemp("many")
    old, new = _old(folder / "old"), _new(folder / "new")
    other = session_bundle(folder / "other", "split-fp32", name="other")
    with server_process([old.path, new.path, other.path]) as running:
        yield Site(url=running.url, old=old, new=new)


def _logits(seed: int) -> np.ndarray:
    """The answer of the second half of one seed to the features of the first of seed 0."""
    return tiny.weights(seed).logits(tiny.weights().feature(image()))


# Versions side by side


def test_no_version_means_the_highest(site: Site) -> None:
    reply = infer(site.url)
    assert (reply.status, reply.answered_by) == (200, "2")
    assert reply.headers["Edgewise-Bundle"] == site.new.digest
    np.testing.assert_allclose(reply.logits, _logits(1), rtol=1e-4)


@pytest.mark.parametrize(("version", "seed"), [("1", 0), ("2", 1)])
def test_a_version_that_is_named_answers(site: Site, version: str, seed: int) -> None:
    reply = infer(site.url, f"/v2/models/tiny/versions/{version}/infer")
    assert reply.answered_by == version
    np.testing.assert_allclose(reply.logits, _logits(seed), rtol=1e-4)


def test_a_bundle_that_is_named_answers_whatever_its_version(site: Site) -> None:
    reply = infer(site.url, bundle=site.old.digest)
    assert reply.answered_by == "1"
    assert reply.headers["Edgewise-Bundle"] == site.old.digest
    refusal = infer(site.url, "/v2/models/tiny/versions/2/infer", bundle=site.old.digest)
    assert refusal.status == 409
    refusal = infer(site.url, bundle="f" * 64)
    assert (refusal.status, refusal.headers["Edgewise-Bundle"]) == (409, site.new.digest)
    assert f"the bundle {site.new.digest[:12]} or {site.old.digest[:12]}, which" in refusal.error


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_json_and_compressed_requests_find_their_bundle_too(
    site: Site, binary: bool, compression: str | None
) -> None:
    feature = tiny.weights().feature(image())
    with triton.InferenceServerClient(site.url.removeprefix("http://")) as client:
        asked = triton.InferInput("feature", list(feature.shape), "FP32")
        asked.set_data_from_numpy(feature, binary_data=binary)
        reply = client.infer(
            "tiny",
            [asked],
            parameters={"bundle": site.old.digest},
            request_compression_algorithm=compression,
        )
        assert reply.get_response()["model_version"] == "1"
        np.testing.assert_allclose(reply.as_numpy("logits"), _logits(0), rtol=1e-4)


def test_metadata_and_index_list_every_version(site: Site) -> None:
    for path in ("/v2/models/tiny", "/v2/models/tiny/versions/1"):
        assert json.loads(ask(site.url, path).body)["versions"] == ["1", "2"]
    assert json.loads(ask(site.url, "/v2/models/other").body)["versions"] == ["1"]
    config = json.loads(ask(site.url, "/v2/models/tiny/config").body)
    assert config["version_policy"] == {"specific": {"versions": [1, 2]}}
    index = json.loads(ask(site.url, "/v2/repository/index", b"").body)
    assert [(entry["name"], entry["version"], entry["state"]) for entry in index] == [
        ("tiny", "1", "READY"),
        ("tiny", "2", "READY"),
        ("other", "1", "READY"),
    ]
    assert ask(site.url, "/v2/models/other/versions/1/ready").status == 200


def test_statistics_are_those_of_each_version(site: Site) -> None:
    def counts() -> dict[tuple[str, str], int]:
        entries = json.loads(ask(site.url, "/v2/models/stats").body)["model_stats"]
        return {(e["name"], e["version"]): e["inference_count"] for e in entries}

    before = counts()
    assert infer(site.url, bundle=site.old.digest).status == 200
    grown = {one: count - before[one] for one, count in counts().items()}
    assert grown == {("tiny", "1"): 1, ("tiny", "2"): 0, ("other", "1"): 0}
    found = json.loads(ask(site.url, "/v2/models/tiny/stats").body)["model_stats"]
    assert [entry["version"] for entry in found] == ["2", "1"]
    (only,) = json.loads(ask(site.url, "/v2/models/tiny/versions/1/stats").body)["model_stats"]
    assert only["version"] == "1"


def test_what_is_not_there_is_refused_with_what_is(site: Site) -> None:
    reply = ask(site.url, "/v2/models/cats")
    assert (reply.status, reply.error) == (
        404,
        "expected one of the models 'tiny', 'other', which this server serves, found another"
        " name; ask for /v2/models/tiny, or another of them",
    )
    reply = infer(site.url, "/v2/models/tiny/versions/3/infer")
    assert (reply.status, reply.error) == (
        404,
        "expected version 1 or 2 of the model 'tiny', found another version; ask for version 1 or"
        " 2, or for none",
    )


def test_the_description_names_a_model_that_is_there(site: Site) -> None:
    assert json.loads(ask(site.url, "/v2/openapi.json").body) == openapi(model="tiny")


def test_devices_with_either_bundle_are_answered_by_theirs(site: Site) -> None:
    for bundle, seed in ((site.old, 0), (site.new, 1)):
        with connect(bundle, site.url, options=CLOUD) as session:
            answer = session.run(image())
        assert answer.inference_source.route == "split-fp32"
        np.testing.assert_allclose(answer.outputs["logits"], logits_of(image(), seed=seed), 1e-4)


def test_a_device_with_a_third_bundle_is_told(site: Site, tmp_path: Path) -> None:
    third = _new(tmp_path / "third", version=3)
    with pytest.raises(BadInput, match=f"found the bundle {site.new.digest[:12]}"):
        connect(third, site.url)


def test_two_bundles_of_one_name_and_version_start_no_server(site: Site, tmp_path: Path) -> None:
    twin = _new(tmp_path / "twin")
    for more in ((), ("--workers", 2)):
        typed = type_command("serve", site.new.path, twin.path, *more)
        refused(typed, said="found version 2 of 'tiny' in .*new and .*twin; serve one of them, or")


# A version on trial


def test_a_share_of_the_requests_tries_a_version(site: Site) -> None:
    paths = (site.old.path, str(site.new.path), "--canary", "tiny:2=30%")
    canary = read_canary("tiny:2=30%")
    with serving(*paths) as (url, _):
        ids = [f"request {i}" for i in range(60)]
        found = [infer(url, id=id).answered_by for id in ids]
        assert found == ["2" if canary.takes(id) else "1" for id in ids]
        assert {"1", "2"} == {infer(url).answered_by for _ in range(30)}  # nobody says who it is
        counted = metrics(url)
        for version in ("1", "2"):
            assert infer(url, f"/v2/models/tiny/versions/{version}/infer").answered_by == version
            labels = f"model=tiny,route=split-fp32,version={version}"
            assert counted["edgewise_request_seconds_count", labels] >= found.count(version)
        with connect(site.new, url, options=CLOUD) as session:
            answer = session.run(image())
        np.testing.assert_allclose(answer.outputs["logits"], logits_of(image(), seed=1), 1e-4)


def test_a_client_that_is_known_by_its_key_sees_one_version(site: Site, tmp_path: Path) -> None:
    made = [new_key(name, random=_random(i)) for i, name in enumerate(("anna", "carla", "dora"))]
    (tmp_path / "keys.toml").write_text("".join(write_entry(one.entry) for one in made))
    canary = read_canary("tiny:2=50%")
    words = ("--canary", "tiny:2=50%", "--api-keys", str(tmp_path / "keys.toml"))
    with serving(site.old.path, str(site.new.path), *words) as (url, _):
        for one in made:
            found = {infer(url, Edgewise_Key=one.key).answered_by for _ in range(10)}
            assert found == {"2" if canary.takes(one.entry.name) else "1"}


def _random(seed: int):
    return lambda count: bytes([seed]) * count


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--canary", "tiny:2"), "expected a model's version with a share of requests between"),
        (("--canary", "tiny:7=5%"), "expected one share for version 7 of the model 'tiny'"),
        (("--keep-previous", "-1"), "expected a number of replaced bundles to keep, 0 or more"),
    ],
)
def test_options_that_do_not_fit(site: Site, words: tuple[str, str], said: str) -> None:
    typed = type_command("serve", site.old.path, *words)
    assert (typed.code, typed.out) == (2, "")
    assert said in typed.err
    assert "Traceback" not in typed.err


# An exchange while requests are answered


class Asker(threading.Thread):
    """Asks over one connection, again and again, and notes who answered."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.found: list[tuple[int, str]] = []
        self.ended = threading.Event()

    def run(self) -> None:
        feature = tiny.weights().feature(image())
        frame = encode_request(Message(tensors={"feature": feature}))
        fields = {HEADER_LENGTH_FIELD: str(frame.header_bytes)}
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=20)
        while not self.ended.is_set():
            connection.request("POST", INFER, frame.body, fields)
            reply = connection.getresponse()
            body = reply.read()
            head = body[: int(reply.headers[HEADER_LENGTH_FIELD])]
            self.found.append((reply.status, json.loads(head)["model_version"]))
        connection.close()

    def has_seen(self, version: str, times: int = 3) -> bool:
        return [v for _, v in self.found].count(version) >= times


def _wait_for(askers: list[Asker], version: str) -> None:
    pause = threading.Event()
    while not all(asker.has_seen(version) for asker in askers):
        assert all(asker.is_alive() for asker in askers)
        pause.wait(0.01)


def _next(process: subprocess.Popen[str], event: str) -> dict[str, object]:
    """The next line of the log about an event."""
    assert process.stderr is not None
    for line in process.stderr:
        fields: dict[str, object] = json.loads(line)
        if fields["event"] == event:
            return fields
    raise AssertionError(f"no {event!r} before the log ended")


def test_an_exchange_fails_no_request(tmp_path: Path) -> None:
    _old(tmp_path / "served")
    old = _old(tmp_path / "device")
    with serving(tmp_path / "served", "--log", "json") as (url, process):
        askers = [Asker(url), Asker(url)]
        for asker in askers:
            asker.start()
        _wait_for(askers, "1")
        # The log is read all the while, or the server would have to leave lines out.
        new = _new(tmp_path / "served")
        process.send_signal(signal.SIGHUP)
        assert _next(process, "bundle")["digest"] == new.digest[:12]
        kept = _next(process, "bundle")
        assert (kept["state"], kept["digest"]) == ("kept", old.digest[:12])
        assert _next(process, "bundles")["kept"] == 1
        drained = threading.Thread(target=process.stderr.read if process.stderr else None)
        drained.start()
        _wait_for(askers, "2")
        for asker in askers:
            asker.ended.set()
            asker.join()
            assert {status for status, _ in asker.found} == {200}
            versions = [version for _, version in asker.found]
            assert versions == sorted(versions)  # once the new one has answered, it answers all
        with connect(old, url, options=CLOUD) as session:
            answer = session.run(image())
        assert answer.inference_source.route == "split-fp32"
        np.testing.assert_allclose(answer.outputs["logits"], logits_of(image()), 1e-4)
        assert json.loads(ask(url, "/v2/models/tiny").body)["versions"] == ["1", "2"]
        process.send_signal(signal.SIGTERM)
        drained.join()


def test_what_is_under_way_ends_with_the_bundle_that_it_began_with(tmp_path: Path) -> None:
    old = _old(tmp_path / "served")
    frame = encode_request(Message(tensors={"feature": tiny.weights().feature(image())}))
    words = ("--log", "json", "--keep-previous", "0")
    with serving(old.path, *words) as (url, process):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
        connection.putrequest("POST", INFER)
        connection.putheader("Content-Length", str(len(frame.body)))
        connection.putheader(HEADER_LENGTH_FIELD, str(frame.header_bytes))
        connection.endheaders(frame.body[:-1])
        while metrics(url)["edgewise_under_way", ""] < 2:  # it, and the one that asks
            threading.Event().wait(0.01)
        _new(tmp_path / "served")
        process.send_signal(signal.SIGHUP)
        assert _next(process, "bundles")["kept"] == 0
        assert infer(url).answered_by == "2"
        assert infer(url, bundle=old.digest).status == 409
        connection.send(frame.body[-1:])
        reply = connection.getresponse()
        assert (reply.status, reply.headers["Edgewise-Bundle"]) == (200, old.digest)
        connection.close()


def test_what_cannot_be_loaded_changes_nothing(tmp_path: Path) -> None:
    served = _old(tmp_path / "served")
    with serving(served.path, "--log", "json") as (url, process):
        _new(tmp_path / "served")
        tail = tmp_path / "served" / "tail.onnx"
        whole = tail.read_bytes()
        tail.write_bytes(whole[:-1])
        process.send_signal(signal.SIGHUP)
        said = str(_next(process, "failure")["what"])
        assert said.startswith("the bundles stay as they were: expected ")
        assert "tail.onnx" in said
        assert infer(url).answered_by == "1"
        tail.write_bytes(whole)
        process.send_signal(signal.SIGHUP)
        assert _next(process, "bundles")["loaded"] == 1
        assert infer(url).answered_by == "2"
        process.send_signal(signal.SIGHUP)
        assert _next(process, "bundles")["loaded"] == 0
