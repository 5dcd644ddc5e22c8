from __future__ import annotations

import struct
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewise.errors import BadInput
from edgewise.zoo.legacy_pth import read_state_dict
from edgewise.zoo.restricted_pickle import MAX_OPCODES

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}
REBUILD = "torch._utils _rebuild_tensor_v2"


@dataclass(frozen=True)
class Raw:
    """Opcodes as they are."""

    opcodes: bytes


@dataclass(frozen=True)
class Tensor:
    storage: str = "a"
    kind: str = "torch FloatStorage"
    elements: object = 12
    view: object = None
    offset: object = 0
    shape: object = (3, 4)
    strides: object = (4, 1)
    function: str = REBUILD


def opcodes(value: object) -> bytes:
    """The protocol 2 opcodes of a value, as torch would have written them."""
    if isinstance(value, Raw):
        return value.opcodes
    if isinstance(value, Tensor):
        return tensor_opcodes(value)
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    if isinstance(value, dict):
        pairs = b"".join(opcodes(key) + opcodes(item) for key, item in value.items())
        return b"}(" + pairs + b"u"
    items = b"".join(map(opcodes, value))
    return b"](" + items + b"e" if isinstance(value, list) else b"(" + items + b"t"


def name(text: str) -> Raw:
    return Raw(b"c" + text.replace(" ", "\n").encode() + b"\n")


def tensor_opcodes(tensor: Tensor) -> bytes:
    kind = name(tensor.kind)
    reference = ("storage", kind, tensor.storage, "cpu", tensor.elements, tensor.view)
    storage = Raw(opcodes(reference) + b"Q")
    hooks = Raw(opcodes(name("collections OrderedDict")) + b")R")
    arguments = (storage, tensor.offset, tensor.shape, tensor.strides, False, hooks)
    return opcodes(name(tensor.function)) + opcodes(arguments) + b"R"


def pickled(value: object) -> bytes:
    return b"\x80\x02" + opcodes(value) + b"."


def stored(array: NDArray[np.generic]) -> bytes:
    return struct.pack("<q", array.size) + array.tobytes()


NUMBERS = np.arange(12, dtype="<f4")


def legacy_file(
    state: object,
    *,
    magic: object = MAGIC,
    protocol: object = PROTOCOL,
    system: object = SYSTEM,
    keys: object = ("a",),
    storages: bytes = stored(NUMBERS),
) -> bytes:
    keys = list(keys) if isinstance(keys, tuple) else keys
    return b"".join(map(pickled, (magic, protocol, system, state, keys))) + storages


GOOD = legacy_file({"weight": Tensor()})


def read(data: bytes) -> dict[str, NDArray[np.generic]]:
    return read_state_dict(data, where="demo.pth")


def test_a_contiguous_tensor() -> None:
    tensors = read(GOOD)
    assert list(tensors) == ["weight"]
    np.testing.assert_array_equal(tensors["weight"], NUMBERS.reshape(3, 4))
    assert tensors["weight"].dtype == np.float32
    assert not tensors["weight"].flags.writeable


def test_strides_are_followed() -> None:
    tensors = read(legacy_file({"w": Tensor(shape=(4, 3), strides=(1, 4))}))
    np.testing.assert_array_equal(tensors["w"], NUMBERS.reshape(3, 4).T)


def test_two_tensors_in_one_storage() -> None:
    state = {"all": Tensor(), "row": Tensor(offset=4, shape=(4,), strides=(1,))}
    tensors = read(legacy_file(state))
    np.testing.assert_array_equal(tensors["row"], NUMBERS[4:8])


def test_the_stride_of_an_axis_of_one_is_never_taken() -> None:
    tensors = read(legacy_file({"w": Tensor(shape=(1, 12), strides=(2**200, 1))}))
    np.testing.assert_array_equal(tensors["w"], NUMBERS[None])


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("Double", "<f8"), ("Half", "<f2"), ("Long", "<i8"), ("Int", "<i4"), ("Byte", "u1")],
)
def test_other_element_types_and_scalars(kind: str, dtype: str) -> None:
    state = {"w": Tensor(kind=f"torch {kind}Storage", elements=1, shape=(), strides=())}
    found = read(legacy_file(state, storages=stored(np.array([7], dtype))))["w"]
    assert (found.shape, found.dtype, found.item()) == ((), np.dtype(dtype), 7)


