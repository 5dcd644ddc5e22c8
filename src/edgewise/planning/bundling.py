"""Write the chosen routes of one or several plans as a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgewise.bounds import Bound
from edgewise.bundle import (
    SCHEMA,
    Bundle,
    Fallback,
    FallbackKind,
    GivenAway,
    Manifest,
    Part,
    PayloadCodec,
    Route,
    RouteKind,
    Side,
    describe_part,
    describe_probe,
    write_bundle,
)
from edgewise.errors import BadInput
from edgewise.graphs import LABELS_KEY, PREPARATION_KEY, Model, read_labels, to_bytes
from edgewise.planning.candidates import FULL, PIXEL_CODECS, Candidate, Samples
from edgewise.planning.measuring import Cutter
from edgewise.planning.probing import build_probe, probe_input
from edgewise.planning.study import Plan
from edgewise.planning.traffic import served_name
from edgewise.preparation import (
    TOKENIZER_KEY,
    PixelCodec,
    max_encoded_bytes,
    read_image_preparation,
)
from edgewise.tensors import TensorSpec

MAX_PLANNED_ROUTES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A part with its bytes."""

    part: Part
    raw: bytes
    weights: tuple[int, int]


def routes_of(plans: Sequence[Plan]) -> tuple[Candidate, ...]:
    """The chosen candidate of each plan, and one that answers when the cloud does not.

    The last is the fallback of the plan that asks for the highest agreement.

    Args:
        plans: of one study, the most important first; of more than four chosen candidates the
            later ones are left out.
    """
    if not plans:
        raise BadInput(expected="at least one plan", found="none", remedy="plan for a link")
    fallback = max(plans, key=lambda plan: plan.limits.min_agreement).fallback
    unique: dict[str, Candidate] = {}
    for candidate in (*(plan.chosen for plan in plans), fallback):
        unique.setdefault(candidate.sketch.name, candidate)
    others = [name for name in unique if name != fallback.sketch.name]
    kept = {fallback.sketch.name, *others[: MAX_PLANNED_ROUTES - 1]}
    return tuple(candidate for name, candidate in unique.items() if name in kept)


def left_out(plans: Sequence[Plan]) -> tuple[str, ...]:
    """Names of the routes that some plan chose and :func:`routes_of` has no room for."""
    kept = {candidate.sketch.name for candidate in routes_of(plans)}
    chosen = dict.fromkeys(plan.chosen.sketch.name for plan in plans)
    return tuple(name for name in chosen if name not in kept)


def build_bundle(
    folder: Path | str,
    candidates: Sequence[Candidate],
    variants: Mapping[str, Model],
    samples: Samples,
    *,
    version: int = 1,
) -> Bundle:
    """Write a bundle that can take the routes of these candidates, with a probe of its parts.

    Args:
        folder: where; an older bundle there is replaced.
        candidates: the first is tried first; a local one becomes the fallback.
        variants: networks by name; ``full`` is the original.
        samples: INT8 ranges come from its calibration part.
        version: tells it apart from others of its name.

    Raises:
        BadInput: when the folder cannot be written.
    """
    full = variants[FULL]
    fallback = _fallback(candidates)
    pieces: dict[str, _Piece] = {}
    cutter = Cutter(variants, samples.calibrate)
    routes = tuple(_build_route(c, variants, cutter, pieces) for c in candidates)
    if fallback.part is not None:
        _add(pieces, fallback.part, variants[fallback.part], Side.DEVICE)
    preparation, tokenizer = _preparation(full), full.metadata.get(TOKENIZER_KEY)
    manifest = Manifest(
        schema=SCHEMA,
        name=served_name(full),
        version=version,
        model_digest=full.origin,
        inputs=full.inputs,
        outputs=_batch_of_one(full.outputs),
        parts=tuple(piece.part for piece in pieces.values()),
        routes=routes,
        fallback=fallback,
        needs=_needs(preparation, tokenizer),
        labels=read_labels(full.metadata[LABELS_KEY]) if LABELS_KEY in full.metadata else (),
        preparation=preparation,
        tokenizer=tokenizer,
        given_away=_given_away(pieces.values(), full),
    )
    raws = {name: piece.raw for name, piece in pieces.items()}
    return _write_proven(folder, manifest, raws, full)


