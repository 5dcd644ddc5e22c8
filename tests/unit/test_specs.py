import json
import math

import pytest

from edgewise.errors import BadInput
from edgewise.records import parse_json, read_record, read_toml, write_record
from edgewise.specs import CloudSpec, DeviceSpec, LinkSpec, Provenance

P = Provenance(source="user-supplied", date="2026-11-21")


def test_a_transfer_is_a_round_trip_and_the_bytes_at_their_rates():
    link = LinkSpec(
        name="l", up_bytes_per_s=100.0, down_bytes_per_s=1000.0, rtt_s=0.5, provenance=P
    )
    assert link.transfer_s(up_bytes=50, down_bytes=100) == pytest.approx(0.5 + 0.5 + 0.1)
    assert LinkSpec(name="none", provenance=P).transfer_s(up_bytes=1e12) == 0.0


@pytest.mark.parametrize("kind", [DeviceSpec, CloudSpec])
@pytest.mark.parametrize("slowdown", [0.0, -1.0, math.nan, math.inf])
def test_a_slowdown_is_above_zero_and_finite(kind, slowdown):
    with pytest.raises(BadInput) as refusal:
        kind(name="d", slowdown=slowdown, provenance=P)
    label = kind.__name__.removesuffix("Spec").lower()
    assert str(refusal.value) == (
        f"expected a finite slowdown above 0 in the {label} 'd', found {slowdown}; "
        "correct the spec"
    )


@pytest.mark.parametrize("kind", [DeviceSpec, CloudSpec])
def test_only_this_machine_is_a_base(kind):
    with pytest.raises(BadInput) as refusal:
        kind(name="d", relative_to="a-phone", provenance=P)
    label = kind.__name__.removesuffix("Spec").lower()
    assert str(refusal.value) == (
        f"expected relative_to = 'this-machine' in the {label} 'd', found 'a-phone'; "
        "measure it against this machine"
    )


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("up_bytes_per_s", 0.0, "up_bytes_per_s above 0"),
        ("down_bytes_per_s", -1.0, "down_bytes_per_s above 0"),
        ("up_bytes_per_s", math.nan, "up_bytes_per_s above 0"),
        ("rtt_s", -0.1, "rtt_s of at least 0"),
        ("rtt_s", math.nan, "rtt_s of at least 0"),
        ("jitter_s", math.inf, "jitter_s of at least 0"),
        ("loss", 1.0, "a loss from 0 to below 1"),
        ("loss", -0.1, "a loss from 0 to below 1"),
        ("loss", math.nan, "a loss from 0 to below 1"),
    ],
)
def test_a_link_that_cannot_be_is_refused(field, value, expected):
    with pytest.raises(BadInput) as refusal:
        LinkSpec(name="l", provenance=P, **{field: value})
    assert str(refusal.value).startswith(f"expected {expected} in the link 'l', found {value}; ")


def test_an_unlimited_link_survives_json():
    link = LinkSpec(name="l", rtt_s=0.1, provenance=P)
    text = json.dumps(write_record(link), allow_nan=False)
    assert "up_bytes_per_s" not in text
    assert read_record(LinkSpec, parse_json(text, where="l"), where="l") == link


@pytest.mark.parametrize("value", ["inf", "nan", "-inf"])
def test_toml_infinity_is_refused(tmp_path, value):
    path = tmp_path / "l.toml"
    path.write_text(
        f'name = "l"\nrtt_s = {value}\n[provenance]\nsource = "user-supplied"\ndate = "2026"\n'
    )
    with pytest.raises(BadInput) as refusal:
        read_toml(LinkSpec, path)
    assert str(refusal.value) == (
        f"expected a finite number at {path}.rtt_s, found float {value}; correct this field"
    )


def test_no_provenance_no_device(tmp_path):
    path = tmp_path / "d.toml"
    path.write_text('name = "d"\nslowdown = 8\n')
    with pytest.raises(BadInput, match=r"the field 'provenance' at .*, found nothing; add it"):
        read_toml(DeviceSpec, path)
