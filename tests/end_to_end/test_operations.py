"""A served bundle as its operator sees it: keys, budgets, metrics, log, and the end."""

from __future__ import annotations

import http.client
import json
import re
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from command_line import COMMAND, read_url, refused, serving, type_command
from edgewise.bundle import Bundle
from edgewise.running import connect
from edgewise.serving import NewKey, new_key, write_entry
from edgewise.submission import Submission
from edgewise.wire import HEADER_LENGTH_FIELD, Message, encode_request
from http_requests import INFER, ask, infer, metrics
from session_bundles import image, logits_of, session_bundle
from unit.serving import tiny_bundle as tiny

pytestmark = [pytest.mark.net, pytest.mark.engine]


def _bearer(made: NewKey) -> dict[str, str]:
    return {"Authorization": f"Bearer {made.key}"}


def _make(name: str, **limits: float) -> NewKey:
    return new_key(name, random=secrets.token_bytes, **limits)


def _end(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert process.stderr is not None
    return process.stderr.read()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("operated")
    np.save(folder / "x.npy", image())
    return session_bundle(folder / "bundle", "split-fp32", "local")


@dataclass(frozen=True, kw_only=True)
class Guarded:
    url: str
    free: NewKey
    items: NewKey
    compute: NewKey


@pytest.fixture(scope="module")
def guarded(bundle: Bundle) -> Iterator[Guarded]:
    """One server with keys for all tests; its log is read when it has ended."""
    free = _make("free")
    items = _make("items", items_per_s=0.01)
    compute = _make("compute", compute_ms_per_s=0.001)
    made = (free, items, compute)
    file = bundle.path.parent / "keys.toml"
    file.write_text("".join(write_entry(one.entry) for one in made))
    with serving(bundle.path, "--api-keys", str(file), "--log", "json") as (url, process):
        yield Guarded(url=url, free=free, items=items, compute=compute)
        said = _end(process)
    lines = [json.loads(line) for line in said.splitlines()]
    assert (lines[0]["event"], lines[-1]["event"]) == ("serving", "ended")
    assert all(one.key[12:] not in said for one in made)
    assert "key=" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "path",
    ["/v2", "/v2/models/tiny", "/v2/models/tiny/ready", "/metrics/", "/nothing", "/v2/health"],
)
def test_without_a_key_there_is_nothing_but_health(guarded: Guarded, path: str) -> None:
    reply = ask(guarded.url, path)
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert reply.error == (
        "expected an API key that this server knows, found none; send one as"
        " 'Authorization: Bearer KEY'; its operator makes them"
    )
    assert infer(guarded.url).status == 401
    assert ask(guarded.url, "/v2/health/live").status == 200
    assert ask(guarded.url, "/v2/health/ready").status == 200


def test_a_key_lets_in_by_either_header(guarded: Guarded) -> None:
    assert infer(guarded.url, **_bearer(guarded.free)).status == 200
    assert infer(guarded.url, Edgewise_Key=guarded.free.key).status == 200
    assert ask(guarded.url, "/v2", **_bearer(guarded.free)).status == 200
    assert ask(guarded.url, "/nothing", **_bearer(guarded.free)).status == 404


def test_wrong_keys_do_not(guarded: Guarded) -> None:
    stranger = _make("free")
    assert infer(guarded.url, **_bearer(stranger)).status == 401
    near = guarded.free.key[:12] + stranger.key[12:]
    assert infer(guarded.url, Authorization=f"Bearer {near}").status == 401
    assert infer(guarded.url, Authorization=f"Basic {guarded.free.key}").status == 401


def test_a_budget_of_items_is_kept(guarded: Guarded) -> None:
    assert infer(guarded.url, **_bearer(guarded.items)).status == 200
    reply = infer(guarded.url, **_bearer(guarded.items))
    assert reply.status == 429
    wait_s = int(reply.headers["Retry-After"])
    assert 90 <= wait_s <= 100
    assert reply.error == (
        "expected a key with something left of its budget, found none;"
        f" try again in {wait_s} s, or answer on the device"
    )
    assert infer(guarded.url, **_bearer(guarded.free)).status == 200
    assert ask(guarded.url, "/v2", **_bearer(guarded.items)).status == 200


def test_a_budget_of_compute_is_kept(guarded: Guarded) -> None:
    assert infer(guarded.url, **_bearer(guarded.compute)).status == 200
    reply = infer(guarded.url, **_bearer(guarded.compute))
    assert reply.status == 429
    assert int(reply.headers["Retry-After"]) >= 1


