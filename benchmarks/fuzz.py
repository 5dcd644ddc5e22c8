"""Does any damaged bundle or frame crash us, or make us allocate more than it holds?

Run: python benchmarks/fuzz.py [--mutants 10000] [--seed 0] [--json FILE] [--md FILE]

Every mutant must be read as a sound value or refused with `BadInput`; nothing else may be raised.
Bundles are the one of `vectors/bundle/`, frames those of `vectors/wire/`.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import hashlib
import json
import platform
import random
import shutil
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edgewise import wire
from edgewise.bounds import Bound
from edgewise.bundle import MANIFEST, Bundle, open_bundle
from edgewise.bundle.folder import MAX_MANIFEST_BYTES
from edgewise.errors import BadInput
from edgewise.records import read_record, write_record
from edgewise.tensors import NUMPY_DTYPES
from support.fuzz_damage import (
    Files,
    damage,
    damage_json,
    damage_kind,
    damage_manifest_bytes,
    damage_manifest_json,
    damage_part,
    damage_part_knowingly,
)

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
MAX_REFUSAL = 20_000
# Parsed JSON takes many times its text; the worst known is 37 times, for [{"":{}},{"":{}},...].
JSON_FACTOR = 40
GOAL_BYTES = 256 * 1024  # beside the parsed JSON and the largest part: small change


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One mutant: what it is, how to read it, its JSON text and what else it may make us hold."""

    kind: str
    read: Callable[[], Any]
    is_sound: Callable[[Any], bool] = bool
    json_bytes: int = 0
    declared_bytes: int = 0


# --- bundles ----------------------------------------------------------------------------------


def sound_bundle() -> Files:
    return {path.name: path.read_bytes() for path in (VECTORS / "bundle" / "complete").iterdir()}


def lay_out(folder: Path, files: Files) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    for name, raw in files.items():
        (folder / name).write_bytes(raw)


def read_bundle(folder: Path) -> Bundle:
    bundle = open_bundle(folder)
    for part in bundle.manifest.parts:
        bundle.read_part(part.name)
    return bundle


def is_sound_bundle(bundle: Bundle) -> bool:
    digests = [(bundle.digest, MANIFEST)]
    digests += [(part.sha256, part.path) for part in bundle.manifest.parts]
    found = [hashlib.sha256((bundle.path / name).read_bytes()).hexdigest() for _, name in digests]
    again = read_record(type(bundle.manifest), write_record(bundle.manifest), where="again")
    return found == [digest for digest, _ in digests] and again == bundle.manifest


def size_of(path: Path) -> int:
    """Bytes of a regular file that may be read at all, else 0."""
    size = path.stat().st_size if path.is_file() and not path.is_symlink() else 0
    return size if size < MAX_MANIFEST_BYTES else 0


BUNDLE_DAMAGE: dict[str, Callable[[random.Random, Files], None]] = {
    "bundles: bytes of the manifest": damage_manifest_bytes,
    "bundles: JSON of the manifest": damage_manifest_json,
    "bundles: bytes of a part": damage_part,
    "bundles: a part, listed truthfully": damage_part_knowingly,
    "bundles: links, pipes, folders, giants": lambda rng, files: None,
}


def bundle_trials(rng: random.Random, count: int, folder: Path) -> Iterator[Trial]:
    files = sound_bundle()
    shares = (0.3, 0.4, 0.15, 0.1, 0.05)
    kinds = rng.choices(list(BUNDLE_DAMAGE), shares, k=count)
    for kind in kinds:
        mutant = dict(files)
        BUNDLE_DAMAGE[kind](rng, mutant)
        lay_out(folder, mutant)
        if kind.endswith("giants"):
            damage_kind(rng, folder)
        sizes = {path.name: size_of(path) for path in folder.iterdir()}
        yield Trial(
            kind=kind,
            read=lambda: read_bundle(folder),
            is_sound=is_sound_bundle,
            json_bytes=sizes.get(MANIFEST, 0),
            declared_bytes=max(sizes.values()),
        )


# --- frames -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SoundFrame:
    """A frame of the vectors, and what it must hold."""

    is_request: bool
    body: bytes
    header_bytes: int
    bounds: tuple[Bound, ...]

    @property
    def header(self) -> Any:
        return json.loads(self.body[: self.header_bytes])

    @property
    def tensors(self) -> bytes:
        return self.body[self.header_bytes :]


