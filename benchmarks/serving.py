"""What does the server cost beside the engine, and what does joining requests gain?

Run: python benchmarks/serving.py [--json FILE] [--md FILE] [--peers PYTHON] [--seconds 2]

Peers: FastAPI as most people write it, and LitServe; `--peers` names a Python that has them.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import importlib.util
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from edgewise.bundle import (
    SCHEMA,
    Coefficients,
    Fallback,
    FallbackKind,
    Manifest,
    PayloadCodec,
    Route,
    RouteKind,
    Side,
    describe_part,
    write_bundle,
)
from edgewise.engines import open_engine
from edgewise.serving import server_process
from edgewise.tensors import Array, TensorSpec
from edgewise.wire import HEADER_LENGTH_FIELD, Bound, Message, encode_request
from edgewise.zoo import get
from support.report import Findings, Goal, Table, main
from support.serving_load import Load, at_concurrency, at_rate, cpu_s, one_by_one

SUPPORT = Path(__file__).resolve().parent / "support"
CLIENTS = (4, 8, 16)
OVERLOAD = 3.0
TURNS = 4
WORDS = 32
BATCH = 8
FREE_QUEUE = "--max-queue=64"  # a closed loop never has more under way than it has clients


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network, in a file and in a bundle, with one input."""

    name: str
    path: Path
    bundle: Path
    feeds: dict[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One that runs, and the bytes of one request to it."""

    port: int
    pid: int
    request: bytes


# --- subjects ---------------------------------------------------------------------------------


def passing(folder: Path, name: str, width: int) -> Subject:
    """Hardly any computation: the first values of what came, doubled."""
    nodes = [
        helper.make_node("Slice", ["x", "start", "end", "axis"], ["first"]),
        helper.make_node("Add", ["first", "first"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 16])],
        [
            helper.make_tensor(each, TensorProto.INT64, [1], [value])
            for each, value in (("start", 0), ("end", 16), ("axis", 1))
        ],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    path = folder / f"{name}.onnx"
    path.write_bytes(model.SerializeToString())
    feeds = {"x": np.random.default_rng(0).normal(size=(1, width)).astype(np.float32)}
    return subject(folder, name, path, feeds)


def fashion(folder: Path) -> Subject:
    image = np.random.default_rng(0).normal(size=(1, 1, 28, 28)).astype(np.float32)
    return subject(folder, "fashion-resnet20", get("fashion-resnet20"), {"image": image})


def minilm(folder: Path) -> Subject:
    ids = np.random.default_rng(0).integers(1000, 20_000, (1, WORDS))
    feeds = {"input_ids": ids, "attention_mask": np.ones((1, WORDS), np.int64)}
    return subject(folder, "minilm-l6", get("minilm-l6"), feeds)


def subject(folder: Path, name: str, path: Path, feeds: dict[str, Array]) -> Subject:
    raw = path.read_bytes()
    with open_engine(raw) as engine:
        inputs, outputs = engine.inputs, engine.outputs
    sent = tuple(
        Bound.exactly(TensorSpec(name=each, dtype=array.dtype.name, shape=array.shape))
        for each, array in feeds.items()
    )
    manifest = Manifest(
        schema=SCHEMA,
        name=name,
        model_digest="0" * 64,
        inputs=inputs,
        outputs=outputs,
        parts=(describe_part("full", raw, side=Side.SERVER, inputs=inputs, outputs=outputs),),
        routes=(
            Route(
                name="cloud",
                kind=RouteKind.CLOUD,
                cut=tuple(feeds),
                codec=PayloadCodec.FP32,
                server_part="full",
                boundary=sent,
                coefficients=Coefficients(),
            ),
        ),
        fallback=Fallback(kind=FallbackKind.NONE),
    )
    bundle = write_bundle(folder / f"{name}-bundle", manifest, {"full": raw})
    return Subject(name=name, path=path, bundle=bundle.path, feeds=feeds)


def engine_s(it: Subject, count: int) -> float:
    """Median of the engine alone, in this process, on arrays that are there."""
    times = []
    with open_engine(it.path) as engine:
        for _ in range(count):
            start = time.perf_counter()
            engine.run(it.feeds)
            times.append(time.perf_counter() - start)
    return statistics.median(times[count // 5 :])


# --- servers ----------------------------------------------------------------------------------


@contextlib.contextmanager
def edgewise(it: Subject, *options: str) -> Iterator[Server]:
    frame = encode_request(Message(tensors=it.feeds))
    request = http(
        f"/v2/models/{it.name}/infer",
        frame.body,
        f"{HEADER_LENGTH_FIELD}: {frame.header_bytes}\r\n",
    )
    with server_process(it.bundle, options=options) as running:
        port = int(running.url.rpartition(":")[2])
        one_by_one(port, request, count=10)
        yield Server(port=port, pid=running.pid, request=request)


@contextlib.contextmanager
def peer(what: str, it: Subject, python: str, *, most: int = 1) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    inputs = [[name, x.dtype.name, x.shape] for name, x in it.feeds.items()]
    program = SUPPORT / f"serving_{what}.py"
    command = [python, str(program), str(it.path), str(port), str(most), json.dumps(inputs)]
    body = b"".join(x.tobytes() for x in it.feeds.values())
    kind = "application/octet-stream"
    if what == "litserve":
        body, kind = (
            json.dumps({"x": base64.b64encode(body).decode()}).encode(),
            "application/json",
        )
    request = http("/predict", body, f"Content-Type: {kind}\r\n")
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, stdout=words, stderr=words, start_new_session=True, cwd=it.bundle.parent
        )
        try:
            wait_for(process, port, request)
            yield Server(port=port, pid=process.pid, request=request)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(process: subprocess.Popen[bytes], port: int, request: bytes) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError, IndexError, AssertionError):
            one_by_one(port, request, count=10)
            return
        time.sleep(0.2)
    raise SystemExit("a peer did not start; install the group 'bench', or name --peers PYTHON")


def http(path: str, body: bytes, fields: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
    )
    return head.encode() + body


@contextlib.contextmanager
def servers(it: Subject, python: str, *, most: int) -> Iterator[dict[str, Server]]:
    with contextlib.ExitStack() as stack:
        found = {"edgewise": stack.enter_context(edgewise(it, f"--max-batch={most}", FREE_QUEUE))}
        if has_peers(python):
            found["FastAPI"] = stack.enter_context(peer("fastapi", it, python))
            found["LitServe"] = stack.enter_context(peer("litserve", it, python, most=most))
        yield found


def has_peers(python: str) -> bool:
    if python == sys.executable:
        return all(map(importlib.util.find_spec, ("fastapi", "litserve")))
    return True


# --- measurements -----------------------------------------------------------------------------


def overhead(folder: Path, python: str, count: int) -> dict[str, float]:
    """Median seconds of a round trip beyond the engine's own, 50 kB each; interleaved."""
    it = passing(folder, "wide", 12_800)
    own_s = engine_s(it, count)
    with servers(it, python, most=BATCH) as found:
        times: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(5):
            for name, server in found.items():
                times[name] += one_by_one(server.port, server.request, count=count // 5)
    return {name: statistics.median(runs) - own_s for name, runs in times.items()}


def echo(folder: Path, python: str, seconds: float) -> dict[str, float]:
    """Requests per second of CPU time, 1 kB, 8 clients."""
    it = passing(folder, "small", 256)
    per_core = {}
    with servers(it, python, most=BATCH) as found:
        for name, server in found.items():
            before = cpu_s(server.pid)
            load = at_concurrency(server.port, server.request, clients=8, seconds=seconds)
            per_core[name] = len(load.good_s) / max(0.01, cpu_s(server.pid) - before)
    return per_core


def batching(it: Subject, python: str, seconds: float) -> dict[str, dict[int, Load]]:
    """Closed loops at several concurrencies; servers take turns."""
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(servers(it, python, most=BATCH))
        alone = stack.enter_context(edgewise(it, "--max-batch=1", FREE_QUEUE))
        found = {"edgewise, one at a time": alone, **found}
        loads: dict[str, dict[int, Load]] = {name: {} for name in found}
        for clients in CLIENTS:
            for name in found:
                loads[name][clients] = Load(0.0)
            for _ in range(TURNS):
                for name, server in found.items():
                    before = cpu_s(server.pid)
                    load = at_concurrency(
                        server.port, server.request, clients=clients, seconds=seconds / TURNS
                    )
                    load.cpu_s = cpu_s(server.pid) - before
                    loads[name][clients].add(load)
    return loads


def gain(loads: dict[str, dict[int, Load]]) -> tuple[float, float]:
    """The most that joining answers per second, without a worse p95, over the most of single."""
    single = max(loads["edgewise, one at a time"].values(), key=lambda load: load.per_s)
    fast = [x.per_s for x in loads["edgewise"].values() if x.p95_s <= single.p95_s * 1.02]
    return max(fast, default=0.0) / single.per_s, single.p95_s


def cpu_gain(loads: dict[str, dict[int, Load]]) -> float:
    """What joining answers per second of CPU time, over single, with the most clients."""
    most = max(CLIENTS)
    return loads["edgewise"][most].per_cpu_s / loads["edgewise, one at a time"][most].per_cpu_s


def overload(it: Subject, python: str, per_s: float, seconds: float) -> dict[str, Load]:
    """Three times of what the server does at most, on new connections."""
    loads = {}
    with contextlib.ExitStack() as stack:
        found = {"edgewise": stack.enter_context(edgewise(it, f"--max-batch={BATCH}"))}
        if has_peers(python):
            found["FastAPI"] = stack.enter_context(peer("fastapi", it, python))
            found["LitServe"] = stack.enter_context(peer("litserve", it, python, most=BATCH))
        for name, server in found.items():
            loads[name] = at_rate(
                server.port, server.request, per_s=OVERLOAD * per_s, seconds=seconds
            )
    return loads


# --- report -----------------------------------------------------------------------------------


def measure(args: argparse.Namespace) -> Findings:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        beyond = overhead(folder, args.peers, 500)
        per_core = echo(folder, args.peers, args.seconds)
        subjects = (fashion(folder), minilm(folder))
        joined = {it.name: batching(it, args.peers, args.seconds) for it in subjects}
        language = joined[subjects[1].name]
        most = max(load.per_s for load in language["edgewise"].values())
        flood = overload(subjects[1], args.peers, most, 2 * args.seconds)
    return Findings(
        title="The server beside its engine, and beside other servers",
        goals=goals(beyond, per_core, joined, flood, most),
        tables=tables(beyond, per_core, joined, flood, most),
        notes=notes(args),
        data={
            "overhead_s": beyond,
            "requests_per_cpu_s": per_core,
            "batching": {
                name: {
                    server: {
                        clients: {
                            "per_s": load.per_s,
                            "p95_s": load.p95_s,
                            "per_cpu_s": load.per_cpu_s,
                        }
                        for clients, load in by.items()
                    }
                    for server, by in loads.items()
                }
                for name, loads in joined.items()
            },
            "overload": {
                name: {
                    "good_per_s": load.per_s,
                    "p95_s": load.p95_s,
                    "statuses": {str(status): n for status, n in load.statuses.items()},
                }
                for name, load in flood.items()
            },
        },
    )


def goals(
    beyond: dict[str, float],
    per_core: dict[str, float],
    joined: dict[str, dict[str, dict[int, Load]]],
    flood: dict[str, Load],
    most: float,
) -> Sequence[Goal]:
    found = [
        Goal(
            what="server overhead at 50 kB, median",
            goal="at most 2 ms, and at most FastAPI's",
            measured=f"{beyond['edgewise'] * 1e3:.2f} ms",
            met=beyond["edgewise"] <= min(2e-3, beyond.get("FastAPI", 2e-3)),
        ),
        Goal(
            what="requests per second of one core, 1 kB",
            goal="at least FastAPI's",
            measured=f"{per_core['edgewise']:.0f}",
            met=per_core["edgewise"] >= per_core.get("FastAPI", 0.0),
        ),
    ]
    for name, loads in joined.items():
        ratio, p95_s = gain(loads)
        found.append(
            Goal(
                what=f"{name}: joined against one at a time",
                goal=f"more than 1 × at no worse a p95 ({p95_s * 1e3:.0f} ms)",
                measured=f"{ratio:.2f} ×",
                met=ratio > 1,
            )
        )
        found.append(
            Goal(
                what=f"{name}: the same per CPU second, {max(CLIENTS)} clients",
                goal="more than 1 ×",
                measured=f"{cpu_gain(loads):.2f} ×",
                met=cpu_gain(loads) > 1,
            )
        )
    ours = flood["edgewise"]
    refused = ours.statuses[429] + ours.statuses[503]
    found.append(
        Goal(
            what=f"overload at {OVERLOAD:g} ×: all answered, refusals say when to return",
            goal="no silence, Retry-After on each",
            measured=f"{ours.statuses[0]} silent, {ours.retry_after} of {refused} with it",
            met=not ours.statuses[0] and ours.retry_after == refused,
        )
    )
    found.append(
        Goal(
            what=f"overload at {OVERLOAD:g} ×: answers per second",
            goal="at least 80 % of the most without overload",
            measured=f"{ours.per_s / most:.0%}",
            met=ours.per_s >= 0.8 * most,
        )
    )
    return found


def tables(
    beyond: dict[str, float],
    per_core: dict[str, float],
    joined: dict[str, dict[str, dict[int, Load]]],
    flood: dict[str, Load],
    most: float,
) -> Sequence[Table]:
    found = [
        Table(
            title="Overhead and cost of one request",
            columns=(
                "server",
                "beyond the engine, 50 kB, median",
                "requests per CPU second, 1 kB",
            ),
            rows=[(n, f"{s * 1e3:.2f} ms", f"{per_core[n]:.0f}") for n, s in beyond.items()],
        )
    ]
    for name, loads in joined.items():
        columns = ("server", *(f"{n} clients: per s, p95, per CPU s" for n in CLIENTS))
        rows = [
            (
                server,
                *(
                    f"{x.per_s:.0f}, {x.p95_s * 1e3:.1f} ms, {x.per_cpu_s:.0f}"
                    for x in by.values()
                ),
            )
            for server, by in loads.items()
        ]
        found.append(Table(title=f"Joining: {name}", columns=columns, rows=rows))
    rows = [
        (
            name,
            f"{load.per_s:.0f}",
            f"{load.p95_s * 1e3:.0f} ms",
            str(load.statuses[429] + load.statuses[503]),
            str(load.statuses[0]),
        )
        for name, load in flood.items()
    ]
    found.append(
        Table(
            title=f"Overload: {OVERLOAD:g} × {most:.0f} requests per s of minilm-l6",
            columns=("server", "answers per s", "their p95", "refused", "no answer in 2 s"),
            rows=rows,
        )
    )
    return found


def notes(args: argparse.Namespace) -> Sequence[str]:
    found = [
        "Each server runs in processes of its own on the loopback interface of this machine and "
        "shares its cores with the clients; engines have one thread, as many run as there are "
        "cores.",
        "edgewise and FastAPI take raw tensors; LitServe takes JSON, so base64 text, and forms "
        f"batches of up to {BATCH} within 2 ms.",
        f"MiniLM reads {WORDS} words. Closed loops of {args.seconds:g} s, in {TURNS} "
        "turns of each server. CPU seconds leave out what else the machine does.",
        "Overload: requests at fixed instants on new connections; latency counts from the "
        "instant, so that a late client hides nothing.",
    ]
    if not has_peers(args.peers):
        found.append("Peers were skipped: the group 'bench' is not installed.")
    return found


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--seconds", type=float, default=2.0)


if __name__ == "__main__":
    sys.exit(main(measure, packages=("onnxruntime", "uvicorn"), configure=configure))
