"""Any record of ours survives JSON, and only its own shape is taken for it."""

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.bounds import Bound
from edgewise.bundle import Manifest
from edgewise.cost import Cost, Evidence, Forecast
from edgewise.errors import BadInput
from edgewise.profiling.profile import Profile
from edgewise.records import parse_json, read_record, write_record
from edgewise.specs import CloudSpec, DeviceSpec, LinkSpec, Provenance
from edgewise.tensors import OIP_DATATYPES, TensorSpec
from edgewise.trace import Trace

names = st.text("abcXYZ019_./:-", min_size=1, max_size=8)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
tensor_specs = st.builds(
    TensorSpec,
    name=names,
    dtype=st.sampled_from(sorted(OIP_DATATYPES)),
    shape=st.lists(st.integers(1, 2**10) | names, max_size=4).map(tuple),
)
bounds = st.one_of(
    tensor_specs.map(Bound.exactly),
    st.builds(
        Bound,
        name=names,
        dtype=st.just("uint8"),
        shape=st.just(("bytes",)),
        min_bytes=st.integers(1, 10),
        max_bytes=st.integers(10, 2**40),
    ),
)
scalars: Mapping[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=8),
    int: st.integers(-(2**53) + 1, 2**53 - 1),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    Any: json_values,
    TensorSpec: tensor_specs,
    Bound: bounds,
}


def instances(kind: Any) -> st.SearchStrategy[Any]:
    """Values that fit an annotation: the reader's rules, read the other way round."""
    if kind in scalars:
        return scalars[kind]
    arguments = [a for a in typing.get_args(kind) if a not in (types.NoneType, ...)]
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        optional = [st.none()] if types.NoneType in typing.get_args(kind) else []
        return st.one_of(*optional, *map(instances, arguments))
    if origin is tuple:
        return st.lists(instances(arguments[0]), max_size=3).map(tuple)
    if origin is not None:
        return st.dictionaries(st.text(max_size=5), instances(arguments[1]), max_size=3)
    if issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{f.name: instances(hints[f.name]) for f in dataclasses.fields(kind)})


positive = st.floats(min_value=1e-9, max_value=1e12)
at_least_0 = st.floats(min_value=0, max_value=1e12)
PROVENANCE = instances(Provenance)
COSTS = st.builds(Cost, **{f.name: at_least_0 for f in dataclasses.fields(Cost)})
RECORDS = {
    Manifest: instances(Manifest),
    Profile: instances(Profile),
    Trace: instances(Trace),
    Cost: COSTS,
    Forecast: st.builds(Forecast.exactly, COSTS, instances(Evidence)),
    DeviceSpec: st.builds(DeviceSpec, name=names, slowdown=positive, provenance=PROVENANCE),
    CloudSpec: st.builds(CloudSpec, name=names, slowdown=positive, provenance=PROVENANCE),
    LinkSpec: st.builds(
        LinkSpec,
        name=names,
        up_bytes_per_s=positive | st.just(float("inf")),
        down_bytes_per_s=positive | st.just(float("inf")),
        rtt_s=at_least_0,
        jitter_s=at_least_0,
        loss=st.floats(0, 0.99),
        provenance=PROVENANCE,
    ),
}


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_write_json_read_gives_the_same_record(kind, data):
    record = data.draw(RECORDS[kind])
    text = json.dumps(write_record(record), allow_nan=False)
    assert read_record(kind, parse_json(text, where="f"), where="f") == record


@given(record=RECORDS[Manifest], data=st.data())
def test_a_field_renamed_anywhere_is_refused_by_name(record, data):
    written = write_record(record)
    tables = list(_tables(written))
    table = data.draw(st.sampled_from(tables))
    table["unheard_of"] = table.pop(data.draw(st.sampled_from(sorted(table))))
    with pytest.raises(BadInput, match="found 'unheard_of'; remove the field"):
        read_record(Manifest, written, where="f")


@given(kind=st.sampled_from(list(RECORDS)), value=json_values)
def test_any_json_is_read_or_refused(kind, value):
    try:
        record = read_record(kind, value, where="f")
    except BadInput as refusal:
        record, reason = None, str(refusal)
    assert isinstance(record, kind) or " at f" in reason


def _tables(written: Any) -> typing.Iterator[dict[str, Any]]:
    """Every JSON object that stands for a dataclass."""
    if isinstance(written, dict):
        yield written
        for key, value in written.items():
            if key != "preparation":  # free form
                yield from _tables(value)
    elif isinstance(written, list):
        for value in written:
            yield from _tables(value)
