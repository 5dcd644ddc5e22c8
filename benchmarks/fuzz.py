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
import os
import platform
import random
import shutil
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edgewise import wire
from edgewise.bundle import MANIFEST, open_bundle
from edgewise.errors import BadInput
from edgewise.records import read_record, write_record
from edgewise.tensors import NUMPY_DTYPES
from fuzz_damage import damage, damage_json

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
# Beside the bytes handed in: parsed JSON, of at most 64 kB here, and Python's own small change.
GOAL_BYTES = 2 * 2**20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One mutant: what it is, how to read it, and the bytes that reading it may hold."""

    kind: str
    read: Callable[[], bool]
    declared_bytes: int = 0


# --- bundles ----------------------------------------------------------------------------------

Files = dict[str, bytes]


def sound_bundle() -> Files:
    return {path.name: path.read_bytes() for path in (VECTORS / "bundle" / "complete").iterdir()}


def damage_manifest_bytes(rng: random.Random, files: Files) -> None:
    files[MANIFEST] = damage(rng, files[MANIFEST])


def damage_manifest_json(rng: random.Random, files: Files) -> None:
    files[MANIFEST] = damage_json(rng, json.loads(files[MANIFEST]))


def damage_part(rng: random.Random, files: Files) -> None:
    name = rng.choice(sorted(files.keys() - {MANIFEST}))
    if rng.random() < 0.2:
        del files[name]
    else:
        files[name] = damage(rng, files[name])


def damage_part_knowingly(rng: random.Random, files: Files) -> None:
    """Another part under a manifest that lists it truthfully."""
    manifest = json.loads(files[MANIFEST])
    part = rng.choice(manifest["parts"])
    raw = damage(rng, files[part["path"]]) or b"x"
    files[part["path"]] = raw
    part["bytes"], part["sha256"] = len(raw), hashlib.sha256(raw).hexdigest()
    files[MANIFEST] = json.dumps(manifest).encode()


def damage_kind(rng: random.Random, folder: Path) -> None:
    """A file of the bundle becomes a link, a pipe, a folder, or a sparse giant."""
    path = folder / rng.choice(sorted(entry.name for entry in folder.iterdir()))
    kind = rng.choice(("link", "loop", "pipe", "folder", "giant"))
    if kind == "giant":
        os.truncate(path, rng.choice((10**7, 2**32)))
        return
    path.unlink()
    if kind == "link":
        path.symlink_to(rng.choice(("/etc/passwd", "/dev/zero", "../..", "head.onnx")))
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


def lay_out(folder: Path, files: Files) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    for name, raw in files.items():
        (folder / name).write_bytes(raw)


def read_bundle(folder: Path) -> bool:
    bundle = open_bundle(folder)
    sound = bundle.digest == hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    for part in bundle.manifest.parts:
        raw = bundle.read_part(part.name)
        sound = sound and hashlib.sha256(raw).hexdigest() == part.sha256
    written = write_record(bundle.manifest)
    return sound and read_record(type(bundle.manifest), written, where="again") == bundle.manifest


def largest_file(folder: Path) -> int:
    """What reading may hold: the manifest, then one part at a time as listed."""
    sizes = [path.stat().st_size for path in folder.iterdir() if path.is_file()]
    return max((size for size in sizes if size < 10**7), default=0)


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
        yield Trial(
            kind=kind, read=lambda: read_bundle(folder), declared_bytes=largest_file(folder)
        )


# --- frames -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SoundFrame:
    """A frame of the vectors, and what it must hold."""

    is_request: bool
    body: bytes
    header_bytes: int
    bounds: tuple[wire.Bound, ...]

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
            bounds=tuple(read_record(wire.Bound, b, where="vectors") for b in case["bounds"]),
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


def read_frame(sound: SoundFrame, frame: wire.Frame) -> bool:
    decode = wire.decode_request if sound.is_request else wire.decode_reply
    arrays = decode(frame, sound.bounds).tensors
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
        yield Trial(kind=kind, read=lambda s=sound, f=frame: read_frame(s, f))


# --- judging ----------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True, kw_only=True)
class Row:
    """What became of all mutants of one kind."""

    kind: str
    mutants: int = 0
    accepted: int = 0
    refused: int = 0
    other: int = 0
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
        outcome = try_one(trial, complaints)
        row.seconds += time.perf_counter() - start_s
        beyond = tracemalloc.get_traced_memory()[1] - before - trial.declared_bytes
        row.beyond_bytes = max(row.beyond_bytes, beyond)
        row.mutants += 1
        setattr(row, outcome, getattr(row, outcome) + 1)
    tracemalloc.stop()
    return sorted(rows.values(), key=lambda row: row.kind)


def try_one(trial: Trial, complaints: Counter[str]) -> str:
    try:
        if trial.read():
            return "accepted"
        complaints[f"{trial.kind}: accepted, and not sound"] += 1
    except BadInput as refusal:
        if len(str(refusal)) < 20_000:
            return "refused"
        complaints[f"{trial.kind}: a refusal of {len(str(refusal))} characters"] += 1
    except Exception as error:
        complaints[f"{trial.kind}: {type(error).__name__}: {error}"[:200]] += 1
    return "other"


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
        "refused with `BadInput`. Allocation is the peak of `tracemalloc` during reading, less "
        "what was declared: for a frame nothing, as its body is there already; for a bundle its "
        "largest file. JSON in the mutants goes up to 64 kB, and parsed JSON takes about 24 times "
        "its text at worst (`[[],[],…]`).",
        "",
        f"Goal: 0 other exceptions. Measured: {other} ({verdict(other == 0)}).",
        "",
        f"Goal: at most {GOAL_BYTES:,} B beyond what was declared. "
        f"Measured: {beyond:,} B ({verdict(beyond <= GOAL_BYTES)}).",
        "",
        "| mutants of | mutants | accepted | refused | other exceptions (goal 0) "
        f"| largest allocation beyond declared (goal ≤ {GOAL_BYTES // 1000} kB) | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.kind} | {row.mutants} | {row.accepted} | {row.refused} | {row.other} "
        f"| {row.beyond_bytes / 1000:.0f} kB | {row.seconds:.1f} |"
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
