# ruff: noqa: E501 - a table reads best with one case a line
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from edgewise import wire
from edgewise.bounds import Bound
from edgewise.errors import BadInput
from edgewise.records import read_record, write_record
from edgewise.tensors import OIP_DATATYPES, Role, TensorSpec
from edgewise.wire import Frame, Message

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "wire"
REMEDY = "; send frames as the bundle's manifest describes them"


def bound_of(name, array):
    spec = TensorSpec(name=name, dtype=array.dtype.name, shape=array.shape)
    return Bound.exactly(spec)


def bounds_of(message):
    return tuple(bound_of(name, array) for name, array in message.tensors.items())


def extremes(dtype):
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return np.array([[False, True]])
    info = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    return np.array([[info.min, 0, 1, info.max]], kind)


MESSAGES = {
    "eight floats": (
        "inputs",
        Message(tensors={"x": np.arange(8, dtype=np.float32).reshape(1, 8)}),
    ),
    "a scalar": ("inputs", Message(tensors={"x": np.array(-1.5)})),
    "parameters of every type": (
        "inputs",
        Message(
            tensors={"a/b:0": np.array([[1, 2]], np.uint8)},
            id="request-7",
            parameters={"route": "split-8", "timeout": 250_000, "share": 0.5, "warm": True},
        ),
    ),
    "text beyond ASCII": (
        "inputs",
        Message(tensors={"x": np.ones(1, np.int8)}, id="größe \N{GRINNING FACE}"),
    ),
    "two tensors, the second unaligned": (
        "inputs",
        Message(
            tensors={
                "mask": np.array([True, False, True]),
                "x": np.array([[1.0, -2.0]], np.float64),
            }
        ),
    ),
    "a reply": (
        "outputs",
        Message(
            tensors={"logits": np.array([[0.1, 0.9]], np.float32)},
            id="request-7",
            parameters={"cloud_s": 0.0125},
            model="demo",
        ),
    ),
    "a reply of a version": (
        "outputs",
        Message(tensors={"y": np.zeros(1, np.uint8)}, id="7", model="demo", version="3"),
    ),
    **{f"{kind} extremes": ("outputs", Message(tensors={"y": extremes(kind)})) for kind in OIP_DATATYPES},
}  # fmt: skip


def encode(key, message):
    return (wire.encode_request if key == "inputs" else wire.encode_reply)(message)


def decode(key, frame, bounds):
    return (wire.decode_request if key == "inputs" else wire.decode_reply)(frame, bounds)


def listed(array):
    """Values for JSON; 64-bit integers as text, as JavaScript's numbers are doubles."""
    values = array.ravel().tolist()
    return list(map(str, values)) if array.dtype.name in ("int64", "uint64") else values


def vector(name, key, message):
    frame = encode(key, message)
    return {
        "name": name,
        "key": key,
        "header": frame.body[: frame.header_bytes].decode(),
        "header_bytes": frame.header_bytes,
        "body_hex": frame.body.hex(),
        "bounds": write_record(bounds_of(message)),
        "id": message.id,
        "model": message.model,
        "version": message.version,
        "parameters": dict(message.parameters),
        "tensors": [
            {"name": n, "dtype": a.dtype.name, "shape": list(a.shape), "values": listed(a)}
            for n, a in message.tensors.items()
        ],
    }


# Refused frames, as changes to a sound one: (header, tensor bytes, bounds) -> the same, changed.
def sound():
    entry = {
        "name": "x",
        "shape": [1, 2],
        "datatype": "FP32",
        "parameters": {"binary_data_size": 8},
    }
    bounds = [Bound.exactly(TensorSpec(name="x", dtype="float32", shape=(1, 2)))]
    return {"inputs": [entry]}, bytes(8), bounds


def with_entry(**changes):
    header, raw, bounds = sound()
    header["inputs"][0].update(changes)
    return header, raw, bounds


def with_header(**changes):
    header, raw, bounds = sound()
    return {**header, **changes}, raw, bounds


def with_size(size, shape):
    return with_entry(parameters={"binary_data_size": size}, shape=shape)


