"""A header that is known is read no second time; what differs in it is."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import batching_bundles as bundles
from edgewise.errors import BadInput
from edgewise.serving.protocol.heads import Head, Heads
from edgewise.serving.protocol.requests import Infer, read_infer
from edgewise.serving.repository.offers import Offer
from edgewise.serving.repository.parts import load_bundle
from edgewise.wire import Message, encode_request

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def offer(tmp_path_factory: pytest.TempPathFactory) -> Offer:
    folder = tmp_path_factory.mktemp("heads") / "bundle"
    raw = bundles.slow_network(size=2, products=1)
    bundle = load_bundle(bundles.open_bundle_of(folder, raw, most=4), threads=1)
    return Offer(default=bundle, bundles=(bundle,))


def _ask(offer: Offer, *, request_id: str, value: float = 1.0) -> Infer:
    x = np.full((1, bundles.WIDTH), value, np.float32)
    frame = encode_request(Message(tensors={"x": x}, id=request_id))
    return read_infer(memoryview(frame.body), offer, header_bytes=frame.header_bytes)


def _read(offer: Offer, header: str) -> Infer:
    body = header.encode() + bytes(4 * bundles.WIDTH)
    return read_infer(memoryview(body), offer, header_bytes=len(header))


def _header(request_id: str) -> str:
    inputs = [
        {
            "name": "x",
            "shape": [1, bundles.WIDTH],
            "datatype": "FP32",
            "parameters": {"binary_data_size": 4 * bundles.WIDTH},
        }
    ]
    return json.dumps({"id": request_id, "inputs": inputs})


def test_each_keeps_its_own_id_and_tensors(offer: Offer) -> None:
    asked = [_ask(offer, request_id=str(i), value=i) for i in range(3)]
    assert [one.message.id for one in asked] == ["0", "1", "2"]
    assert [one.message.tensors["x"][0, 0] for one in asked] == [0, 1, 2]
    names = ["", "7", "a b", ""]
    assert [_ask(offer, request_id=name).message.id for name in names] == names


@pytest.mark.parametrize("written", ["{}", '{"id": "5"}'])
def test_what_is_wrong_stays_wrong_beside_a_known_header(offer: Offer, written: str) -> None:
    known = _header("9")
    rest = known.removeprefix('{"id": "9", ')
    assert _read(offer, known).message.id == "9"
    assert _read(offer, "{" + rest).message.id == ""
    for wrong in (rest, written + rest, '{"id": "1", "id": "2", ' + rest, '{"id": "1",, ' + rest):
        with pytest.raises(BadInput, match="expected"):
            _read(offer, wrong)


def test_a_second_id_at_the_end_is_refused_however_often_the_rest_was_seen(
    offer: Offer,
) -> None:
    rest = _header("9").removeprefix('{"id": "9", ')
    ended = rest.removesuffix("}") + ', "id": "3"}'
    assert _read(offer, "{" + ended).message.id == "3"
    for _ in range(2):
        with pytest.raises(BadInput, match="a repeated key"):
            _read(offer, '{"id": "1", ' + ended)


def test_another_number_of_bytes_is_refused(offer: Offer) -> None:
    header = _header("9")
    assert _read(offer, header).message.id == "9"
    with pytest.raises(BadInput, match="expected a body of"):
        read_infer(memoryview(header.encode() + bytes(4)), offer, header_bytes=len(header))


def test_no_more_is_remembered_than_there_is_room_for(offer: Offer) -> None:
    _ask(offer, request_id="1")
    head = next(iter(offer.heads._heads.values()))
    heads = Heads()
    for i in range(1000):
        heads.keep((False, str(i).encode(), 0), head)
    heads.keep((False, bytes(5000), 0), head)
    assert len(heads._heads) <= 128
    assert isinstance(heads.find((False, b"999", 0)), Head)
    assert heads.find((False, b"0", 0)) is None
    assert heads.find((False, bytes(5000), 0)) is None


def test_threads_that_remember_at_once_do_not_meet(offer: Offer) -> None:
    """JSON and compressed requests are read in threads, and all of them drive out old heads."""
    _ask(offer, request_id="1")
    head = next(iter(offer.heads._heads.values()))
    heads = Heads()

    def keep(thread: int) -> None:
        for i in range(20_000):
            heads.keep((False, f"{thread} {i}".encode(), 0), head)

    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(keep, range(4)))
    finally:
        sys.setswitchinterval(before_s)
    assert len(heads._heads) == 128
