"""``edgewise serve``: the cloud half."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgewise.cli.console import Commands, add_json, note, print_json
from edgewise.cli.options import duration

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("serve", help="the cloud half of a bundle")
    parser.add_argument("bundle", metavar="BUNDLE", type=Path)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (loopback)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--threads", type=int, default=1, help="of one run of a network")
    parser.add_argument(
        "--max-batch", type=int, default=8, metavar="ITEMS", help="most in one run (8)"
    )
    parser.add_argument(
        "--max-wait",
        type=duration,
        default=0.0,
        metavar="TIME",
        help="a batch may wait this long for more once an engine is free (0ms)",
    )
    parser.add_argument(
        "--max-queue", type=int, default=32, metavar="ITEMS", help="most that wait (32)"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a name to answer to"
    )
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Serve until stopped."""
    from edgewise.serving import LOCAL_HOSTS, Access, Limits, serve

    def ready(url: str) -> None:
        if args.json:
            print_json({"url": url})
        else:
            print(f"serving {args.bundle} at {url} (stop with Ctrl-C)", flush=True)
            note(f"next: edgewise run {args.bundle} --server {url} PHOTO")

    access = Access(
        allowed_hosts=(*LOCAL_HOSTS, _host_name(args.host), *args.allow_host),
        batching=Limits(
            max_batch=args.max_batch, max_wait_s=args.max_wait, max_queue=args.max_queue
        ),
    )
    if args.host not in _LOOPBACK and not args.json:
        note(f"warning: {args.host} can be reached from other machines, and there is no password")
    serve(
        args.bundle,
        host=args.host,
        port=args.port,
        threads=args.threads,
        access=access,
        on_ready=ready,
    )
    return 0


def _host_name(host: str) -> str:
    """As it stands in a request's ``Host``: IPv6 addresses have brackets there."""
    return f"[{host}]" if ":" in host else host
