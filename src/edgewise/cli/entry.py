"""From words on the command line to an exit code: 0 done, 1 limit not met, 2 bad input."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from edgewise import __version__
from edgewise.cli.console import printable
from edgewise.errors import EdgewiseError

_DEBUG = "EDGEWISE_DEBUG"
_INTERRUPTED = 130
_NEGATIVE = re.compile(r"-[.\d]")
_NO_NUMBER = re.compile("invalid (int|float) value:")  # argparse's words


class Parser(argparse.ArgumentParser):
    """Refuses bad usage as every other bad input: in one paragraph, with what to do."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)
        self._negative_number_matcher = _NEGATIVE  # so that -1s is a bad time, and no option

    # argparse lets the outermost parser complain, which does not know the command's options.
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse unknown words here rather than hand them up."""
        parsed, extra = super().parse_known_args(args, namespace)
        if extra:
            self.error(f"expected no {extra[0][:60]!r} here{self._nearest(extra[0])}")
        return parsed, extra

    def error(self, message: str) -> Any:
        """Print one paragraph and end with exit code 2."""
        message = _NO_NUMBER.sub(_wanted_number, message)
        self.exit(2, f"edgewise: {printable(message)}; see: {self.prog} --help\n")

    def _nearest(self, word: str) -> str:
        options = [name for action in self._actions for name in action.option_strings]
        near = difflib.get_close_matches(word.partition("=")[0], options, n=1)
        return f"; did you mean {near[0]}?" if near else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after ``edgewise``; those of this process by default.

    Returns:
        0 done, 1 a limit was not met, 2 bad usage or input, 130 interrupted.
    """
    _ready_streams()
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except SystemExit as end:  # argparse ends --help and bad usage in this way
        return end.code if isinstance(end.code, int) else 0
    except EdgewiseError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("stopped", _INTERRUPTED)
    except BrokenPipeError:
        _forget_stdout()
        return 0
    except OSError as error:
        return _fail_unless_debugging(error, _refused(error))
    except Exception as error:
        return _fail_unless_debugging(error, _unexpected(error))
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    # Here, so that Ctrl-C while these load is answered as at any other time.
    from edgewise.cli import (
        demo,
        doctor,
        fetch,
        inspect,
        keys,
        plan,
        run,
        serve,
        submissions,
        traces,
        zoo,
    )

    parser = Parser(
        prog="edgewise",
        description="Takes a trained ONNX network off the cloud, as far as it will go.",
        epilog="Start with: edgewise demo",
    )
    parser.add_argument("--version", action="version", version=f"edgewise {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (
        *(doctor, zoo, inspect, plan, serve, keys, submissions),
        *(fetch, run, traces, demo),
    ):
        module.add_command(commands)
    return parser


def _run(words: Sequence[str]) -> int:
    parser = build_parser()
    if not words:
        parser.print_help(sys.stderr)
        return 2
    args = parser.parse_args(words)
    code: int = args.execute(args)
    return code


def _wanted_number(refusal: re.Match[str]) -> str:
    return f"expected a {'whole number' if refusal[1] == 'int' else 'number'}, found"


def _ready_streams() -> None:
    """Make sure that there is somewhere to write, and that no character stops us."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _forget_stdout() -> None:
    """Whoever read our output went away, as `head` does; Python would complain at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    print(f"edgewise: {printable(message)}", file=sys.stderr)
    return code


def _fail_unless_debugging(error: Exception, message: str) -> int:
    if os.environ.get(_DEBUG):
        raise error
    if isinstance(error, OSError):
        _forget_stdout()  # what could not be written now cannot be at exit
    return _fail(message, 2)


def _refused(error: OSError) -> str:
    where = f" of {error.filename}" if error.filename else ""
    return (
        f"expected the system to allow the use{where}, found: "
        f"{error.strerror or type(error).__name__}; free space, or check path and permissions "
        f"(set {_DEBUG}=1 to see where)"
    )


def _unexpected(error: Exception) -> str:
    detail = str(error).splitlines()[0][:300] if str(error) else ""
    return (
        f"something unexpected happened ({type(error).__name__}: {detail}). "
        f"Set {_DEBUG}=1 to see where, and report it with that output."
    )
