"""Bytes on the wire: what the planner says against what the sockets carry."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.bundle import PayloadCodec, RouteKind
from edgewise.graphs import Model, Payload, QuantRange, cut, find_cuts, load
from edgewise.planning import FULL, build_bundle
from edgewise.planning.candidates import Sketch, sketch_all
from edgewise.planning.measuring import Measurements
from edgewise.planning.prediction import Target, predict
from edgewise.planning.traffic import reply_bytes, request_bytes, sent_tensors, served_name
from edgewise.preparation import PixelCodec, encode_pixels
from edgewise.running import Options, connect
from edgewise.serving import server_process
from edgewise.tensors import TensorSpec
from edgewise.wire import Message, encode_request
from strategies import onnx_file
from unit.planning import small_networks as small
from unit.planning.measured_by_hand import by_hand

LITE0 = (
    Path(__file__).resolve().parents[3].parent / "shared" / "models" / "efficientnet-lite0.onnx"
)
TARGET = Target(device=small.device(), link=small.link(), cloud=small.cloud())
# The server's own times, the port and the request's number have more or fewer digits.
DIGITS_BYTES = 24


class Relay:
    """Counts every byte between two sockets, in both directions."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.up_bytes = self.down_bytes = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                for source, sink, up in ((near, far, True), (far, near, False)):
                    threading.Thread(
                        target=self._pump, args=(source, sink, up), daemon=True
                    ).start()

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if up:
                    self.up_bytes += len(data)
                else:
                    self.down_bytes += len(data)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[Relay]:
    with server_process(folder) as server:
        host, port = server.url.removeprefix("http://").split(":")
        relay = Relay((host, int(port)))
        try:
            yield relay
        finally:
            relay.close()


def _candidates(model, measured: Measurements, wanted: tuple[str, ...]):
    sketches = sketch_all(
        {FULL: model}, measured.cuts, pixels=bool(measured.pixels), quality_levels=(90,)
    )
    found = {s.name: s for s in sketches}
    return [predict(found[name], measured, TARGET, model=model) for name in wanted]


def _picture_case():
    model, samples = small.conv_net(name="a-network-with-a-name"), small.pictures()
    sizes = [
        len(encode_pixels(s.pixels, PixelCodec.JPEG, 90))
        for s in samples.select
        if s.pixels is not None
    ]
    measured = by_hand(model, pixels=True, encoded_bytes=sum(sizes) / len(sizes))
    names = ("cloud-fp32", "cloud-jpeg90", "split0-fp32", "split3-fp16", "split1-int8", "local")
    return model, samples, measured, names, [sample.pixels for sample in samples.select]


def _masked_case():
    model = small.masked_net()
    samples = small.arrays(model)
    names = ("cloud-fp32", "split0-fp32", "split1-fp16", "split4-int8", "local")
    return model, samples, by_hand(model), names, [sample.feeds for sample in samples.select]


@pytest.mark.net
@pytest.mark.engine
@pytest.mark.parametrize("case", [_picture_case, _masked_case], ids=["picture", "masked"])
def test_predicted_bytes_are_the_bytes_on_the_socket(case, tmp_path: Path) -> None:
    model, samples, measured, names, inputs = case()
    candidates = _candidates(model, measured, names)
    bundle = build_bundle(tmp_path / "bundle", candidates, {FULL: model}, samples)
    with (
        _served(bundle.path) as relay,
        connect(bundle, relay.url, options=Options(timeout_s=30.0)) as session,
    ):
        for candidate in candidates[:-1]:
            up, down = relay.up_bytes, relay.down_bytes
            for value in inputs:
                answer = session.run(value, route=candidate.sketch.name)
                assert answer.inference_source.route == candidate.sketch.name
            route = candidate.route.coefficients
            sent = (relay.up_bytes - up) / len(inputs)
            received = (relay.down_bytes - down) / len(inputs)
            assert abs(route.up_bytes - sent) <= DIGITS_BYTES, candidate.sketch.name
            assert abs(route.down_bytes - received) <= DIGITS_BYTES, candidate.sketch.name


def _networks():
    return [small.conv_net(), small.masked_net(), small.masked_net(batch=1)]