def sound_frames() -> list[SoundFrame]:
    return [
        SoundFrame(
            is_request=case["key"] == "inputs",
            body=bytes.fromhex(case["body_hex"]),
            header_bytes=case["header_bytes"],
            bounds=tuple(read_record(Bound, b, where="vectors") for b in case["bounds"]),
        )
        for case in json.loads((VECTORS / "wire" / "frames.json").read_text())
    ]


def damage_frame_bytes(rng: random.Random, sound: SoundFrame) -> tuple[bytes, int]:
    return damage(rng, sound.body), sound.header_bytes


def damage_frame_json(rng: random.Random, sound: SoundFrame) -> tuple[bytes, int]:
    head = damage_json(rng, sound.header)
    return head + sound.tensors, len(head)


def damage_frame_sizes(rng: random.Random, sound: SoundFrame) -> tuple[bytes, int]:
    """Huge shapes, each declared with its true size, over the same few bytes."""
    header = sound.header
    for entry in header["inputs" if sound.is_request else "outputs"]:
        sizes = (1, 2, 3, 1000, 2**16, 2**31 - 1)
        entry["shape"] = rng.choices(sizes, k=rng.choice((0, 1, 2, 4, 16)))
        kind = NUMPY_DTYPES[entry["datatype"]]
        size = int(np.prod(entry["shape"], dtype=object)) * np.dtype(kind).itemsize
        entry["parameters"] = {"binary_data_size": rng.choice((size, size, size % 2**32))}
    head = json.dumps(header).encode()
    return head + sound.tensors, len(head)


def damage_frame_length(rng: random.Random, sound: SoundFrame) -> tuple[bytes, int]:
    """A header length that lies."""
    lies = (0, -1, 1, len(sound.body), len(sound.body) + 1, 2**31, 2**63, 65_537)
    near = sound.header_bytes + rng.choice((-8, -1, 1, 8))
    return sound.body, rng.choice((*lies, near, rng.randrange(len(sound.body))))


def damage_frame_values(rng: random.Random, sound: SoundFrame) -> tuple[bytes, int]:
    """Any bytes as tensors: sound, but for truth values that are neither 0 nor 1."""
    head = sound.body[: sound.header_bytes]
    return head + rng.randbytes(len(sound.tensors)), sound.header_bytes


FRAME_DAMAGE: dict[str, Callable[[random.Random, SoundFrame], tuple[bytes, int]]] = {
    "frames: bytes": damage_frame_bytes,
    "frames: JSON of the header": damage_frame_json,
    "frames: huge shapes, truthfully": damage_frame_sizes,
    "frames: a header length that lies": damage_frame_length,
    "frames: bytes of the tensors": damage_frame_values,
}


def read_frame(sound: SoundFrame, frame: wire.Frame) -> wire.Message:
    decode = wire.decode_request if sound.is_request else wire.decode_reply
    return decode(frame, sound.bounds)


def is_sound_message(sound: SoundFrame, frame: wire.Frame, message: wire.Message) -> bool:
    arrays = message.tensors
    body = np.frombuffer(frame.body, np.uint8)
    size = sum(array.nbytes for array in arrays.values())
    views = all(np.shares_memory(array, body) for array in arrays.values())
    fits = all(arrays[bound.name].dtype.name == bound.dtype for bound in sound.bounds)
    return views and fits and size + frame.header_bytes == len(frame.body)


def frame_trials(rng: random.Random, count: int) -> Iterator[Trial]:
    frames = sound_frames()
    for kind in rng.choices(list(FRAME_DAMAGE), (0.3, 0.4, 0.1, 0.1, 0.1), k=count):
        sound = rng.choice(frames)
        body, header_bytes = FRAME_DAMAGE[kind](rng, sound)
        frame = wire.Frame(body=body, header_bytes=header_bytes)
        head = header_bytes if 0 < header_bytes <= min(len(body), wire.MAX_HEADER_BYTES) else 0
        yield Trial(
            kind=kind,
            read=partial(read_frame, sound, frame),
            is_sound=partial(is_sound_message, sound, frame),
            json_bytes=head,
        )


# --- judging ----------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True, kw_only=True)
class Row:
    """What became of all mutants of one kind."""

    kind: str
    mutants: int = 0
    accepted: int = 0
    refused: int = 0
    other: int = 0
    peak_bytes: int = 0
    beyond_bytes: int = 0
    seconds: float = 0.0