def test_metrics_tell_what_happened(guarded: Guarded) -> None:
    before = metrics(guarded.url)
    infer(guarded.url, **_bearer(guarded.free))
    infer(guarded.url)
    after = metrics(guarded.url)

    def grown(name: str, labels: str = "") -> float:
        return after[name, labels] - before.get((name, labels), 0.0)

    answered = "endpoint=infer,model=tiny,route=split-fp32,status=200,version=1"
    assert grown("edgewise_requests_total", answered) == 1
    assert (
        grown("edgewise_requests_total", "endpoint=infer,model=,route=,status=401,version=") == 1
    )
    assert grown("edgewise_refused_total", "reason=key") == 1
    assert grown("edgewise_compute_seconds_count", "model=tiny,route=split-fp32,version=1") == 1
    for name, count in (("count", 1), ("exec_count", 1), ("request_success", 1)):
        assert grown(f"nv_inference_{name}", "model=tiny,version=1") == count
    assert grown("nv_inference_compute_infer_duration_us", "model=tiny,version=1") > 0
    assert grown("edgewise_payload_bytes_total", "codec=fp32,direction=in") > tiny.FEATURE.nbytes()
    assert grown("edgewise_payload_bytes_total", "codec=,direction=in") == 0  # refused unread
    assert after["edgewise_under_way", ""] == 1  # the one that asks


def test_metrics_through_a_proxy_need_a_key(guarded: Guarded) -> None:
    forwarded = {"X_Forwarded_For": "192.0.2.1"}
    assert ask(guarded.url, "/metrics", **forwarded).status == 401
    assert ask(guarded.url, "/metrics", **forwarded, **_bearer(guarded.items)).status == 200
    assert ask(guarded.url, "/metrics", Host="evil.example").status == 421


def test_the_device_shows_its_key(guarded: Guarded, bundle: Bundle, tmp_path: Path) -> None:
    with connect(bundle, guarded.url, api_key=guarded.free.key) as session:
        assert session.run(image()).inference_source.route == "split-fp32"
    words = ("run", bundle.path, bundle.path.parent / "x.npy", "--server", guarded.url, "--json")
    file = tmp_path / "key"
    file.write_text(guarded.free.key + "\n")
    by_file = type_command(*words, "--api-key-file", file)
    by_variable = type_command(*words, env={"EDGEWISE_API_KEY": guarded.free.key})
    for typed in (by_file, by_variable):
        assert typed.code == 0, typed.err
        (result,) = json.loads(typed.out)["results"]
        assert result["inference_source"]["route"] == "split-fp32"
        assert guarded.free.key not in typed.out + typed.err


def test_a_device_without_the_right_key_is_told(guarded: Guarded, bundle: Bundle) -> None:
    words = ("run", bundle.path, bundle.path.parent / "x.npy", "--server", guarded.url)
    remedy = "pass it with --api-key-file FILE, or in the variable EDGEWISE_API_KEY"
    known = f"expected an API key that the server at {guarded.url} knows, found"
    refused(type_command(*words, env={"EDGEWISE_API_KEY": ""}), said=f"{known} none; {remedy}")
    typed = type_command(*words, env={"EDGEWISE_API_KEY": _make("x").key})
    refused(typed, said=f"{known} another one; {remedy}")


def test_a_key_over_its_budget_is_answered_by_the_device(bundle: Bundle, tmp_path: Path) -> None:
    made = _make("few", items_per_s=0.01)
    (tmp_path / "keys.toml").write_text(write_entry(made.entry))
    with (
        serving(bundle.path, "--api-keys", str(tmp_path / "keys.toml")) as (url, _),
        connect(bundle, url, api_key=made.key) as session,
    ):
        first, second = (session.run(image()) for _ in range(2))
    assert first.inference_source.route == "split-fp32"
    assert second.inference_source.route == "local"
    assert "429: expected a key with something left" in second.inference_source.reason
    np.testing.assert_allclose(second.outputs["logits"], logits_of(image()), rtol=1e-4)