def _write_proven(
    folder: Path | str, manifest: Manifest, raws: Mapping[str, bytes], full: Model
) -> Bundle:
    """The bundle on disk, with a probe if its parts give finite numbers on one."""
    built = build_probe(manifest, raws, probe_input(full))
    if built is None:
        return write_bundle(folder, manifest, raws)
    probe, tolerance = built
    proven = replace(manifest, probe=describe_probe(probe, tolerance=tolerance))
    return write_bundle(folder, proven, raws, probe=probe)


def _fallback(candidates: Iterable[Candidate]) -> Fallback:
    """The local route that decides most like the full network, and of equals the fastest."""
    local = [c for c in candidates if c.sketch.kind is RouteKind.LOCAL]
    best = max(local, key=_faithful_then_fast, default=None)
    if best is None:
        return Fallback(kind=FallbackKind.NONE)
    variant = best.sketch.variant
    kind = FallbackKind.FULL if variant == FULL else FallbackKind.SMALL
    return Fallback(kind=kind, part=variant)


def _faithful_then_fast(candidate: Candidate) -> tuple[float, float]:
    quality = candidate.route.quality
    return (0.0 if quality is None else quality.value, -candidate.total_s)


def _build_route(
    candidate: Candidate,
    variants: Mapping[str, Model],
    cutter: Cutter,
    pieces: dict[str, _Piece],
) -> Route:
    sketch, route = candidate.sketch, candidate.route
    if sketch.kind is RouteKind.LOCAL:
        _add(pieces, sketch.variant, variants[sketch.variant], Side.DEVICE)
        return replace(route, device_part=sketch.variant)
    if sketch.kind is RouteKind.CLOUD:
        _add(pieces, FULL, variants[FULL], Side.SERVER)
        return replace(
            route, server_part=FULL, boundary=_input_bounds(variants[FULL], sketch.codec)
        )
    assert sketch.cut is not None
    halves = cutter.cut(sketch.variant, sketch.cut, sketch.codec)
    head, tail = f"{sketch.name}-head", f"{sketch.name}-tail"
    _add(pieces, head, halves.head, Side.DEVICE)
    _add(pieces, tail, halves.tail, Side.SERVER)
    boundary = tuple(Bound.exactly(spec) for spec in halves.boundary)
    return replace(route, device_part=head, server_part=tail, boundary=boundary)


def _add(pieces: dict[str, _Piece], name: str, model: Model, side: Side) -> None:
    known = pieces.get(name)
    if known is not None:
        wanted = side if known.part.side is side else Side.BOTH
        pieces[name] = replace(known, part=replace(known.part, side=wanted))
        return
    raw = to_bytes(model)
    part = describe_part(name, raw, side=side, inputs=model.inputs, outputs=model.outputs)
    weights = (len(model.ir.graph.initializers), model.weight_bytes)
    pieces[name] = _Piece(part=part, raw=raw, weights=weights)


def _input_bounds(model: Model, codec: PayloadCodec) -> tuple[Bound, ...]:
    if codec not in PIXEL_CODECS:
        return tuple(Bound.exactly(spec) for spec in model.inputs)
    preparation = read_image_preparation(model.metadata[PREPARATION_KEY])
    most = max_encoded_bytes(preparation, PixelCodec(codec.value))
    name = preparation.input
    return (Bound(name=name, dtype="uint8", shape=("bytes",), min_bytes=1, max_bytes=most),)


def _batch_of_one(specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, shape=spec.concrete()) for spec in specs)


def _given_away(pieces: Iterable[_Piece], full: Model) -> tuple[GivenAway, ...]:
    return tuple(
        GivenAway(
            part=piece.part.name,
            tensors=piece.weights[0],
            bytes=piece.weights[1],
            share=min(1.0, piece.weights[1] / max(1, full.weight_bytes)),
        )
        for piece in pieces
        if piece.part.side is not Side.SERVER
    )


def _needs(preparation: Mapping[str, Any] | None, tokenizer: str | None) -> tuple[str, ...]:
    kind = (preparation or {}).get("kind")
    return (kind,) if kind == "image" or (kind == "text" and tokenizer is not None) else ()


def _preparation(model: Model) -> Any:
    text = model.metadata.get(PREPARATION_KEY)
    return None if text is None else json.loads(text)  # loading has checked its form