@pytest.mark.parametrize("codec", [PayloadCodec.FP32, PayloadCodec.FP16, PayloadCodec.INT8])
def test_tensors_have_the_names_and_types_that_cutting_gives(codec: PayloadCodec) -> None:
    for model in _networks():
        for position, at in enumerate(find_cuts(model)):
            ranges = {spec.name: QuantRange(low=0.0, high=1.0) for spec in at.content}
            halves = cut(model, at, payload=Payload(codec.value), ranges=ranges)
            sketch = Sketch(name="s", kind=RouteKind.SPLIT, cut=at, position=position, codec=codec)
            assert sent_tensors(sketch, model) == halves.boundary


def test_tensors_of_a_real_network() -> None:
    if not LITE0.exists():
        pytest.skip(f"{LITE0.name} is not in ../shared/models")
    model = load(LITE0)
    cuts = find_cuts(model)
    for position in (0, len(cuts) // 2, len(cuts) - 1):
        at = cuts[position]
        ranges = {spec.name: QuantRange(low=0.0, high=1.0) for spec in at.content}
        halves = cut(model, at, payload=Payload.INT8, ranges=ranges)
        sketch = Sketch(name="s", kind=RouteKind.SPLIT, cut=at, codec=PayloadCodec.INT8)
        assert sent_tensors(sketch, model) == halves.boundary


def test_an_output_that_rides_along_is_carried() -> None:
    # The first of two outputs is also what the second is computed from.
    model = load(
        onnx_file(
            [
                helper.make_node("Neg", ["x"], ["first"]),
                helper.make_node("Relu", ["first"], ["second"]),
            ],
            inputs=[("x", TensorProto.FLOAT, (1, 4))],
            outputs=[("first", TensorProto.FLOAT, (1, 4)), ("second", TensorProto.FLOAT, (1, 4))],
        )
    )
    (at,) = find_cuts(model)
    sketch = Sketch(name="s", kind=RouteKind.SPLIT, cut=at, codec=PayloadCodec.FP32)
    assert sent_tensors(sketch, model) == cut(model, at).boundary
    assert sent_tensors(sketch, model)[0].name == "first:carried"


def test_large_tensors_are_never_made_to_be_counted() -> None:
    # 40 GB of output: counting must not allocate it.
    spec = TensorSpec(name="huge", dtype="float32", shape=("N", 10**5, 10**5))
    model = small.conv_net()
    assert request_bytes([spec], route="r", model=model) > 4 * 10**10


@pytest.mark.parametrize("model", [small.conv_net(), small.masked_net()])
def test_bodies_are_counted_to_the_byte(model: Model) -> None:
    def real(specs: Sequence[TensorSpec], route: str) -> int:
        zeros = {spec.name: np.zeros(spec.concrete(), spec.dtype) for spec in specs}
        parameters = {"route": route, "bundle": "0" * 64}
        frame = encode_request(Message(tensors=zeros, id="100", parameters=parameters))
        return len(frame.body) + len(str(len(frame.body))) + len(str(frame.header_bytes))

    heads = {
        request_bytes(specs, route=route, model=model) - real(specs, route)
        for route in ("r", "split10-int8")
        for specs in (
            model.inputs,
            model.inputs[:1],
            (TensorSpec(name="bytes", dtype="uint8", shape=(12345,)),),
            (TensorSpec(name="scalar", dtype="float16", shape=()),),
            (TensorSpec(name="wide", dtype="float64", shape=("N", 1000, 17)),),
        )
    }
    assert len(heads) == 1, "what is left is the same HTTP head"


def test_every_digit_counts() -> None:
    model = small.conv_net()
    short = reply_bytes(route="r", model=model)
    assert reply_bytes(route="route", model=model) - short == 4
    named = small.conv_net(name="small" + "r" * 5)
    # The name stands in the reply's body, and in the request's first line.
    assert reply_bytes(route="r", model=named) - short == 5
    grown = request_bytes(model.inputs, route="r", model=named)
    assert grown - request_bytes(model.inputs, route="r", model=model) == 5


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("small", "small"),
        ("efficientnet-lite0", "efficientnet-lite0"),
        ("a b/c", "a-b-c"),
        ("größe", "gr--e"),
        ("../up", "up"),
        ("...", "model"),
        ("x" * 200, "x" * 64),
    ],
)
def test_the_served_name_is_plain(name: str, served: str) -> None:
    assert served_name(small.conv_net(name=name)) == served
