"""``edgewise serve``: the cloud half."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.console import Commands, add_json, note, print_json
from edgewise.cli.options import duration, reads
from edgewise.errors import BadInput

if TYPE_CHECKING:
    import ssl

    from edgewise.serving import Access, Canary, Operations

# The words of edgewise.serving.LogForm, which --help should not load.
LOG_FORMS = ("human", "json", "off")
_HOST = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.]+\]")


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "serve",
        help="the cloud half of bundles",
        description="Answer requests with the server parts of bundles. Bundles of one name differ"
        " in version: the highest answers whoever names none. SIGHUP reads keys and bundles again"
        " and exchanges what has changed; SIGTERM finishes what is under way and ends.",
    )
    parser.add_argument("bundles", metavar="BUNDLE", type=Path, nargs="+")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (loopback)")
    parser.add_argument(
        "--allow-host",
        type=reads(_host),
        action="append",
        default=[],
        metavar="NAME",
        help="a name to answer to",
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (8000)")
    parser.add_argument(
        "--submissions",
        metavar="URL",
        help="store what devices submit in that database, such as sqlite:///submissions.db",
    )
    _add_versions(parser)
    _add_batching(parser)
    _add_operations(parser)
    add_json(parser)
    parser.set_defaults(execute=execute)


def _add_batching(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="of one run of a network (1)"
    )
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


def _add_versions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that answer, with 1/N of every key's budget each (1)",
    )
    parser.add_argument(
        "--canary",
        type=reads(_canary),
        action="append",
        default=[],
        metavar="NAME:VERSION=SHARE",
        help="try a version on a share of the requests that name none, such as cats:2=5%%",
    )
    parser.add_argument(
        "--keep-previous",
        type=int,
        default=1,
        metavar="N",
        help="of each name, bundles that were replaced and still answer their devices (1)",
    )


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise BadInput(
            expected="a host's name, such as edge.example",
            found=repr(text[:80]),
            remedy="leave out scheme, port and path; an address of IPv6 stands in brackets",
        )
    return text


def _canary(text: str) -> Canary:
    from edgewise.serving import read_canary

    return read_canary(text)


def _add_operations(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--api-keys", type=Path, metavar="FILE", help="let in these keys; read again on SIGHUP"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--no-metrics",
        action="store_true",
        help="nothing on /metrics (which answers this machine, and whoever has a key)",
    )
    parser.add_argument(
        "--log", choices=LOG_FORMS, default="human", help="lines on stderr (human)"
    )
    parser.add_argument(
        "--name-keys", action="store_true", help="log and metrics say which key asked"
    )
    parser.add_argument(
        "--notice",
        type=duration,
        default=0.0,
        metavar="TIME",
        help="after SIGTERM, not ready but answering (0s)",
    )
    parser.add_argument(
        "--drain", type=duration, default=10.0, metavar="TIME", help="then finish within (10s)"
    )


def execute(args: argparse.Namespace) -> int:
    """Serve until stopped."""
    from edgewise.serving import serve

    _warn(args)
    serve(
        args.bundles,
        host=args.host,
        port=args.port,
        threads=args.threads,
        access=_access(args),
        submissions=args.submissions,
        on_ready=partial(_ready, args),
    )
    return 0


def _ready(args: argparse.Namespace, url: str) -> None:
    if args.json:
        print_json({"url": url})
        return
    names = ", ".join(map(str, args.bundles))
    print(f"serving {names} at {url} (stop with Ctrl-C)", flush=True)
    _tell(args, f"next: {_next(args, url)} PHOTO")


def _access(args: argparse.Namespace) -> Access:
    from edgewise.serving import LOCAL_HOSTS, Access, Limits, host_name

    return Access(
        allowed_hosts=(*LOCAL_HOSTS, host_name(args.host), *args.allow_host),
        operations=_operations(args),
        batching=Limits(
            max_batch=args.max_batch, max_wait_s=args.max_wait, max_queue=args.max_queue
        ),
    )


def _next(args: argparse.Namespace, url: str) -> str:
    words = ["edgewise", "run", str(args.bundles[0]), "--server", url]
    known = "" if args.api_keys is None else " --api-key-file FILE"
    trusted = "" if args.tls_cert is None else f" --ca {shlex.quote(str(args.tls_cert))}"
    return shlex.join(words) + known + trusted


def _operations(args: argparse.Namespace) -> Operations:
    from edgewise.serving import LogForm, Operations, read_keys

    read_again = None if args.api_keys is None else partial(read_keys, args.api_keys)
    return Operations(
        keys=None if read_again is None else read_again(),
        read_keys_again=read_again,
        metrics=not args.no_metrics,
        log=LogForm(args.log),
        name_keys=args.name_keys,
        tls=_tls(args.tls_cert, args.tls_key),
        notice_s=args.notice,
        drain_s=args.drain,
        canaries=tuple(args.canary),
        keep_previous=args.keep_previous,
        workers=args.workers,
    )


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    from edgewise.serving import server_context

    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise BadInput(
            expected="--tls-cert and --tls-key together",
            found=f"only --tls-{'key' if cert is None else 'cert'}",
            remedy="pass both files",
        )
    return server_context(cert, key)


def _warn(args: argparse.Namespace) -> None:
    from edgewise.serving import LOCAL_HOSTS, host_name

    if host_name(args.host) in LOCAL_HOSTS or args.json:
        return
    if args.api_keys is None:
        _tell(
            args,
            f"warning: {args.host} can be reached from other machines, and whoever reaches it may"
            " ask; pass --api-keys",
        )
    elif args.tls_cert is None:
        _tell(
            args,
            f"warning: keys travel to {args.host} unencrypted; pass --tls-cert and --tls-key",
        )


def _tell(args: argparse.Namespace, text: str) -> None:
    """A note in the form of the log, so that whoever reads JSON lines finds nothing else."""
    note(json.dumps({"event": "note", "text": text}) if args.log == "json" else text)