REFUSED = {
    "no object": (([], b"", []), "a JSON object as header, found list"),
    "no inputs": (with_header(inputs=None), "a list of 1 to 64 inputs, found NoneType"),
    "empty inputs": (with_header(inputs=[]), "a list of 1 to 64 inputs, found 0"),
    "65 inputs": (with_header(inputs=[{}] * 65), "a list of 1 to 64 inputs, found 65"),
    "an input that is text": (with_header(inputs=["x"]), "a JSON object for each tensor, found str"),
    "no name": (with_entry(name=None), "a tensor name of letters, digits and _ . / : -, found None"),
    "a name with a space": (with_entry(name="a b"), "a tensor name of letters, digits and _ . / : -, found 'a b'"),
    "a name of 257": (with_entry(name="a" * 257), f"a tensor name of letters, digits and _ . / : -, found '{'a' * 79}"),
    "the same name twice": (with_header(inputs=sound()[0]["inputs"] * 2), "tensors with different names, found a name twice"),
    "BYTES": (with_entry(datatype="BYTES"), "a known datatype for 'x', found 'BYTES'"),
    "a datatype that is a list": (with_entry(datatype=[]), "a known datatype for 'x', found []"),
    "no shape": (with_entry(shape=None), "a shape of at most 16 axes for 'x', found None"),
    "17 axes": (with_entry(shape=[1] * 17), f"a shape of at most 16 axes for 'x', found [{'1, ' * 17}"[:-2] + "]"),
    "an axis of zero": (with_entry(shape=[0, 2]), "a shape of sizes from 1 to 2^31 - 1 for 'x', found [0, 2]"),
    "an axis of minus one": (with_entry(shape=[-1, 2]), "a shape of sizes from 1 to 2^31 - 1 for 'x', found [-1, 2]"),
    "an axis of 2^31": (with_entry(shape=[2**31]), "a shape of sizes from 1 to 2^31 - 1 for 'x', found [2147483648]"),
    "an axis that is true": (with_entry(shape=[True, 2]), "a shape of sizes from 1 to 2^31 - 1 for 'x', found [True, 2]"),
    "an axis that is text": (with_entry(shape=["1", 2]), "a shape of sizes from 1 to 2^31 - 1 for 'x', found ['1', 2]"),
    "a fractional axis": (with_entry(shape=[1.5, 2]), "a shape of sizes from 1 to 2^31 - 1 for 'x', found [1.5, 2]"),
    "no parameters": (with_entry(parameters=None), "parameters.binary_data_size for 'x', found None"),
    "no size": (with_entry(parameters={}), "parameters.binary_data_size for 'x', found None"),
    "a size below zero": (with_size(-8, [1, 2]), "parameters.binary_data_size for 'x', found -8"),
    "a size that is text": (with_size("8", [1, 2]), "parameters.binary_data_size for 'x', found '8'"),
    "a size that lies": (with_size(4, [1, 2]), "binary_data_size 8 for 'x', found 4"),
    "huge, and honest about it": (with_size(2**33, [2**31 - 1]), "binary_data_size 8589934588 for 'x', found 8589934592"),
    "huge beyond the body": (with_size(4 * (2**31 - 1), [2**31 - 1]), "a body of {total} bytes, as the header declares, found {body} bytes"),
    "an id that is a number": (with_header(id=7), "id as text of at most 256 characters, found int"),
    "an id of 257": (with_header(id="a" * 257), "id as text of at most 256 characters, found str"),
    "parameters that are a list": (with_header(parameters=[]), "parameters as a JSON object of at most 64, found list"),
    "65 parameters": (with_header(parameters={str(i): i for i in range(65)}), "parameters as a JSON object of at most 64, found 65 of them"),
    "a nested parameter": (with_header(parameters={"a": {}}), "text, number or truth value in 'a', found dict"),
    "an empty parameter": (with_header(parameters={"a": None}), "text, number or truth value in 'a', found NoneType"),
    "another tensor": ((*sound()[:2], [Bound.exactly(TensorSpec(name="y", dtype="float32", shape=(1, 2)))]), "the tensors y, found x"),
    "another type": ((*sound()[:2], [Bound.exactly(TensorSpec(name="x", dtype="int32", shape=(1, 2)))]), "int32[1, 2] for 'x', found float32[1, 2]"),
    "another shape": ((*sound()[:2], [Bound.exactly(TensorSpec(name="x", dtype="float32", shape=(2, 1)))]), "float32[2, 1] for 'x', found float32[1, 2]"),
    "another rank": ((*sound()[:2], [Bound.exactly(TensorSpec(name="x", dtype="float32", shape=(2,)))]), "float32[2] for 'x', found float32[1, 2]"),
    "more than the bound": ((*sound()[:2], [Bound(name="x", dtype="float32", shape=(1, "n"), min_bytes=1, max_bytes=4)]), "1 to 4 bytes for 'x', found 8 bytes"),
    "less than the bound": ((*sound()[:2], [Bound(name="x", dtype="float32", shape=(1, "n"), min_bytes=12, max_bytes=16)]), "12 to 16 bytes for 'x', found 8 bytes"),
    "too few bytes": ((sound()[0], bytes(7), sound()[2]), "a body of {total} bytes, as the header declares, found {body} bytes"),
    "too many bytes": ((sound()[0], bytes(9), sound()[2]), "a body of {total} bytes, as the header declares, found {body} bytes"),
    "a truth value of 2": (
        (
            {"inputs": [{"name": "m", "shape": [2], "datatype": "BOOL", "parameters": {"binary_data_size": 2}}]},
            b"\x00\x02",
            [Bound.exactly(TensorSpec(name="m", dtype="bool", shape=(2,)))],
        ),
        "truth values of 0 or 1 in 'm', found another byte",
    ),
}  # fmt: skip