def test_keys_are_made_on_the_command_line(bundle: Bundle, tmp_path: Path) -> None:
    typed = type_command("keys", "new", "shop", "--items-per-s", "5", "--concurrent", "2")
    assert typed.code == 0
    key = typed.err.strip().rpartition(" ")[2]
    assert key not in typed.out
    assert re.search(r"items_per_s = 5\.0\nconcurrent = 2\n$", typed.out)
    file = tmp_path / "keys.toml"
    file.write_text(typed.out + type_command("keys", "new", "other").out)
    with serving(bundle.path, "--api-keys", str(file), "--name-keys") as (url, process):
        assert infer(url, Edgewise_Key=key, id="a b\x1b[31m").status == 200
        labels = "endpoint=infer,key=shop,model=tiny,route=split-fp32,status=200,version=1"
        assert metrics(url)["edgewise_requests_total", labels] == 1
        said = _end(process)
    assert re.search(r' request id="a b\\u001b\[31m" endpoint=infer .* key=shop\n', said)
    assert key not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("keys", "new", ""), "a key's name of 1 to 64 letters"),
        (("keys", "new", "a b"), "a key's name of 1 to 64 letters"),
        (("keys", "new", "a", "--concurrent", "0"), "limits above 0 and up to 1e9 .* found 0;"),
        (("keys", "new", "a", "--items-per-s", "nan"), "limits above 0 .* found nan;"),
        (("keys", "new", "a", "--concurrent", "1.5"), "expected a whole number, found '1.5'"),
        (("keys",), "required: VERB"),
    ],
)
def test_keys_that_cannot_be_made(words: tuple[str, ...], said: str) -> None:
    refused(type_command(*words), said=said)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_keys_are_taken_back_without_a_restart(bundle: Bundle, tmp_path: Path) -> None:
    old, new = _make("old"), _make("new")
    file = tmp_path / "keys.toml"
    file.write_text(write_entry(old.entry))
    with serving(bundle.path, "--api-keys", str(file), "--log", "json") as (url, process):
        assert infer(url, **_bearer(old)).status == 200
        file.write_text("nonsense")
        process.send_signal(signal.SIGHUP)
        assert "the keys stay as they were: expected API keys" in _next(process, "failure")["what"]
        assert infer(url, **_bearer(old)).status == 200
        file.write_text(write_entry(new.entry))
        process.send_signal(signal.SIGHUP)
        assert _next(process, "keys")["count"] == 1
        assert infer(url, **_bearer(old)).status == 401
        assert infer(url, **_bearer(new)).status == 200
        _end(process)


def _next(process: subprocess.Popen[str], event: str) -> dict[str, object]:
    """The next line of the log about an event."""
    assert process.stderr is not None
    for line in process.stderr:
        fields: dict[str, object] = json.loads(line)
        if fields["event"] == event:
            return fields
    raise AssertionError(f"no {event!r} before the log ended")


def test_metrics_need_the_library_and_say_so(bundle: Bundle) -> None:
    script = (
        "import sys\n"
        "sys.modules['prometheus_client'] = None\n"
        "from edgewise.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, "serve", str(bundle.path), "--port=0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "edgewise: expected the optional part 'serve' to answer /metrics, found it not installed;"
        " run: pip install 'edgewise[serve]'\n"
    )


