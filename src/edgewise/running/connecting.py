"""Open a session: the bundle, the link to its cloud half, and what is submitted over it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.bundle import Bundle, check_supported, open_bundle
from edgewise.errors import BadInput, LinkFailed
from edgewise.running.deciding.choice import Policy
from edgewise.running.equipment import Clock
from edgewise.running.linking.patience import within
from edgewise.running.options import Options
from edgewise.running.session import Session
from edgewise.running.shadowing.shadow import Shadow
from edgewise.running.submitting.outbox import Outbox
from edgewise.running.submitting.submitter import Submitter
from edgewise.running.usable import usable_routes
from edgewise.trace_log import TraceLog

if TYPE_CHECKING:
    from edgewise.running.linking.link import HttpLink

_GREETING_S = 2.0
_log = logging.getLogger("edgewise.running")


def connect(  # noqa: PLR0913 - each the choice of whoever runs the device
    bundle: Bundle | Path | str,
    url: str | None,
    *,
    options: Options | None = None,
    outbox: Outbox | None = None,
    traces: TraceLog | None = None,
    clock: Clock = time.perf_counter,
    api_key: str | None = None,
    ca_path: Path | str | None = None,
) -> Session:
    """Open the device half of a bundle, and a link to its cloud half.

    A server that cannot be reached is no error: the session starts offline and answers from the
    device. Nothing is sent when no route may use the cloud.

    Args:
        bundle: a bundle folder, or an open bundle.
        url: where ``edgewise serve`` listens; ``None`` keeps everything on the device.
        options: policy, expected link, time-out, emulated slowdown, shadow mode.
        outbox: where ``submit`` stores what must reach the server; closed with the session.
        traces: where what happened to each request is kept, without inputs and outputs; closed
            with the session.
        clock: seconds that only go forward.
        api_key: shown to the server with every request, when it asks for keys.
        ca_path: PEM; trust these certificates instead of those that the system trusts.

    Raises:
        BadInput: when the bundle is broken or from a later edgewise, the server serves another
            one, or the options leave no route.
        MissingExtra: when the bundle needs an optional part that is not installed.

    Example::

        with connect("bundle", "http://127.0.0.1:8000") as session:
            answer = session.run("photo.jpg")
            print(answer.inference_source.route, answer.outputs["logits"].argmax())
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    check_supported(opened.manifest)
    options = options or Options()
    routes = usable_routes(opened.manifest, options, online=url is not None)
    # An empty one is a mistake, such as a variable that nobody set.
    open_link = None if url is None else partial(_open_link, url, api_key=api_key, ca_path=ca_path)
    submits = partial(_submitter, outbox, open_link, bundle=opened, options=options)
    shadow = None if options.shadow is None else Shadow(opened, options, routes, open_link)
    make = partial(Session, opened, options=options, clock=clock, traces=traces, shadow=shadow)
    if open_link is None or not any(route.server_part for route in routes):
        return make(None, submitter=submits())
    link = open_link()
    try:
        offline = _greet(link, opened)
        return make(link, offline=offline, submitter=submits())
    except BaseException:
        link.close()
        raise


def _open_link(url: str, *, api_key: str | None, ca_path: Path | str | None) -> HttpLink:
    from edgewise.running.linking.link import (
        HttpLink,  # urllib3 tries a socket as soon as it is loaded
    )

    return HttpLink(url, api_key=api_key, ca_path=ca_path)


def _submitter(
    outbox: Outbox | None,
    open_link: Callable[[], HttpLink] | None,
    *,
    bundle: Bundle,
    options: Options,
) -> Submitter | None:
    if outbox is None:
        return None
    stays = options.policy is Policy.ONLY_ON_DEVICE
    # Its own: a time-out here cuts none there.
    link = None if open_link is None or stays else open_link()
    return Submitter(outbox, link=link, bundle=bundle, options=options)


def _greet(link: HttpLink, bundle: Bundle) -> str:
    """Why the server did not answer; empty when it did."""
    name, digest = bundle.manifest.name, bundle.digest
    try:
        served = within(
            _GREETING_S, lambda: link.served_bundle(name, digest, timeout_s=_GREETING_S)
        )
    except TimeoutError:
        link.close()
        return f"no answer within {_GREETING_S:.2f} s"
    except LinkFailed as error:
        if error.remedy:  # nobody should wait for this to pass
            _log.warning("expected a server to talk to at %s, found: %s", link.url, error)
        return error.reason
    if served and served != bundle.digest:
        raise BadInput(
            expected=f"the bundle {bundle.digest[:12]} at {link.url}",
            found=f"the bundle {served[:12]}",
            remedy=f"download that one: edgewise fetch {link.url} -o BUNDLE; "
            f"or start: edgewise serve {bundle.path}",
        )
    return ""
