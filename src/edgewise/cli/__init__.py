"""The command line: parses, composes public verbs, prints."""

from edgewise.cli.entry import main

__all__ = ["main"]
