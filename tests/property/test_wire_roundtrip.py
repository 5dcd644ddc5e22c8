"""Any message survives the wire bit for bit, whatever the memory layout it came from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewise import wire
from edgewise.bounds import Bound
from edgewise.errors import BadInput
from edgewise.tensors import OIP_DATATYPES, TensorSpec
from edgewise.wire import Frame, Message

names = st.from_regex(r"[A-Za-z0-9_./:\-]{1,20}", fullmatch=True)
texts = st.text(max_size=20)
parameters = st.dictionaries(
    texts.filter(lambda key: key != "binary_data_output"),
    texts
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False),
    max_size=4,
)


@st.composite
def arrays(draw):
    kind = np.dtype(draw(st.sampled_from(sorted(OIP_DATATYPES))))
    kind = kind.newbyteorder(draw(st.sampled_from("<>")))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=4))
    array = np.frombuffer(
        draw(st.randoms()).randbytes(kind.itemsize * int(np.prod(shape))), np.uint8
    )
    array = (array & 1 if kind.kind == "b" else array).view(kind).reshape(shape)
    layout = draw(st.sampled_from(["plain", "reversed", "transposed", "strided"]))
    if layout == "reversed" and shape:
        return array[::-1]
    if layout == "strided" and shape:
        return np.repeat(array, 2, axis=0)[::2]
    return array.T if layout == "transposed" else array


messages = st.builds(
    Message,
    tensors=st.dictionaries(names, arrays(), min_size=1, max_size=4),
    id=texts,
    parameters=parameters,
    model=texts,
)
codecs = st.sampled_from(
    [(wire.encode_request, wire.decode_request), (wire.encode_reply, wire.decode_reply)]
)


def bounds_of(message):
    return [
        Bound.exactly(TensorSpec(name=name, dtype=array.dtype.name, shape=array.shape))
        for name, array in message.tensors.items()
    ]


@given(codecs, messages)
def test_decoding_undoes_encoding(codec, message):
    encode, decode = codec
    frame = encode(message)
    bounds = bounds_of(message)
    read = decode(frame, bounds)
    is_reply = encode is wire.encode_reply
    assert len(frame.body) <= wire.max_frame_bytes(bounds)
    assert read.id == message.id
    assert read.model == (message.model if is_reply else "")
    asked = {} if is_reply else {"binary_data_output": True}
    assert read.parameters == {**message.parameters, **asked}
    assert list(read.tensors) == list(message.tensors)
    for name, array in message.tensors.items():
        wanted = array.astype(array.dtype.newbyteorder("<"))
        assert read.tensors[name].shape == array.shape
        assert read.tensors[name].dtype.name == array.dtype.name
        assert read.tensors[name].tobytes() == wanted.tobytes()


@given(messages, st.data())
def test_a_frame_cut_or_lengthened_anywhere_is_refused(message, data):
    frame = wire.encode_request(message)
    cut = data.draw(st.integers(0, len(frame.body) - 1))
    for body in (frame.body[:cut], frame.body + bytes(cut + 1)):
        with pytest.raises(BadInput):
            wire.decode_request(
                Frame(body=body, header_bytes=frame.header_bytes), bounds_of(message)
            )
