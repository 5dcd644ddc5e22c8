"""Ways to damage bytes, JSON that stays JSON, and the files of a bundle."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgewise.bundle import MANIFEST

Files = dict[str, bytes]

# --- damage to bytes --------------------------------------------------------------------------


def flip_bits(rng: random.Random, raw: bytes) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randrange(len(raw))]


def lengthen(rng: random.Random, raw: bytes) -> bytes:
    return raw + rng.randbytes(rng.choice((1, 4, 300)))


def cut_out(rng: random.Random, raw: bytes) -> bytes:
    start = rng.randrange(len(raw))
    return raw[:start] + raw[start + rng.randint(1, 40) :]


def splice(rng: random.Random, raw: bytes) -> bytes:
    """A piece of itself somewhere else."""
    source, target = rng.randrange(len(raw)), rng.randrange(len(raw))
    return raw[:target] + raw[source : source + rng.randint(1, 200)] + raw[target:]


def overwrite(rng: random.Random, raw: bytes) -> bytes:
    start = rng.randrange(len(raw))
    piece = rng.choice((b"\x00", b"\xff\xfe", b"[" * 50, b"9" * 30, b'"', b"\\ud800", b"1e999"))
    return raw[:start] + piece + raw[start + len(piece) :]


BYTE_DAMAGE = (flip_bits, flip_bits, truncate, lengthen, cut_out, splice, overwrite)


def damage(rng: random.Random, raw: bytes) -> bytes:
    return rng.choice(BYTE_DAMAGE)(rng, raw) if raw else b"x"


# --- damage to JSON that stays JSON -----------------------------------------------------------

RAW = "@raw:"  # marks text that json.dumps would not write
HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 10**30, -(2**63)),
    *(0.5, -0.0, 1e308, "", "a", "a" * 5000, "\x00", "\x1b[31m", "\ud800", "größe"),
    *([], {}, [[]], [None], {"": 0}, {"schema": 1}, [1] * 100, ["a", 1, None]),
    *("float32", "FP64", "BYTES", "local", "split", "none", "A" * 64, "0" * 64),
    *("..", ".", "../head.onnx", "/etc/passwd", "a/b", "a\\b", "head.onnx/..", "head.onnx\x00"),
    *("BUNDLE.JSON", "bundle.json", "%2e%2e", "con", "~"),
    *(RAW + "NaN", RAW + "-Infinity", RAW + "1e999", RAW + "9" * 400, RAW + "9" * 5000),
    *(RAW + "[" * 20 + "]" * 20, RAW + "[" * 400 + "]" * 400, RAW + '{"a":1,"a":2}'),
    RAW + '{"a":' * 5000 + "1" + "}" * 5000,
    RAW + "[" + "[]," * 19_000 + "[]]",
    RAW + "[" + '{"":{}},' * 7_500 + "0]",
    RAW + "[" + "0," * 29_000 + "0]",
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value inside."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def parent_of(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


def put_hostile(rng: random.Random, parent: Any, key: Any) -> None:
    parent[key] = copy.deepcopy(rng.choice(HOSTILE))


def remove(rng: random.Random, parent: Any, key: Any) -> None:
    del parent[key]


def rename(rng: random.Random, parent: Any, key: Any) -> None:
    if isinstance(parent, dict):
        parent[rng.choice(("", "x", "__class__", "name", "bytes", str(key).upper()))] = parent.pop(
            key
        )
    else:
        parent.insert(0, parent.pop(key))


def repeat(rng: random.Random, parent: Any, key: Any) -> None:
    if isinstance(parent, list):
        parent.extend(copy.deepcopy(parent[key]) for _ in range(rng.choice((1, 3, 80))))
    else:
        parent[f"{key}_"] = copy.deepcopy(parent[key])


def wrap(rng: random.Random, parent: Any, key: Any) -> None:
    parent[key] = rng.choice((lambda v: [v], lambda v: {"value": v}, lambda v: [v, v]))(
        parent[key]
    )


def retype(rng: random.Random, parent: Any, key: Any) -> None:
    old = parent[key]
    if isinstance(old, str):
        parent[key] = list(old)[:50]
    elif isinstance(old, dict | list):
        parent[key] = str(old)[:200]
    else:
        parent[key] = rng.choice((str(old), [old], bool(old)))


def nudge(rng: random.Random, parent: Any, key: Any) -> None:
    old = parent[key]
    number = isinstance(old, int | float) and not isinstance(old, bool)
    parent[key] = old * rng.choice((-1, 2, 1000, 0.5)) + rng.choice((0, 1)) if number else None


JSON_DAMAGE = (put_hostile, put_hostile, put_hostile, remove, rename, repeat, wrap, retype, nudge)


def damage_json(rng: random.Random, value: Any) -> bytes:
    """JSON text of the value with one to three changes."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(list(places(value)) or [()])
        if path:
            rng.choice(JSON_DAMAGE)(rng, parent_of(value, path), path[-1])
    return as_text(value)


def as_text(value: Any) -> bytes:
    """JSON, with the marked pieces put in as they are."""
    pieces = json.dumps(value, separators=(",", ":")).split(f'"{RAW}')
    done = [pieces[0]]
    for piece in pieces[1:]:
        text = json.JSONDecoder().raw_decode('"' + piece)
        done += [text[0], piece[text[1] - 1 :]]
    return "".join(done).encode()


# --- damage to the files of a bundle ----------------------------------------------------------


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