def judge(trials: Iterator[Trial], complaints: Counter[str]) -> list[Row]:
    """Read every mutant under a count of its allocations."""
    rows: dict[str, Row] = {}
    tracemalloc.start()
    for trial in trials:
        row = rows.setdefault(trial.kind, Row(kind=trial.kind))
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        start_s = time.perf_counter()
        value, complaint = try_one(trial)
        row.seconds += time.perf_counter() - start_s
        peak = tracemalloc.get_traced_memory()[1] - before - trial.declared_bytes
        row.peak_bytes = max(row.peak_bytes, peak)
        row.beyond_bytes = max(row.beyond_bytes, peak - JSON_FACTOR * trial.json_bytes)
        if value is not None and not trial.is_sound(value):
            complaint = "accepted, and not sound"
        if complaint:
            complaints[f"{trial.kind}: {complaint}"] += 1
        outcome = "other" if complaint else "refused" if value is None else "accepted"
        row.mutants += 1
        setattr(row, outcome, getattr(row, outcome) + 1)
    tracemalloc.stop()
    return sorted(rows.values(), key=lambda row: row.kind)


def try_one(trial: Trial) -> tuple[Any, str]:
    """What was read, or nothing; and what is wrong with that, or nothing."""
    try:
        return trial.read(), ""
    except BadInput as refusal:
        length = len(str(refusal))
        return None, f"a refusal of {length} characters" if length > MAX_REFUSAL else ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"[:200]


def fuzz(mutants: int, seed: int) -> tuple[list[Row], Counter[str]]:
    """So many mutants of bundles, and as many of frames."""
    complaints: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        trials = bundle_trials(random.Random(seed), mutants, Path(folder) / "b")
        rows = judge(trials, complaints)
    rows += judge(frame_trials(random.Random(seed + 1), mutants), complaints)
    return rows, complaints


# --- reporting --------------------------------------------------------------------------------


def machine() -> dict[str, str]:
    cpu = platform.processor()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), cpu)
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "cpu": cpu,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "edgewise": version("edgewise"),
    }


def markdown(rows: list[Row], about: dict[str, str], seed: int) -> str:
    other = sum(row.other for row in rows)
    beyond = max(row.beyond_bytes for row in rows)
    lines = [
        "# Damaged bundles and frames",
        "",
        "Written by `benchmarks/fuzz.py`: "
        + ", ".join(f"{key} {value}" for key, value in about.items())
        + f", seed {seed}.",
        "",
        "Each mutant is read as the device half and the server read it. It must give a sound "
        "value (digests right, tensors of the bounds' types that are views into the body) or be "
        "refused with `BadInput`.",
        "",
        "Allocation is the peak of `tracemalloc` during reading, less what was handed in: for a "
        "frame nothing, as its body is there already; for a bundle its largest file. Parsed JSON "
        'takes 4 to 37 times its text, the most for text like `[{"":{}},{"":{}},…]`, of which '
        f"some mutants hold up to 200 kB; the goal therefore allows {JSON_FACTOR} times the JSON "
        f"and {GOAL_BYTES // 1024} KiB. The readers limit that JSON: 64 KiB for the header of a "
        "frame, 4 MB for a manifest. A declared size alone never makes them allocate.",
        "",
        f"Goal: 0 other exceptions. Measured: {other} ({verdict(other == 0)}).",
        "",
        f"Goal: at most {GOAL_BYTES:,} B beyond {JSON_FACTOR} times the JSON. "
        f"Measured: {beyond:,} B ({verdict(beyond <= GOAL_BYTES)}).",
        "",
        "| mutants of | mutants | accepted | refused | other exceptions (goal 0) "
        "| largest allocation beside what was handed in "
        f"| beyond {JSON_FACTOR} times the JSON (goal ≤ {GOAL_BYTES // 1000} kB) | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.kind} | {row.mutants} | {row.accepted} | {row.refused} | {row.other} "
        f"| {row.peak_bytes // 1000} kB | {row.beyond_bytes // 1000} kB | {row.seconds:.1f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def verdict(met: bool) -> str:
    return "met" if met else "**not met**"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=10_000, help="of bundles, and of frames")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--md", type=Path)
    args = parser.parse_args()
    rows, complaints = fuzz(args.mutants, args.seed)
    text = markdown(rows, machine(), args.seed)
    print(text)
    for complaint, count in complaints.most_common(20):
        print(f"{count} x {complaint}", file=sys.stderr)
    if args.md:
        args.md.write_text(text, encoding="utf-8")
    if args.json:
        record = {**machine(), "seed": args.seed, "rows": list(map(dataclasses.asdict, rows))}
        args.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    met = not complaints and all(row.beyond_bytes <= GOAL_BYTES for row in rows)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
