"""The catalogue: every entry loads and says where it comes from; specs are read three ways."""

from __future__ import annotations

import math
import re

import pytest

from edgewise.catalog import load_cloud, load_device, load_link, names, parse_link
from edgewise.errors import BadInput

LOADERS = {"devices": load_device, "links": load_link, "clouds": load_cloud}


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in LOADERS for n in names(k)])
def test_every_entry_loads_under_its_own_name_with_a_source(kind, name):
    entry = LOADERS[kind](name)
    assert entry.name == name
    assert entry.provenance.source
    assert re.fullmatch(r"\d{4}(-\d\d(-\d\d)?)?", entry.provenance.date)


@pytest.mark.parametrize(
    ("name", "up_mbit", "down_mbit", "rtt_s"),
    [("3g", 1.1, 2.0275, 0.1), ("lte", 5.85, 13.76, 0.05), ("wifi", 18.88, 54.97, 0.005)],
)
def test_links_have_the_published_rates_and_disown_the_rtt(name, up_mbit, down_mbit, rtt_s):
    link = load_link(name)
    assert link.up_bytes_per_s * 8 / 1e6 == pytest.approx(up_mbit, rel=1e-12)
    assert link.down_bytes_per_s * 8 / 1e6 == pytest.approx(down_mbit, rel=1e-12)
    assert link.rtt_s == rtt_s
    assert "JointDNN" in link.provenance.source
    assert "RTT user-supplied" in link.provenance.conditions


def test_the_slow_phone_names_no_product():
    device = load_device("slow-phone")
    assert device.slowdown == 30.0
    assert device.provenance.source == "user-supplied"


def test_a_link_is_written_out_with_defaults():
    link = parse_link(" up=5.85Mbit/s , rtt=0 ")
    assert (link.up_bytes_per_s, link.down_bytes_per_s, link.rtt_s) == (731250.0, math.inf, 0.0)
    assert link.name == "up=5.85Mbit/s , rtt=0"
    assert parse_link("rtt=80ms,down=8Mbit/s,up=8bit/s").down_bytes_per_s == 1e6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rtt=0", "the key up"),
        ("up=1Mbit/s,loss=0.1", "only the keys up, down and rtt .* found 'loss=0.1'"),
        ("up=1Mbit/s,", "only the keys"),
        ("up=1Mbit/s,rtt", "only the keys .* found 'rtt'"),
        ("up=1Mbit/s,up=2Mbit/s", "up once"),
        ("up=5", "a rate such as"),
        ("up=0", "up_bytes_per_s above 0"),
        ("up=-1Mbit/s", "at least 0"),
        ("up=1Mbit/s,rtt=5", "a duration such as"),
        ("", "only the keys"),
    ],
)
def test_a_bad_link_is_refused(text, message):
    with pytest.raises(BadInput, match=message):
        parse_link(text)


@pytest.mark.parametrize("kind", LOADERS)
def test_an_unknown_name_is_refused_with_the_known_ones(kind):
    with pytest.raises(BadInput, match=f"one of the {kind} .*{names(kind)[0]}.* found 'pager'"):
        LOADERS[kind]("pager")


@pytest.mark.parametrize("kind", LOADERS)
def test_an_entry_of_ones_own_is_a_toml_file(kind, tmp_path):
    path = tmp_path / "up=mine.toml"
    path.write_text('name = "mine"\n[provenance]\nsource = "user-supplied"\ndate = "2026-11-21"\n')
    assert LOADERS[kind](str(path)).name == "mine"
    with pytest.raises(BadInput, match="a readable TOML file"):
        LOADERS[kind](str(tmp_path / "absent.toml"))


def test_an_unknown_kind_is_refused():
    with pytest.raises(
        BadInput, match="one of the kinds clouds, devices, links, found 'toasters'"
    ):
        names("toasters")
