"""What may be submitted, and what a session without a server does with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgewise.bundle import Bundle
from edgewise.errors import BadInput
from edgewise.running import NotStored, Options, Outbox, Policy, connect
from edgewise.running.submitting.submitter import Submitter, check_may_leave, split_value
from session_bundles import image, session_bundle
from unit.serving import tiny_bundle as tiny

LOGITS = np.zeros(tiny.LOGITS.concrete(), np.float32)
STAYS = Options(raw_input_stays=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return session_bundle(tmp_path_factory.mktemp("b") / "bundle", "local", "split-fp32")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    return tmp_path / "outbox.db"


def test_arrays_and_the_rest_are_told_apart() -> None:
    tensors, record = split_value({"logits": LOGITS, "seen": "cat", "n": 3})
    assert list(tensors) == ["logits"]
    assert record == {"seen": "cat", "n": 3}


@pytest.mark.parametrize("value", [LOGITS, [1], {1: 2}, None, "text"])
def test_values_that_are_no_mapping_of_names(value: object) -> None:
    with pytest.raises(BadInput, match="expected a mapping of names to arrays and to what JSON"):
        split_value(value)


def check(value: dict[str, object], bundle: Bundle, options: Options = STAYS) -> None:
    tensors, record = split_value(value)
    check_may_leave(tensors, record, manifest=bundle.manifest, options=options)


@pytest.mark.parametrize(
    "value",
    [
        {"image": image()},
        {"logits": image()},
        {"logits": LOGITS.astype(np.float64)},
        {"logits": LOGITS[0]},
        {"pixels": np.zeros((16, 16, 3), np.uint8)},
        {"feature": np.zeros(tiny.FEATURE.concrete(), np.float32)},
    ],
)
def test_with_raw_input_stays_only_outputs_leave(value: dict[str, object], bundle: Bundle) -> None:
    with pytest.raises(BadInput, match="expected outputs of the network alone under raw_input_st"):
        check(value, bundle)
    check(value, bundle, Options())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"pixels": [1, 2, 3]}, "found list in 'pixels'"),
        ({"x": {"y": 1}}, "found dict in 'x'"),
        ({"photo": "A" * 300}, "found str in 'photo'"),
        ({f"k{i}": 1 for i in range(17)}, "expected at most 16 entries"),
    ],
)
def test_with_raw_input_stays_a_record_has_no_room_for_it(
    value: dict[str, object], message: str, bundle: Bundle
) -> None:
    with pytest.raises(BadInput, match=message):
        check(value, bundle)
    check({"logits": LOGITS, "seen": "cat", "sure": 0.5, "ok": True, "no": None}, bundle)


@pytest.mark.engine
def test_without_a_server_everything_waits(bundle: Bundle, path: Path) -> None:
    with connect(bundle, None, outbox=Outbox(path)) as session:
        answer = session.run(image())
        receipt = session.submit({"logits": answer.outputs["logits"], "seen": "cat"})
        assert len(receipt.key) == 36
        flushed = session.flush()
        assert (flushed.delivered, flushed.waiting) == ((), 1)
        assert flushed.reason == "there is no server"
    with Outbox(path) as outbox:
        assert [entry.key for entry in outbox.entries("waiting")] == [receipt.key]


@pytest.mark.engine
def test_without_an_outbox_it_is_said(bundle: Bundle) -> None:
    with connect(bundle, None) as session:
        for call in (lambda: session.submit({"a": 1}), session.flush):
            with pytest.raises(BadInput, match="expected a session with an outbox, found one wit"):
                call()


@pytest.mark.engine
def test_only_on_device_takes_nothing_and_opens_no_socket(bundle: Bundle, path: Path) -> None:
    options = Options(policy=Policy.ONLY_ON_DEVICE)
    with connect(bundle, "http://127.0.0.1:9", options=options, outbox=Outbox(path)) as session:
        with pytest.raises(BadInput, match="expected a policy under which something may leave"):
            session.submit({"a": 1})
        assert session.flush(timeout_s=0.1).delivered == ()


@pytest.mark.engine
def test_a_closed_session_stores_nothing(bundle: Bundle, path: Path) -> None:
    session = connect(bundle, None, outbox=Outbox(path))
    session.close()
    with pytest.raises(NotStored, match="found a closed one"):
        session.submit({"a": 1})


@pytest.mark.engine
def test_sensitive_data_needs_a_key(bundle: Bundle, path: Path) -> None:
    with connect(bundle, None, outbox=Outbox(path)) as session:
        with pytest.raises(NotStored, match="data marked sensitive"):
            session.submit({"a": 1}, sensitive=True)
        assert session.flush().waiting == 0


def test_keys_come_from_the_randomness_that_is_passed_in(bundle: Bundle, path: Path) -> None:
    submitter = Submitter(
        Outbox(path),
        link=None,
        bundle=bundle,
        options=Options(),
        randomness=lambda count: bytes(range(count)),
    )
    try:
        receipt = submitter.submit({"a": 1})
        assert receipt.key == "00010203-0405-4607-8809-0a0b0c0d0e0f"
        assert submitter.submit({"a": 1}) == receipt
    finally:
        submitter.close()
