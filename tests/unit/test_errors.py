import pytest

from edgewise.errors import (
    BadInput,
    EdgewiseError,
    LimitNotMet,
    LinkFailed,
    MissingExtra,
    ProofFailed,
)


def test_bad_input_keeps_its_three_parts():
    error = BadInput(expected="a folder", found="a file", remedy="pass --data DIR")
    assert str(error) == "expected a folder, found a file; pass --data DIR"
    assert (error.expected, error.found, error.remedy) == ("a folder", "a file", "pass --data DIR")


def test_a_missing_extra_gives_the_command():
    error = MissingExtra(extra="serve", purpose="to answer requests")
    assert isinstance(error, BadInput)
    assert error.extra == "serve"
    assert str(error) == (
        "expected the optional part 'serve' to answer requests, found it not installed; "
        "run: pip install 'edgewise[serve]'"
    )


def test_a_failed_link_keeps_its_reason():
    assert LinkFailed("no answer in 0.5 s").reason == "no answer in 0.5 s"


@pytest.mark.parametrize(
    ("kind", "code"),
    [(BadInput, 2), (MissingExtra, 2), (LimitNotMet, 1), (ProofFailed, 2), (LinkFailed, 2)],
)
def test_exit_codes(kind, code):
    assert issubclass(kind, EdgewiseError)
    assert kind.exit_code == code
