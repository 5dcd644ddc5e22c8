"""Words on the command line, and what comes of those that mean nothing."""

from __future__ import annotations

import io
import json
import sys

import pytest

from edgewise import __version__
from edgewise.cli import main
from edgewise.cli.console import note, print_json, printable
from edgewise.cli.entry import build_parser
from edgewise.cli.run import POLICIES
from edgewise.errors import LimitNotMet
from edgewise.running import Policy

COMMANDS = ("doctor", "zoo", "inspect", "plan", "serve", "keys", "fetch", "run", "demo")


def test_without_words_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert all(f"    {command} " in said.err for command in COMMANDS)
    assert "Start with: edgewise demo" in said.err


@pytest.mark.parametrize("command", [(), *((c,) for c in COMMANDS), ("zoo", "get")])
def test_help_is_not_a_failure(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--help"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(" ".join(["usage: edgewise", *command]))
    assert said.err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edgewise {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frob"], "invalid choice: 'frob' (choose from 'doctor', 'zoo', 'inspect'"),
        (["plan", "net.onnx", "--dvice", "x"], "did you mean --device?; see: edgewise plan"),
        (["plan", "net.onnx", "--dvice=x"], "expected no '--dvice=x' here; did you mean --dev"),
        (["inspect", "net.onnx", "--zzz"], "expected no '--zzz' here; see: edgewise inspect"),
        (["inspect", "a.onnx", "b.onnx"], "expected no 'b.onnx' here"),
        (["plan", "net.onnx", "--min", "1"], "expected no '--min' here"),
        (["inspect"], "the following arguments are required: MODEL"),
        (["zoo"], "the following arguments are required: VERB; see: edgewise zoo --help"),
        (["plan", "n", "--max-latency", "5"], "a duration such as 80ms, found '5'; use one of"),
        (["plan", "n", "--min-agreement", "3"], "a share from 0 to 1, found '3'; try 0.95"),
        (["run", "b", "i", "--policy", "no"], "invalid choice: 'no' (choose from 'auto'"),
        (["demo", "--photos", "0"], "a number of photos from 1 to 12, found '0'; try 4"),
        (["demo", "--photos", "13"], "from 1 to 12, found '13'"),
        (["demo", "--photos", "-1"], "from 1 to 12, found '-1'"),
        (["inspect", "n", "--html", "."], "expected a file to write the page to, found the fold"),
        (
            ["serve", "b", "--port", "x"],
            "argument --port: expected a whole number, found 'x'; see",
        ),
        (["run", "b", "i", "--fps", "x"], "argument --fps: expected a number, found 'x'; see"),
    ],
)
def test_bad_usage_is_one_paragraph(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("edgewise: ")
    assert err.count("\n") == 1
    assert said in err


def test_what_a_terminal_would_obey_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "n", "--\x1b[31m"]) == 2
    assert "\x1b" not in capsys.readouterr().err
    note("a\x1b]0;title\x07b")
    assert capsys.readouterr().err == "a\ufffd]0;title\ufffdb\n"
    assert printable("é × 日本\nsecond") == "é × 日本\nsecond"


def _raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def execute(args: object) -> int:
        raise error

    # What a command may run into, without having to provoke each for real.
    monkeypatch.setattr("edgewise.cli.doctor.execute", execute)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (LimitNotMet("too slow"), 1, "edgewise: too slow\n"),
        (KeyboardInterrupt(), 130, "edgewise: stopped\n"),
        (PermissionError(13, "Permission denied", "/x"), 2, "of /x, found: Permission denied; f"),
        (RuntimeError("odd"), 2, "unexpected happened (RuntimeError: odd). Set EDGEWISE_DEBUG=1"),
        (MemoryError(), 2, "unexpected happened (MemoryError: ). Set"),
    ],
)
def test_whatever_happens_has_a_code_and_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    _raising(monkeypatch, error)
    # The real thing would end up on pytest's own stdout.
    monkeypatch.setattr("edgewise.cli.entry._forget_stdout", lambda: None)
    assert main(["doctor"]) == code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_debugging_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_DEBUG", "1")
    _raising(monkeypatch, RuntimeError("odd"))
    with pytest.raises(RuntimeError, match="odd"):
        main(["doctor"])


def test_a_stream_that_knows_no_such_character_stops_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr("edgewise.cli.doctor.execute", lambda args: stream.write("3 × 4\n") * 0)
    assert main(["doctor"]) == 0
    assert stream.buffer.getvalue() == b"3 ? 4\n"  # type: ignore[attr-defined]


def test_a_closed_stdout_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["doctor", "--json"]) == 0
    sys.stdout.close()


def test_json_is_strict(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "café", "share": 0.5})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": "café", "share": 0.5}
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"seconds": float("nan")})
    assert capsys.readouterr().out == ""


def test_the_policies_are_those_of_sessions() -> None:
    assert tuple(policy.value for policy in Policy) == POLICIES


def test_every_command_speaks_json() -> None:
    for words in (["doctor"], ["zoo", "list"], ["zoo", "get", "n"], ["inspect", "n"], ["plan"]):
        assert build_parser().parse_args([*words, "--json"]).json
    for words in (["serve", "b"], ["run", "b", "i"], ["demo"]):
        assert build_parser().parse_args([*words, "--json"]).json
