# ruff: noqa: E501 - a table reads best with one case a line
import pytest

from edgewise.bounds import Bound
from edgewise.errors import BadInput


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a b"}, "a tensor name of 1 to 256 letters, digits and _ . / : -, found 'a b'; rename the tensor"),
        ({"name": ""}, "a tensor name of 1 to 256 letters, digits and _ . / : -, found ''; rename the tensor"),
        ({"min_bytes": 0}, "0 < min_bytes <= max_bytes for 'x', found 0 and 8; write the bundle anew"),
        ({"max_bytes": 7}, "0 < min_bytes <= max_bytes for 'x', found 8 and 7; write the bundle anew"),
        ({"shape": (3,)}, "bounds around the 12 bytes of 'x', found 8 and 8; write the bundle anew"),
    ],
)  # fmt: skip
def test_a_bound_that_no_tensor_meets_is_refused(changes, message):
    sound = {"name": "x", "dtype": "float32", "shape": (1, 2), "min_bytes": 8, "max_bytes": 8}
    with pytest.raises(BadInput) as error:
        Bound(**{**sound, **changes})
    assert str(error.value) == f"expected {message}"
