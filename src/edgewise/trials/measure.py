"""A real server, a real slow link, every route in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edgewise.bundle import Bundle, RouteKind, open_bundle
from edgewise.cost import Cost, Evidence, Forecast
from edgewise.errors import BadInput, EdgewiseError
from edgewise.profiling import summarise
from edgewise.progress import Progress
from edgewise.running import Answer, Input, Options, Session, connect, predict_s
from edgewise.serving import server_process
from edgewise.shaping import ShapedLink, shaped
from edgewise.specs import LinkSpec, Provenance
from edgewise.trace import SpanKind

_PATIENCE_S = 300.0
_UNSHAPED = LinkSpec(
    name="unshaped",
    provenance=Provenance(source="the loopback interface", date="2026-11-21"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One route on one link: what was predicted, and what came of it.

    Args:
        route: name of the route.
        kind: local, split or cloud.
        link: name of the link.
        predicted: as the bundle's coefficients say for that link.
        measured: median with the 10th and 90th percentile, preparation of the input left out.
        up_bytes: body bytes sent, mean.
        runs: counted runs.
    """

    route: str
    kind: str
    link: str
    predicted: Forecast
    measured: Forecast
    up_bytes: float
    runs: int

    @property
    def error(self) -> float:
        """Relative error of the prediction: above 0 when it was too high."""
        measured_s = self.measured.mid.latency_s
        return (self.predicted.mid.latency_s - measured_s) / measured_s


def measure_routes(
    bundle: Bundle | Path,
    links: Sequence[LinkSpec],
    inputs: Sequence[Input],
    *,
    slowdown: float = 1.0,
    repeats: int = 5,
    progress: Progress | None = None,
) -> tuple[Trial, ...]:
    """Run every route of a bundle on every link, one server process for all.

    The routes are run in turn, so that drift hits all alike. Before that each is run once on an
    unshaped link, and that run is dropped.

    Args:
        bundle: what to run.
        links: each becomes a proxy process of its own.
        inputs: taken in turn.
        slowdown: of the emulated device.
        repeats: counted runs of each route on each link.
        progress: told how far it is.

    Raises:
        BadInput: without links, inputs or repeats.
        EdgewiseError: when a route does not answer.
    """
    if not links or not inputs or repeats < 1:
        raise BadInput(
            expected="at least one link, one input and one counted run",
            found=f"{len(links)} links, {len(inputs)} inputs, {repeats} runs",
            remedy="pass some of each",
        )
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    trials: list[Trial] = []
    with _server_url(opened) as url:
        for link in links:
            with _warm_session(opened, url, link, inputs[0], slowdown) as session:
                trials += _try_link(session, opened, link, inputs, repeats, progress)
    return tuple(trials)


def answer_seconds(answer: Answer) -> float:
    """Seconds of an answer without preparing the input, which all routes share."""
    return answer.trace.total_s - answer.trace.seconds_of(SpanKind.PREPARE)


@contextlib.contextmanager
def linked(url: str, link: LinkSpec) -> Iterator[ShapedLink]:
    """A shaped way to a server."""
    parts = urlsplit(url)
    with shaped((parts.hostname or "127.0.0.1", parts.port or 80), link) as way:
        yield way


@contextlib.contextmanager
def _server_url(bundle: Bundle) -> Iterator[str | None]:
    """A server, when there is anything for it to do."""
    if not any(route.server_part for route in bundle.manifest.routes):
        yield None
        return
    # A raw early tensor takes longer over 3G than a server should wait for a stranger.
    patient = ("--body-timeout-s", f"{_PATIENCE_S:g}")
    with server_process(bundle.path, options=patient) as server:
        yield server.url


@contextlib.contextmanager
def _warm_session(
    bundle: Bundle, url: str | None, link: LinkSpec, value: Input, slowdown: float
) -> Iterator[Session]:
    """A session whose networks have all run once, both halves of them, on a link shaped since."""
    # A trial wants the time of the route itself, however long, and no answer from elsewhere.
    options = Options(link=link, slowdown=slowdown, timeout_s=_PATIENCE_S)
    with contextlib.ExitStack() as stack:
        way = None if url is None else stack.enter_context(linked(url, _UNSHAPED))
        address = None if way is None else way.url
        session = stack.enter_context(connect(bundle, address, options=options))
        for route in bundle.manifest.routes:
            _run(session, route.name, value)
        if way is not None:
            way.set_link(link)
        yield session


def _try_link(
    session: Session,
    bundle: Bundle,
    link: LinkSpec,
    inputs: Sequence[Input],
    repeats: int,
    progress: Progress | None,
) -> list[Trial]:
    samples: dict[str, list[Answer]] = {route.name: [] for route in bundle.manifest.routes}
    for turn in range(repeats):
        for name, answers in samples.items():
            answers.append(_run(session, name, inputs[turn % len(inputs)]))
        if progress is not None:
            progress(f"running {len(samples)} routes on {link.name}", turn + 1, repeats)
    return [_summarise(bundle, link, name, answers) for name, answers in samples.items()]


def _run(session: Session, route: str, value: Input) -> Answer:
    answer = session.run(value, route=route)
    if answer.inference_source.route != route:
        raise EdgewiseError(f"the route {route} did not answer: {answer.inference_source.reason}")
    return answer


def _summarise(bundle: Bundle, link: LinkSpec, name: str, answers: Sequence[Answer]) -> Trial:
    route = bundle.manifest.route(name)
    seconds = predict_s(route, None if route.kind is RouteKind.LOCAL else link)
    timing = summarise([answer_seconds(answer) for answer in answers])
    return Trial(
        route=name,
        kind=route.kind.value,
        link=link.name,
        predicted=Forecast.exactly(Cost(latency_s=seconds), Evidence.PREDICTED),
        measured=timing.forecast(Evidence.MEASURED),
        up_bytes=sum(answer.trace.up_bytes for answer in answers) / len(answers),
        runs=len(answers),
    )