def test_version_numbers_hung_on_the_state_dict_are_dropped() -> None:
    body = opcodes({"w": Tensor()}) + opcodes({"_metadata": {"": {"version": 1}}}) + b"b"
    assert list(read(legacy_file(Raw(body)))) == ["w"]


@dataclass(frozen=True)
class Refusal:
    id: str
    data: bytes
    reason: str


def tensor_file(**changes: object) -> bytes:
    return legacy_file({"w": Tensor(**changes)})  # type: ignore[arg-type]


OUT = "a tensor that reaches out of its storage 'a'"
UNFIT = "a tensor whose shape and strides do not fit together"
CALL = b"cos\nsystem\n(X\x02\x00\x00\x00lstR"
REFUSALS = [
    Refusal("empty", b"", "exhausted before seeing STOP"),
    Refusal("zip", b"PK\x03\x04", "the zip format of torch 1.6 and later"),
    Refusal("magic", legacy_file({}, magic=7), "another magic number"),
    Refusal("protocol", legacy_file({}, protocol=True), "another protocol version"),
    Refusal("big-endian", legacy_file({}, system={"little_endian": False}), "not little-endian"),
    Refusal("a list", legacy_file([]), "a list where the state dict should be"),
    Refusal("no tensor", legacy_file({"w": 7}), "a int where the tensor 'w' should be"),
    Refusal("evil global", legacy_file(Raw(CALL)), "the global 'os system'"),
    Refusal("evil builtin", legacy_file(name("builtins eval")), "the global 'builtins eval'"),
    Refusal("evil function", tensor_file(function="os system"), "the global 'os system'"),
    Refusal(
        "a storage class called",
        legacy_file(Raw(opcodes(name("torch FloatStorage")) + b")R")),
        "a call of something that may not be called",
    ),
    Refusal("a number called", legacy_file(Raw(b"K\x01)R")), "a call of something"),
    Refusal("no arguments", legacy_file(Raw(b"ccollections\nOrderedDict\n]R")), "a call without"),
    Refusal(
        "a filled OrderedDict",
        legacy_file(Raw(b"ccollections\nOrderedDict\n]\x85R")),
        "an OrderedDict built from arguments",
    ),
    Refusal("newer opcode", legacy_file(Raw(b"\x8c\x02os\x8c\x06system\x93")), "the opcode SHORT"),
    Refusal("instance", legacy_file(Raw(b"(cos\nsystem\no")), "the global 'os system'"),
    Refusal("inst", legacy_file(Raw(b"(ios\nsystem\n")), "the opcode INST"),
    Refusal("extension", legacy_file(Raw(b"\x82\x01")), "the opcode EXT1"),
    Refusal("newobj", legacy_file(Raw(b"})\x81")), "the opcode NEWOBJ"),
    Refusal("attributes", legacy_file(Raw(b"}" + opcodes({"x": 1}) + b"b")), "attributes set"),
    Refusal("tuple as key", legacy_file(Raw(b"})Ns")), "a key of type tuple"),
    Refusal("key twice", legacy_file(Raw(b"}" + (opcodes("a") + b"Ns") * 2)), "the key 'a' twice"),
    Refusal("odd items", legacy_file(Raw(b"}(Nu")), "a key without a value"),
    Refusal("empty stack", legacy_file(Raw(b"a")), "takes more values than there are"),
    Refusal("no list", legacy_file(Raw(b"}Na")), "an opcode for a list without one"),
    Refusal("no mark", legacy_file(Raw(b"t")), "a marked group without a mark"),
    Refusal("nothing to put", legacy_file(Raw(b"q\x00")), "an empty stack to remember"),
    Refusal("unknown memo", legacy_file(Raw(b"h\x07")), "what was never remembered"),
    Refusal("left over", legacy_file(Raw(b"NN")), "values left over"),
    Refusal("persistent id", legacy_file(Raw(b"NQ")), "a persistent id that names no storage"),
    Refusal("persistent magic", legacy_file({}, magic=Raw(b"NQ")), "a persistent id"),
    Refusal(
        "flood", legacy_file(Raw(b"}" * (MAX_OPCODES + 1))), f"more than {MAX_OPCODES} opcodes"
    ),
    Refusal("bool storage", tensor_file(kind="torch BoolStorage"), "the global 'torch BoolSt"),
    Refusal("other class", tensor_file(kind=REBUILD), f"a storage of {REBUILD}"),
    Refusal("view", tensor_file(view=("b", 0, 12)), "a storage without a key and a plain size"),
    Refusal("negative size", tensor_file(elements=-1), "a storage without a key"),
    Refusal("true size", tensor_file(elements=True), "a storage without a key"),
    Refusal("huge storage", tensor_file(elements=2**62), "where the storages take"),
    Refusal("lying storage", tensor_file(elements=13), "where the storages take"),
    Refusal(
        "smaller storage",
        tensor_file(elements=11, shape=(11,), strides=(1,)),
        "a storage of 12 elements in place of 11",
    ),
    Refusal("offset", tensor_file(offset=1), OUT),
    Refusal("negative offset", tensor_file(offset=-1), "without a storage and an offset"),
    Refusal("larger shape", tensor_file(shape=(4, 4)), OUT),
    Refusal("larger stride", tensor_file(strides=(4, 2)), OUT),
    Refusal("huge stride", tensor_file(strides=(2**61, 1)), OUT),
    Refusal("negative stride", tensor_file(strides=(4, -1)), UNFIT),
    Refusal("repeating", tensor_file(shape=(2**40, 4), strides=(0, 1)), OUT),
    Refusal("fewer strides", tensor_file(strides=(1,)), UNFIT),
    Refusal("list shape", tensor_file(shape=[3, 4]), UNFIT),
    Refusal("empty axis", tensor_file(shape=(0, 2**70)), "or with an empty one"),
    Refusal("many axes", tensor_file(shape=(1,) * 9, strides=(1,) * 9), "more than 8 axes"),
    Refusal("no keys", legacy_file({"w": Tensor()}, keys={}), "no list of storage keys"),
    Refusal("fewer keys", legacy_file({"w": Tensor()}, keys=()), "storages other than"),
    Refusal("key repeated", legacy_file({"w": Tensor()}, keys=("a", "a")), "storages other than"),
    Refusal("behind", GOOD + b"\x00", "1 bytes behind the last storage"),
    Refusal(
        "two descriptions",
        legacy_file({"v": Tensor(), "w": Tensor(kind="torch IntStorage")}),
        "two descriptions of the storage 'a'",
    ),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.id)