def refused_frame(name):
    (header, raw, bounds), message = REFUSED[name]
    head = json.dumps(header, separators=(",", ":")).encode()
    body = head + raw
    declared = sum(
        e["parameters"]["binary_data_size"]
        for e in (header["inputs"] if "{total}" in message else ())
    )
    wanted = message.format(total=len(head) + declared, body=len(body))
    return Frame(body=body, header_bytes=len(head)), bounds, f"expected {wanted}{REMEDY}"


def golden(path, current, regen):
    if regen:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(current, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_frames_written_are_those_of_the_vectors(regen):
    current = [vector(name, *case) for name, case in MESSAGES.items()]
    assert golden(VECTORS / "frames.json", current, regen) == current


@pytest.mark.parametrize("name", MESSAGES)
def test_the_vectors_decode_to_their_tensors(name):
    case = {v["name"]: v for v in json.loads((VECTORS / "frames.json").read_text())}[name]
    frame = Frame(body=bytes.fromhex(case["body_hex"]), header_bytes=case["header_bytes"])
    bounds = read_record_list(case["bounds"])
    message = decode(case["key"], frame, bounds)
    names = (case["id"], case["model"], case["version"])
    assert (message.id, message.model, message.version) == names
    asked = {"binary_data_output": True} if case["key"] == "inputs" else {}
    assert message.parameters == {**case["parameters"], **asked}
    for tensor in case["tensors"]:
        array = message.tensors[tensor["name"]]
        assert array.dtype == tensor["dtype"]
        assert list(array.shape) == tensor["shape"]
        assert listed(array) == tensor["values"]


def read_record_list(records):
    return [read_record(Bound, record, where="bound") for record in records]


def test_the_refusals_are_those_of_the_vectors(regen):
    current = []
    for name in REFUSED:
        frame, bounds, refusal = refused_frame(name)
        current.append(
            {
                "name": name,
                "key": "inputs",
                "header_bytes": frame.header_bytes,
                "body_hex": frame.body.hex(),
                "bounds": write_record(bounds),
                "refusal": refusal,
            }
        )
    assert golden(VECTORS / "refused.json", current, regen) == current


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_add_up_is_refused(name):
    frame, bounds, refusal = refused_frame(name)
    with pytest.raises(BadInput) as error:
        wire.decode_request(frame, bounds)
    assert str(error.value) == refusal


def test_eight_floats_have_the_lengths_measured_on_the_reference_client():
    _, message = MESSAGES["eight floats"]
    frame = wire.encode_request(message)
    assert (frame.header_bytes, len(frame.body)) == (135, 135 + 32)


def test_the_reference_clients_own_order_of_keys_is_taken():
    head = (
        b'{"inputs":[{"name":"x","shape":[1,8],"datatype":"FP32",'
        b'"parameters":{"binary_data_size":32}}],"parameters":{"binary_data_output":true}}'
    )
    array = np.arange(8, dtype="<f4").reshape(1, 8)
    frame = Frame(body=head + array.tobytes(), header_bytes=len(head))
    assert len(head) == 135
    read = wire.decode_request(frame, [bound_of("x", array)]).tensors["x"]
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("header_bytes", [0, -1, 144, 2**40])
def test_a_header_length_that_lies_is_refused(header_bytes):
    body = wire.encode_request(MESSAGES["a scalar"][1]).body
    with pytest.raises(BadInput) as error:
        wire.decode_request(Frame(body=body, header_bytes=header_bytes), ())
    assert str(error.value) == (
        f"expected a header within the body's {len(body)} bytes, found {header_bytes} bytes{REMEDY}"
    )


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_header_length_off_by_one_is_refused(shift):
    frame = wire.encode_request(MESSAGES["eight floats"][1])
    with pytest.raises(BadInput, match="expected valid JSON in the frame's header, found"):
        wire.decode_request(
            Frame(body=frame.body, header_bytes=frame.header_bytes + shift),
            bounds_of(MESSAGES["eight floats"][1]),
        )


@pytest.mark.parametrize("length", [0, 65_537])
def test_the_headers_length_is_limited(length):
    with pytest.raises(BadInput) as error:
        wire.read_header(b" " * length, body_bytes=length, key="inputs")
    assert str(error.value) == (
        f"expected a header of 1 to 65536 bytes, found {length} bytes{REMEDY}"
    )


def test_a_request_is_no_reply():
    _, message = MESSAGES["eight floats"]
    with pytest.raises(BadInput, match="a list of 1 to 64 outputs, found NoneType"):
        wire.decode_reply(wire.encode_request(message), bounds_of(message))


@pytest.mark.parametrize("wrap", [bytes, bytearray, lambda raw: memoryview(bytearray(raw))])
def test_tensors_are_read_only_views_of_the_body(wrap):
    head = json.dumps(sound()[0]).encode()
    body = wrap(head + bytes(8))
    header = wire.read_header(head, body_bytes=len(body), key="inputs")
    array = wire.read_message(body, header, header_bytes=len(head)).tensors["x"]
    assert not array.flags.writeable
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))


