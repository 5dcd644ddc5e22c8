"""From words on the command line to an exit code: 0 done, 1 limit not met, 2 bad input."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from edgewise.cli import demo, doctor, inspect, plan, run, serve, zoo
from edgewise.errors import EdgewiseError

_COMMANDS = (doctor, zoo, inspect, plan, serve, run, demo)
_DEBUG = "EDGEWISE_DEBUG"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after ``edgewise``; those of this process by default.

    Returns:
        0 done, 1 a limit was not met, 2 bad usage or input, 130 interrupted.
    """
    args = build_parser().parse_args(argv)
    try:
        code: int = args.execute(args)
    except EdgewiseError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    except BrokenPipeError:
        # Whoever read our output went away, as `head` does; Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get(_DEBUG):
            raise
        return _fail(_unexpected(error), 2)
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="edgewise",
        description="Takes a trained ONNX network off the cloud, as far as it will go.",
        epilog="Start with: edgewise demo",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add_command(commands)
    return parser


def _fail(message: str, code: int) -> int:
    print(f"edgewise: {message}", file=sys.stderr)
    return code


def _unexpected(error: Exception) -> str:
    detail = str(error).splitlines()[0][:300] if str(error) else ""
    return (
        f"something unexpected happened ({type(error).__name__}: {detail}). Nothing half-written "
        f"was left behind. Set {_DEBUG}=1 to see where, and report it with that output."
    )