def test_keys_beyond_this_machine_want_tls(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text(write_entry(_make("a").entry))
    words = [*COMMAND, "serve", str(bundle.path), "--host", "0.0.0.0", "--port", "0"]
    words += ["--api-keys", str(tmp_path / "keys.toml")]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serving ")
        said = _end(process)
    assert said.startswith(
        "warning: keys travel to 0.0.0.0 unencrypted; pass --tls-cert and --tls-key\n"
    )


def test_an_open_server_beyond_this_machine_is_warned_of(bundle: Bundle) -> None:
    words = [*COMMAND, "serve", str(bundle.path), "--host", "0.0.0.0", "--port", "0"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serving ")
        said = _end(process)
    assert said.startswith(
        "warning: 0.0.0.0 can be reached from other machines, and whoever reaches it may ask;"
        " pass --api-keys\n"
    )


def test_a_file_without_keys_starts_no_server(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text("")
    typed = type_command("serve", bundle.path, "--api-keys", tmp_path / "keys.toml")
    refused(typed, said="expected API keys in .*: at least one ..key.., found none; make keys")
    refused(
        type_command("serve", bundle.path, "--api-keys", tmp_path / "no"),
        said="expected API keys in .*/no: a readable TOML file .* found No such file or directory",
    )
    refused(
        type_command("serve", bundle.path, "--api-keys", tmp_path),
        said="expected API keys in .* found Is a directory; make keys with",
    )


def test_a_key_may_have_so_many_requests_at_once(bundle: Bundle, tmp_path: Path) -> None:
    made = _make("one", concurrent=1)
    (tmp_path / "keys.toml").write_text(write_entry(made.entry))
    frame = encode_request(Message(tensors={"feature": tiny.weights().feature(image())}))
    with serving(bundle.path, "--api-keys", str(tmp_path / "keys.toml")) as (url, _):
        first = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
        first.putrequest("POST", INFER)
        first.putheader("Content-Length", str(len(frame.body)))
        first.putheader(HEADER_LENGTH_FIELD, str(frame.header_bytes))
        first.putheader("Edgewise-Key", made.key)
        first.endheaders(frame.body[:-1])
        while metrics(url)["edgewise_under_way", ""] < 2:  # the first, and the one that asks
            time.sleep(0.01)
        second = infer(url, **_bearer(made))
        assert (second.status, second.headers["Retry-After"]) == (429, "1")
        assert "expected a key with room for one more request at once" in second.error
        first.send(frame.body[-1:])
        assert first.getresponse().status == 200
        assert infer(url, **_bearer(made)).status == 200
        first.close()


def test_metrics_through_a_proxy_are_refused_where_no_key_helps(bundle: Bundle) -> None:
    with serving(bundle.path) as (url, _):
        reply = ask(url, "/metrics", Via="1.1 proxy")
        assert reply.status == 403
        assert reply.error == (
            "expected a look at the metrics from the server's own machine, found one from"
            " elsewhere; ask there, or start the server with --api-keys and send a key"
        )


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs limits on other processes")
def test_a_log_on_a_full_disk_holds_up_nobody(bundle: Bundle, tmp_path: Path) -> None:
    words = [*COMMAND, "serve", str(bundle.path), "--port=0", "--json", "--log=json"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        url = read_url(process)
        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, -1))
        assert [infer(url).status for _ in range(5)] == [200] * 5
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        assert infer(url).status == 200
        process.terminate()
        assert process.wait(20) == 0
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [event["event"] for event in events[-2:]] == ["request", "ended"]


def test_metrics_can_be_left_out(bundle: Bundle) -> None:
    with serving(bundle.path, "--no-metrics", "--log", "off") as (url, process):
        assert ask(url, "/metrics").status == 404
        assert _end(process) == ""


def test_after_sigterm_it_is_not_ready_answers_for_the_notice_and_ends(bundle: Bundle) -> None:
    with serving(bundle.path, "--notice", "2s") as (url, process):
        assert ask(url, "/v2/health/ready").status == 200
        process.send_signal(signal.SIGTERM)
        replies = [ask(url, "/v2/health/ready")]
        while replies[-1].status == 200 and len(replies) < 100:
            time.sleep(0.01)
            replies.append(ask(url, "/v2/health/ready"))
        assert replies[-1].status == 503
        assert replies[-1].error == (
            "expected a server that stays, found one about to end; ask another one"
        )
        for path in ("/v2/models/tiny/ready", "/v2/models/tiny/versions/1/ready"):
            reply = ask(url, path)
            assert (reply.status, reply.error) == (503, replies[-1].error)
        assert ask(url, "/v2/health/live").status == 200
        assert infer(url).status == 200
        assert process.wait(20) == 0


def test_a_second_signal_ends_the_notice(bundle: Bundle) -> None:
    with serving(bundle.path, "--notice", "300s") as (url, process):
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        assert process.wait(20) == 0
        with pytest.raises(ConnectionRefusedError):
            ask(url, "/v2/health/live")


def test_what_never_ends_is_cut_off_at_the_limit(bundle: Bundle) -> None:
    with serving(bundle.path, "--drain", "1s", "--log", "json") as (url, process):
        host, _, port = url.removeprefix("http://").rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        connection.putrequest("POST", INFER)
        connection.putheader("Content-Length", "1000")
        connection.putheader(HEADER_LENGTH_FIELD, "100")
        connection.endheaders(b"half")
        time.sleep(0.3)
        said = [json.loads(line) for line in _end(process).splitlines()]
        reply = connection.getresponse()
        assert reply.status == 503
        assert json.loads(reply.read())["error"].startswith(
            "expected an answer before the server's end"
        )
        connection.close()
    (line,) = [event for event in said if event["event"] == "request"]
    assert (line["status"], line["refused"]) == (503, "cut_off")
    assert not any("Traceback" in event.get("trace", "") for event in said)


def test_the_log_tells_a_taken_key_and_loading_from_what_shares_their_status(
    bundle: Bundle, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path}/submissions.db"
    with serving(bundle.path, "--submissions", database, "--log", "json") as (url, process):
        for i in range(2):
            frame = Submission(key="a", record={"i": i}).frame()
            fields = {HEADER_LENGTH_FIELD: str(frame.header_bytes)}
            last = ask(url, "/v2/models/tiny/submit", bytes(frame.body), **fields)
        assert last.status == 409
        assert ask(url, "/v2/repository/models/tiny/load", b"").status == 403
        said = [json.loads(line) for line in _end(process).splitlines()]
    refused = [event["refused"] for event in said if event.get("refused")]
    assert refused == ["key_taken", "loading"]


def test_a_killed_server_leaves_its_port_free(bundle: Bundle) -> None:
    with serving(bundle.path) as (url, process):
        assert infer(url).status == 200
        process.kill()
        process.wait(20)
        port = url.rpartition(":")[2]
    with serving(bundle.path, "--port", port) as (again, _):
        assert again == url
        assert infer(again).status == 200