def test_a_body_shorter_than_its_header_says_is_refused_even_when_read_in_steps():
    head = json.dumps(sound()[0]).encode()
    header = wire.read_header(head, body_bytes=len(head) + 8, key="inputs")
    with pytest.raises(BadInput, match=f"expected a body of {len(head) + 8} bytes"):
        wire.read_message(head + bytes(7), header, header_bytes=len(head))


def allocated(frame, bounds):
    tracemalloc.start()
    try:
        wire.decode_request(frame, bounds)
    except BadInput:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("size", [8, 5_000_000, 100_000_000])
def test_decoding_allocates_no_tensor(size):
    """Neither what a hostile header declares nor what a sound one sends is allocated."""
    entry = {"name": "x", "datatype": "UINT8", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [{**entry, "shape": [size]}]}).encode()
    body = head + bytes(min(size, 5_000_000))
    bounds = [Bound.exactly(TensorSpec(name="x", dtype="uint8", shape=(size,)))]
    assert allocated(Frame(body=body, header_bytes=len(head)), bounds) < 200_000


def test_a_header_full_of_huge_shapes_allocates_little():
    shape = [2**31 - 1] * 16
    entry = {"datatype": "FP64", "parameters": {"binary_data_size": 2**53 - 1}, "shape": shape}
    head = json.dumps({"inputs": [{**entry, "name": f"t{i}"} for i in range(64)]}).encode()
    assert allocated(Frame(body=head, header_bytes=len(head)), ()) < 200_000


@pytest.mark.parametrize(
    ("message", "refusal"),
    [
        (Message(tensors={}), "a list of 1 to 64 inputs, found 0" + REMEDY),
        (
            Message(tensors={"a b": np.zeros(1)}),
            "a tensor name of letters, digits and _ . / : -, found 'a b'" + REMEDY,
        ),
        (
            Message(tensors={"x": np.zeros((0, 2))}),
            "a shape of sizes from 1 to 2^31 - 1 for 'x', found [0, 2]" + REMEDY,
        ),
        (
            Message(tensors={"x": np.zeros(1)}, id="a" * 257),
            "id as text of at most 256 characters, found str" + REMEDY,
        ),
        (
            Message(tensors={"x": np.zeros(1)}, parameters={"a": float("inf")}),
            "valid JSON in the frame's header, found the constant Infinity; write it anew",
        ),
        (
            Message(tensors={"x": np.zeros(1)}, parameters={"a": "b" * 70_000}),
            "a header of 1 to 65536 bytes, found 70139 bytes" + REMEDY,
        ),
        (
            Message(tensors={"x": np.array(["a"])}),
            "tensor 'x' of a type the protocol knows, found str32; use one of bool, uint8, uint16, "
            "uint32, uint64, int8, int16, int32, int64, float16, float32, float64",
        ),
    ],
)
def test_nothing_is_written_that_no_reader_takes(message, refusal):
    with pytest.raises(BadInput) as error:
        wire.encode_request(message)
    assert str(error.value) == f"expected {refusal}"


def test_a_reply_names_its_model_and_version():
    frame = wire.encode_reply(MESSAGES["a reply of a version"][1])
    header = json.loads(frame.body[: frame.header_bytes])
    assert (header["model_name"], header["model_version"]) == ("demo", "3")


def test_a_version_that_is_null_is_none():
    y = {"name": "y", "shape": [1], "datatype": "UINT8", "parameters": {"binary_data_size": 1}}
    head = json.dumps({"model_version": None, "outputs": [y]}).encode()
    frame = wire.Frame(body=head + b"0", header_bytes=len(head))
    assert wire.decode_reply(frame, [bound_of("y", np.zeros(1, np.uint8))]).version == ""


def test_the_longest_frame():
    bounds = [
        Bound(name="x", dtype="uint8", shape=("n",), min_bytes=1, max_bytes=100),
        Bound.exactly(TensorSpec(name="y", dtype="float64", shape=("N", 3), role=Role.STRUCTURE)),
    ]
    assert wire.max_frame_bytes(bounds) == 65_536 + 100 + 24
    assert bounds[1].role is Role.STRUCTURE
