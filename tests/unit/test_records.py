import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from edgewise.errors import BadInput
from edgewise.records import parse_json, read_record, read_toml, write_record


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    count: int
    share: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise BadInput(expected="a count of at least 0", found=str(self.count), remedy="add")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    name: str
    leaves: tuple[Leaf, ...] = ()
    colour: Colour = Colour.RED
    flag: bool = False
    parent: str | None = None
    axes: tuple[int | str, ...] = ()
    by_name: Mapping[str, Leaf] | None = None
    extra: Mapping[str, Any] | None = None


def read(data):
    return read_record(Tree, data, where="f")


FULL = Tree(
    name="t",
    leaves=(Leaf(count=1, share=0.5), Leaf(count=2)),
    colour=Colour.BLUE,
    flag=True,
    parent="p",
    axes=(1, "N"),
    by_name={"a": Leaf(count=3)},
    extra={"k": [1, {"x": None}]},
)


@pytest.mark.parametrize("tree", [FULL, Tree(name="t")])
def test_write_and_read_are_inverse(tree):
    text = json.dumps(write_record(tree), allow_nan=False)
    assert read(parse_json(text, where="f")) == tree


def test_integers_become_floats_where_floats_are_wanted():
    leaf = read({"name": "t", "leaves": [{"count": 1, "share": 1}]}).leaves[0]
    assert type(leaf.share) is float


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "a table at f, found list of 0"),
        (
            {"name": "t", "nmae": 1},
            "only the fields name, leaves, colour, flag, parent, axes, by_name, extra at f, "
            "found 'nmae'; remove the field, or install the edgewise that knows it",
        ),
        ({}, "the field 'name' at f, found nothing; add it"),
        ({"name": 1}, "a value of type str at f.name, found int 1"),
        ({"name": None}, "a value of type str at f.name, found NoneType None"),
        ({"name": "t", "flag": 1}, "a value of type bool at f.flag, found int 1"),
        ({"name": "t", "parent": 1}, "a value of type str at f.parent, found int 1"),
        ({"name": "t", "colour": "teal"}, "one of red, blue at f.colour, found str 'teal'"),
        ({"name": "t", "colour": ["red"]}, "one of red, blue at f.colour, found list of 1"),
        ({"name": "t", "axes": [1, True]}, "int or str at f.axes[1], found bool True"),
        ({"name": "t", "axes": [1.5]}, "int or str at f.axes[0], found float 1.5"),
        ({"name": "t", "leaves": {"count": 1}}, "a list at f.leaves, found dict of 1"),
        ({"name": "t", "leaves": [{}]}, "the field 'count' at f.leaves[0], found nothing; add it"),
        (
            {"name": "t", "leaves": [{"count": 1}, {"count": 1, "x": 2}]},
            "only the fields count, share at f.leaves[1], found 'x'; "
            "remove the field, or install the edgewise that knows it",
        ),
        (
            {"name": "t", "leaves": [{"count": True}]},
            "a value of type int at f.leaves[0].count, found bool True",
        ),
        (
            {"name": "t", "leaves": [{"count": 1.0}]},
            "a value of type int at f.leaves[0].count, found float 1.0",
        ),
        (
            {"name": "t", "leaves": [{"count": 1, "share": "1"}]},
            "a finite number at f.leaves[0].share, found str '1'",
        ),
        (
            {"name": "t", "leaves": [{"count": 1, "share": True}]},
            "a finite number at f.leaves[0].share, found bool True",
        ),
        (
            {"name": "t", "leaves": [{"count": 1, "share": 10**400}]},
            "a finite number at f.leaves[0].share, found int beyond 2^53 - 1",
        ),
        ({"name": "t", "by_name": [1]}, "a table at f.by_name, found list of 1"),
        (
            {"name": "t", "by_name": {"a\x1b": {"count": "1"}}},
            "a value of type int at f.by_name['a\\x1b'].count, found str '1'",
        ),
        (
            {"name": "t", "leaves": [{"count": -1}]},
            "a count of at least 0 at f.leaves[0], found -1; add",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(data, message):
    with pytest.raises(BadInput) as refusal:
        read(data)
    remedy = "" if ";" in message else "; correct this field"
    assert str(refusal.value) == f"expected {message}{remedy}"


def test_a_refusal_quotes_little_of_what_it_found():
    for data in ("x" * 10**6, [0] * 10**6, {str(i): i for i in range(10**5)}):
        with pytest.raises(BadInput) as refusal:
            read(
                {"name": data} if isinstance(data, list | dict) else {"name": "t", "colour": data}
            )
        assert len(str(refusal.value)) < 200


def test_integers_too_long_to_print_are_refused_too():
    with pytest.raises(BadInput, match="int beyond 2"):
        read({"name": 1 << 100_000})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'{"a": NaN}', "the constant NaN"),
        (b'{"a": Infinity}', "the constant Infinity"),
        (b'{"a": -Infinity}', "the constant -Infinity"),
        (b'{"a": 1e999}', "the number 1e999, too large for a double"),
        (b'{"a": 9007199254740992}', r"the integer 9007199254740992, beyond 2\^53 - 1"),
        (b'{"a": -9007199254740992}', r"the integer -9007199254740992, beyond 2\^53 - 1"),
        (b"1" * 5000, r"the integer 1{40}, beyond 2\^53 - 1"),
        (b'{"a": {"b": 1, "b": 2}}', "a repeated key"),
        (b'{"a": "\xff"}', "'utf-8' codec can't decode"),
        ('{"a": 1}'.encode("utf-16"), "'utf-8' codec can't decode"),
        ('{"a": 1}'.encode("utf-32-le"), "Expecting property name"),
        (b'\xef\xbb\xbf{"a": 1}', "a byte order mark"),
        (rb'{"a": ["\ud800"]}', "surrogates not allowed"),
        (rb'{"\udc00": 1}', "surrogates not allowed"),
        (rb'"\ud800"', "surrogates not allowed"),
        (b'{"a": 1}x', "Extra data"),
        (b'{"a": "\n"}', "Invalid control character"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_json_that_readers_disagree_about_is_refused(raw, reason):
    with pytest.raises(
        BadInput, match=rf"^expected valid JSON in f, found .*{reason}.*; write it anew$"
    ):
        parse_json(raw, where="f")


def test_the_largest_exact_integer_and_paired_surrogates_are_taken():
    assert parse_json(b'[9007199254740991, -9007199254740991, "\\ud83d\\ude00"]', where="f") == [
        2**53 - 1,
        1 - 2**53,
        "\N{GRINNING FACE}",
    ]


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("core", ["", "1"])
def test_depth_is_limited_to_32_containers(opening, core):
    core = core or ("[]" if opening == "[" else "{}")
    closing = "]" if opening == "[" else "}"
    allowed = 32 - (core != "1")
    parse_json(opening * allowed + core + closing * allowed, where="f")
    with pytest.raises(BadInput) as refusal:
        parse_json(opening * (allowed + 1) + core + closing * (allowed + 1), where="f")
    assert str(refusal.value) == (
        "expected JSON nested at most 32 deep in f, found deeper nesting; "
        "use the file that edgewise wrote"
    )


def test_size_is_checked_first():
    with pytest.raises(BadInput) as refusal:
        parse_json(b"not JSON", where="f", max_bytes=7)
    assert str(refusal.value) == (
        "expected at most 7 bytes of JSON in f, found 8 bytes; use the file that edgewise wrote"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name = ", "expected valid TOML in {path}, found Invalid value"),
        (b"name = '\xff'", "expected valid TOML in {path}, found 'utf-8' codec can't decode"),
        (b"#" * 1_000_001, "expected valid TOML in {path}, found more than 1000000 bytes; "),
        (b"a = " + b"[" * 5000, "expected valid TOML in {path}, found maximum recursion depth"),
        (b"nmae = 't'", "expected only the fields name, "),
        (b"name = 0x" + b"f" * 10_000, "expected a value of type str at {path}.name, found int "),
    ],
)
def test_toml_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "t.toml"
    path.write_bytes(text)
    with pytest.raises(BadInput) as refusal:
        read_toml(Tree, path)
    assert str(refusal.value).startswith(message.format(path=path))


def test_toml_that_is_nowhere_is_refused(tmp_path):
    with pytest.raises(BadInput) as refusal:
        read_toml(Tree, tmp_path / "no.toml")
    assert str(refusal.value) == (
        f"expected a readable TOML file at {tmp_path / 'no.toml'}, "
        "found No such file or directory; check the path"
    )
    with pytest.raises(BadInput, match="found Is a directory; check the path"):
        read_toml(Tree, tmp_path)