def test_what_is_refused(case: Refusal) -> None:
    with pytest.raises(BadInput) as caught:
        read(case.data)
    assert case.reason in caught.value.found
    assert caught.value.expected == (
        "a state dict of tensors in the legacy .pth format in demo.pth"
    )
    assert caught.value.remedy == "fetch the file that the zoo pins"


def test_every_truncation_is_refused() -> None:
    for length in range(len(GOOD)):
        with pytest.raises(BadInput):
            read(GOOD[:length])


def test_mutated_bytes_are_read_or_refused() -> None:
    random = np.random.default_rng(7)
    read_count = 0
    for _ in range(4_000):
        data = bytearray(GOOD)
        for position in random.integers(0, len(data), size=random.integers(1, 4)):
            data[position] = random.integers(0, 256)
        try:
            tensors = read(bytes(data))
        except BadInput:
            continue
        read_count += 1
        assert all(np.asarray(array).sum() is not None for array in tensors.values())
    assert 0 < read_count < 4_000


def test_a_lie_about_a_size_allocates_nothing() -> None:
    data = tensor_file(elements=2**40, shape=(2**40,), strides=(1,))
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match="where the storages take"):
            read(data)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_a_bomb_of_shared_tuples_is_refused_without_walking_it() -> None:
    # Each tuple holds the one before twice: 2 to the 60 leaves for whoever walks or hashes it.
    levels = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))
    bomb = b")" + levels
    with pytest.raises(BadInput, match="a tuple where the tensor 'w' should be"):
        read(legacy_file({"w": Raw(bomb)}))
    with pytest.raises(BadInput, match="a key of type tuple"):
        read(legacy_file(Raw(b"}" + bomb + b"Ns")))
    with pytest.raises(BadInput, match="shape and strides do not fit"):
        read(tensor_file(shape=Raw(bomb)))
