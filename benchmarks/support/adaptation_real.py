"""One recorded trace for real: a server process, a shaped link and a session, in real time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from edgewise.catalog import load_link
from edgewise.preparation import Pixels
from edgewise.running import Answer, Options, Session, connect
from edgewise.running.usable import fallback_route
from edgewise.serving import server_process
from edgewise.shaping import shaped
from edgewise.specs import LinkSpec, Provenance
from edgewise.trace import SpanKind
from edgewise.trials import answer_seconds
from support.adaptation_bundles import Equipped
from support.adaptation_session import Answered
from support.adaptation_world import World


def run_for_real(
    equipped: Equipped, world: World, trace: Path, photos: Sequence[Pixels], *, deadline_s: float
) -> list[Answered]:
    """Ask as often as the simulation does, over a proxy process that plays the trace.

    A photo's tensor is not part of any route: that time is neither counted nor taken from the
    deadline.
    """
    link = LinkSpec(
        name=world.name,
        rtt_s=world.rtt_s,
        provenance=Provenance(source="user-supplied", date="2026-11-22"),
    )
    options = Options(link=load_link("lte"), slowdown=equipped.device.slowdown, refuse_late=False)
    with server_process(equipped.bundle.path) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with (
            shaped((host, int(port)), link, trace=trace) as way,
            connect(equipped.bundle, way.url, options=options) as session,
        ):
            prepare_s = _prepare_s(session, equipped, photos[0])
            way.set_link(link, trace=trace)  # from its beginning
            return _ask(session, equipped, world, photos, deadline_s + prepare_s, prepare_s)


def _prepare_s(session: Session, equipped: Equipped, photo: Pixels) -> float:
    alone = fallback_route(equipped.bundle.manifest)
    assert alone is not None, "these bundles have one"
    answers = [session.run(photo, route=alone.name) for _ in range(3)]
    return max(answer.trace.seconds_of(SpanKind.PREPARE) for answer in answers)


def _ask(
    session: Session,
    equipped: Equipped,
    world: World,
    photos: Sequence[Pixels],
    deadline_s: float,
    prepare_s: float,
) -> list[Answered]:
    begun_s, answered = time.perf_counter(), []
    for number, asked_s in enumerate(world.arrivals_s()):
        time.sleep(max(0.0, begun_s + asked_s - prepare_s - time.perf_counter()))
        answer = session.run(photos[number % len(photos)], deadline_s=deadline_s)
        answered.append(_answered(answer, equipped, asked_s))
    return answered


def _answered(answer: Answer, equipped: Equipped, asked_s: float) -> Answered:
    name = answer.inference_source.route
    return Answered(
        asked_s=asked_s,
        took_s=answer_seconds(answer),
        tried=name,
        route=equipped.bundle.manifest.route(name),
    )
