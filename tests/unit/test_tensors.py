import numpy as np
import pytest

from edgewise.errors import BadInput
from edgewise.tensors import NUMPY_DTYPES, OIP_DATATYPES, Role, TensorSpec, check_array


def spec(shape=("N", 2), dtype="float32"):
    return TensorSpec(name="x", dtype=dtype, shape=shape)


def test_the_protocol_names_every_type_once():
    assert len(NUMPY_DTYPES) == len(OIP_DATATYPES) == 12
    for name, datatype in OIP_DATATYPES.items():
        assert np.dtype(name).name == name
        assert NUMPY_DTYPES[datatype] == name


@pytest.mark.parametrize(
    ("dtype", "shape", "batch", "nbytes"),
    [("float32", ("N", 3), 4, 48), ("uint8", (), 1, 1), ("float16", (5, 7), 9, 70)],
)
def test_sizes(dtype, shape, batch, nbytes):
    assert spec(shape, dtype).nbytes(batch) == nbytes


def test_says_what_it_is():
    assert str(spec()) == "x float32[N, 2]"
    assert spec().role is Role.CONTENT
    assert spec(("N", "M", 3)).concrete(7) == (7, 7, 3)
    assert spec().itemsize_bytes == 4


def test_an_unknown_type_is_refused():
    with pytest.raises(BadInput) as refusal:
        spec(dtype="string")
    assert str(refusal.value) == (
        "expected tensor 'x' of one of the types bool, uint8, uint16, uint32, uint64, int8, "
        "int16, int32, int64, float16, float32, float64, found 'string'; "
        "convert the tensor in the model (Cast)"
    )


def test_a_hostile_type_name_cannot_flood_or_colour_the_terminal():
    with pytest.raises(BadInput) as refusal:
        spec(dtype="\x1b[31m" * 10_000)
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("size", [0, -1])
def test_an_axis_of_size_zero_is_refused(size):
    with pytest.raises(BadInput) as refusal:
        spec((1, size))
    assert str(refusal.value) == (
        f"expected tensor 'x' with axes of at least 1, found axis 1 of size {size}; "
        "export the model with a real or a symbolic size"
    )


@pytest.mark.parametrize("shape", [(1, 2), (9, 2)])
def test_symbolic_axes_take_any_size(shape):
    check_array(np.zeros(shape, np.float32), spec())


def test_only_who_asks_for_it_takes_an_empty_axis_and_never_an_empty_batch():
    cache = TensorSpec(name="past", dtype="float32", shape=("N", "old", 2))
    check_array(np.zeros((1, 0, 2), np.float32), cache, may_be_empty=True)
    with pytest.raises(BadInput, match=r"found float32\[1, 0, 2\]"):
        check_array(np.zeros((1, 0, 2), np.float32), cache)
    with pytest.raises(BadInput, match=r"found float32\[0, 3, 2\]"):
        check_array(np.zeros((0, 3, 2), np.float32), cache, may_be_empty=True)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((1, 2)), "float64[1, 2]"),
        (np.zeros((1, 3), np.float32), "float32[1, 3]"),
        (np.zeros((0, 2), np.float32), "float32[0, 2]"),
        (np.zeros(2, np.float32), "float32[2]"),
        (np.zeros((), np.float32), "float32[]"),
    ],
)
def test_another_type_or_shape_is_refused(array, found):
    with pytest.raises(BadInput) as refusal:
        check_array(array, spec())
    assert str(refusal.value) == (
        f"expected float32[N, 2] for the input 'x', found {found}; "
        "convert or reshape the array before the call"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_and_infinity_are_refused(value, dtype):
    with pytest.raises(BadInput) as refusal:
        check_array(np.array([[0, value]], dtype), spec(dtype=dtype))
    assert str(refusal.value) == (
        "expected finite numbers in the input 'x', found NaN or infinity; "
        "clean the data before the call"
    )


def test_integers_need_no_finiteness():
    check_array(np.array([[1, 2]], np.int64), spec(dtype="int64"))
