"""``python -m edgewise.serving BUNDLE…``: a server for programs, one JSON line when ready.

People use ``edgewise serve``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgewise.errors import EdgewiseError

if TYPE_CHECKING:
    from edgewise.serving import Access

_DRAIN_S = 12.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end; 0 when drained, 2 when the input cannot be used."""
    options = _parser().parse_args(arguments)
    if options.end_with_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        from edgewise.serving import serve

        serve(
            options.bundles,
            port=options.port,
            threads=options.threads,
            access=_access(options),
            submissions=options.submissions,
            on_ready=_announce,
        )
    except EdgewiseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _access(options: argparse.Namespace) -> Access:
    from edgewise.serving import Access, Limits, Operations, read_canary

    return Access(
        body_timeout_s=options.body_timeout_s,
        operations=Operations(
            workers=options.workers, canaries=tuple(map(read_canary, options.canary))
        ),
        batching=Limits(
            max_batch=options.max_batch,
            max_wait_s=options.max_wait,
            max_queue=options.max_queue,
        ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edgewise.serving", description=__doc__)
    parser.add_argument("bundles", metavar="BUNDLE", nargs="+")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free one")
    parser.add_argument("--threads", type=int, default=1, help="threads of one engine run")
    parser.add_argument("--workers", type=int, default=1, help="processes that answer")
    parser.add_argument(
        "--canary", action="append", default=[], metavar="NAME:VERSION=SHARE", help="on trial"
    )
    parser.add_argument("--body-timeout-s", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--submissions", metavar="URL", help="store them in that database")
    parser.add_argument("--max-batch", type=int, default=8, metavar="ITEMS")
    parser.add_argument("--max-wait", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--max-queue", type=int, default=32, metavar="ITEMS")
    parser.add_argument(
        "--end-with-stdin", action="store_true", help="end when standard input is closed"
    )
    return parser


def _announce(url: str) -> None:
    sys.stdout.write(json.dumps({"url": url}) + "\n")
    sys.stdout.flush()


def _end_with_stdin() -> None:
    """Outlive nobody: the parent's end of the pipe closes however the parent ends."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_DRAIN_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
