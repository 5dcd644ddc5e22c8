"""``edgewise demo``: a real network, a slow phone, slow links, and the link cut half-way."""

from __future__ import annotations

import argparse
import datetime
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.catalog import load_cloud, load_device, load_link
from edgewise.cli.console import Commands, add_json, console, note, print_json, progress_bar
from edgewise.cli.doctor import examine
from edgewise.cli.models import open_model, pictures_of, require_studio
from edgewise.cli.options import check_bundle_folder, reads
from edgewise.cli.plan import describe_variant, int8_variant, note_left_out, trimmed
from edgewise.errors import BadInput
from edgewise.units import format_bytes

if TYPE_CHECKING:
    from edgewise.bundle import Bundle
    from edgewise.graphs import Model
    from edgewise.planning import Plan, Samples
    from edgewise.preparation import Pixels
    from edgewise.reporting import PageAnswer
    from edgewise.running import Answer, Session

_MODEL = "efficientnet-lite0"
_DEVICE = "slow-phone"
_LINKS = ("3g", "lte", "wifi")
_CUT_LINK = "wifi"
_CUT_PHOTOS = 2
# The demo has to end within three minutes on a small machine.
_MOST_PHOTOS = 12


def add_command(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("demo", help="see it work: start here")
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR")
    parser.add_argument("--photos", type=_photo_count, default=4, help="per link and limit (4)")
    add_json(parser)
    parser.set_defaults(execute=execute)


@reads
def _photo_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_PHOTOS:
        raise BadInput(
            expected=f"a number of photos from 1 to {_MOST_PHOTOS}",
            found=repr(text[:20]),
            remedy="try 4",
        )
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Photo:
    """A photo that nothing was tuned on, and what the full network says of it."""

    name: str
    pixels: Pixels
    label: str


@dataclass(slots=True, kw_only=True)
class _Show:
    """What the demo has to show so far."""

    bundle: Bundle
    plans: tuple[Plan, ...]
    photos: tuple[_Photo, ...]
    answers: list[PageAnswer] = field(default_factory=list)


def execute(args: argparse.Namespace) -> int:
    """Plan, serve, run, cut the link, and write one page about it."""
    require_studio()
    check_bundle_folder(args.output / "bundle")
    model = open_model(_MODEL)
    samples, photos = _read_photos(model)
    weights = format_bytes(model.weight_bytes)
    note(f"{_MODEL}: {weights} of weights; {len(photos)} photos to answer")
    model = trimmed(model, samples)
    variant = int8_variant(model, samples, min_agreement=0.95)
    verdict = describe_variant(variant)
    note(verdict)
    variants = {"full": model}
    if variant.rejected is None:
        variants["int8"] = variant.model
    show = _plan(args.output / "bundle", variants, samples, photos)
    _say_plans(show, quiet=args.json)
    _run(show, args.photos)
    page = args.output / "index.html"
    _write(show, page, verdict)
    _say_answers(show, page, as_json=args.json)
    return 0


def _read_photos(model: Model) -> tuple[Samples, tuple[_Photo, ...]]:
    from edgewise.engines import open_engine
    from edgewise.examples import demo_photos, load_examples
    from edgewise.graphs import LABELS_KEY, read_labels, to_bytes
    from edgewise.planning import take_samples

    examples = load_examples(demo_photos()[0].parent, pictures_of(model))
    split = examples.split(calibrate=0.27, select=0.33)
    labels = read_labels(model.metadata[LABELS_KEY])
    photos = []
    with open_engine(to_bytes(model)) as engine:
        for index, name in enumerate(split.report.names):
            decision = int(next(iter(engine.run(split.report.feeds(index)).values())).argmax())
            pixels = split.report.pixels(index)
            assert pixels is not None
            photos.append(_Photo(name=name, pixels=pixels, label=labels[decision]))
    return take_samples(split), tuple(photos)


def _plan(
    folder: Path, variants: dict[str, Model], samples: Samples, photos: tuple[_Photo, ...]
) -> _Show:
    from edgewise.planning import Limits, Target, begin_study, build_bundle, left_out, routes_of

    device, cloud = load_device(_DEVICE), load_cloud("this-machine")
    preparation = pictures_of(variants["full"])
    with progress_bar() as progress:
        study = begin_study(variants, samples, preparation=preparation, progress=progress)
        plans = study.plans(
            [
                (
                    Target(device=device, link=load_link(link), cloud=cloud),
                    Limits(raw_input_stays=stays),
                )
                for stays in (False, True)
                for link in _LINKS
            ]
        )
    bundle = build_bundle(folder, routes_of(plans), variants, samples)
    note_left_out(left_out(plans))
    return _Show(bundle=bundle, plans=plans, photos=photos)


def _say_plans(show: _Show, *, quiet: bool) -> None:
    from edgewise.reporting import plans_table, terminal_table

    if not quiet:
        console().print(terminal_table(plans_table(show.plans)))
    names = ", ".join(route.name for route in show.bundle.manifest.routes)
    note(f"bundle {show.bundle.digest[:12]} with the routes {names}")


def _run(show: _Show, count: int) -> None:
    from edgewise.serving import server_process

    with server_process(show.bundle.path) as server, progress_bar() as progress:
        note(f"the cloud half runs in process {server.pid} at {server.url}")
        for place, plan in enumerate(show.plans):
            progress("answering photos, link by link", place, len(show.plans))
            _run_link(show, plan, server.url, count)


def _run_link(show: _Show, plan: Plan, url: str, count: int) -> None:
    from edgewise.running import Options, connect
    from edgewise.trials import linked

    link = plan.target.link
    options = Options(
        link=link,
        slowdown=plan.target.device.slowdown,
        raw_input_stays=plan.limits.raw_input_stays,
    )
    with (
        linked(url, link) as way,
        connect(show.bundle, way.url, options=options) as session,
    ):
        session.run(show.photos[0].pixels)  # the first run of a network loads its memory
        for photo in _cycle(show.photos, count):
            show.answers.append(_ask(show, session, photo, plan))
        if link.name == _CUT_LINK:
            note(f"{show.answers[-1].leg}: cutting the link")
            way.set_outage(True)
            for photo in _cycle(show.photos[count:] or show.photos, _CUT_PHOTOS):
                show.answers.append(_ask(show, session, photo, plan, cut=True))
            way.set_outage(False)


def _cycle(photos: Sequence[_Photo], count: int) -> Iterator[_Photo]:
    return (photos[index % len(photos)] for index in range(count))


def _ask(
    show: _Show, session: Session, photo: _Photo, plan: Plan, *, cut: bool = False
) -> PageAnswer:
    from edgewise.cli.answers import top_words
    from edgewise.reporting import PageAnswer
    from edgewise.running import predict_s

    answer: Answer = session.run(photo.pixels)
    route = show.bundle.manifest.route(answer.inference_source.route)
    return PageAnswer(
        plan=plan,
        link_cut=cut,
        name=photo.name,
        thumbnail=_thumbnail(photo.pixels),
        label=top_words(answer, show.bundle),
        expected=photo.label,
        predicted_s=None if cut else predict_s(route, plan.target.link),
        answer=answer,
    )


def _thumbnail(pixels: Pixels) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).resize((96, 96)).save(file, "JPEG", quality=80)
    return file.getvalue()


def _write(show: _Show, page: Path, verdict: str) -> None:
    from edgewise.reporting import DemoPage, write_demo

    cpu = examine()["cpu"]["name"]
    device = show.plans[0].target.device
    write_demo(
        DemoPage(
            model=_MODEL,
            machine=f"{cpu}, {datetime.date.today().isoformat()}",
            device=f"{device.name} is emulated: every run of a network, and every photo encoded "
            f"on it, is stretched to {device.slowdown:g} times its time on this machine.",
            variant=verdict,
            plans=show.plans,
            answers=show.answers,
        ),
        page,
    )


def _say_answers(show: _Show, page: Path, *, as_json: bool) -> None:
    from edgewise.reporting import answers_summary, demo_json, demo_table, terminal_table

    if as_json:
        print_json(demo_json(show.plans, show.answers, page))
    else:
        console().print(terminal_table(demo_table(show.answers)))
        print(answers_summary(show.answers))
        print(f"the whole story, with the photos: {page}")
    note(f"next: edgewise serve {show.bundle.path}")
