# ruff: noqa: E501 - a table reads best with one case a line
"""The golden bundle, which the TypeScript device half reads too."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.bounds import Bound
from edgewise.bundle import (
    INPUT,
    MANIFEST,
    SCHEMA,
    CodecTable,
    Coefficients,
    ExitHead,
    Fallback,
    FallbackKind,
    GivenAway,
    Leakage,
    Manifest,
    PayloadCodec,
    Quality,
    Route,
    RouteKind,
    Side,
    Signature,
    describe_part,
    describe_probe,
    encode_probe,
    open_bundle,
    read_manifest,
)
from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.records import write_record
from edgewise.tensors import Role, TensorSpec

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "bundle"
X = TensorSpec(name="x", dtype="float32", shape=("N", 4))
H = TensorSpec(name="h", dtype="float32", shape=("N", 4))
Y = TensorSpec(name="y", dtype="float32", shape=("N", 4))
PIXELS = Bound(name="pixels", dtype="uint8", shape=("bytes",), min_bytes=1, max_bytes=48)


def network(*nodes, source, result):
    def value(spec):
        return helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, list(spec.shape))

    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    graph = helper.make_graph(nodes, "demo", [value(source)], [value(result)], [two])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString(deterministic=True)


def networks():
    head, tail = (
        helper.make_node("Mul", ["x", "two"], ["h"]),
        helper.make_node("Add", ["h", "two"], ["y"]),
    )
    return {
        "head": network(head, source=X, result=H),
        "tail": network(tail, source=H, result=Y),
        "whole": network(head, tail, source=X, result=Y),
    }


def probe_of(manifest):
    x = np.array([[1, -2, 0.5, 0]], np.float32)
    y = x * 2 + 2
    tensors = {INPUT: {"x": x}, "head": {"h": x * 2}, "tail": {"y": y}, "whole": {"y": y}}
    return encode_probe(manifest, tensors)


def complete(raw):
    """A manifest in which no field is left at its default."""
    manifest = without_probe(raw)
    probe = describe_probe(probe_of(manifest), tolerance=1e-5)
    return replace(manifest, probe=probe)


def without_probe(raw):
    sides = {"head": (Side.DEVICE, X, H), "tail": (Side.SERVER, H, Y), "whole": (Side.BOTH, X, Y)}
    listed = tuple(
        describe_part(name, raw[name], side=side, inputs=(source,), outputs=(result,))
        for name, (side, source, result) in sides.items()
    )
    mask = Bound.exactly(
        TensorSpec(name="mask", dtype="bool", shape=("N", 1), role=Role.STRUCTURE)
    )
    digest = "0123456789abcdef" * 4
    return Manifest(
        schema=SCHEMA,
        name="demo",
        version=3,
        model_digest=digest,
        inputs=(X,),
        outputs=(Y,),
        parts=listed,
        routes=(
            Route(
                name="local",
                kind=RouteKind.LOCAL,
                device_part="whole",
                quality=Quality(metric="agreement", value=1.0, low=0.98, high=1.0, n=200),
                coefficients=Coefficients(device_s=0.08, device_j=0.25),
            ),
            Route(
                name="split-h",
                kind=RouteKind.SPLIT,
                cut=("h",),
                codec=PayloadCodec.FP32,
                device_part="head",
                server_part="tail",
                boundary=(Bound.exactly(H), mask),
                leakage=Leakage(attack="inversion", ssim=0.375, n=200),
                coefficients=Coefficients(
                    device_s=0.02, cloud_s=0.005, up_bytes=460, down_bytes=320, rtts=1,
                    provider_usd=1e-06,
                ),
            ),
            Route(
                name="cloud-jpeg",
                kind=RouteKind.CLOUD,
                cut=("x",),
                codec=PayloadCodec.JPEG,
                quality_level=90,
                server_part="whole",
                boundary=(PIXELS,),
                coefficients=Coefficients(cloud_s=0.01, up_bytes=420, down_bytes=320, rtts=1),
            ),
        ),
        fallback=Fallback(kind=FallbackKind.FULL, part="whole"),
        needs=("image",),
        labels=("cat", "größte Katze \N{CAT}"),
        preparation={
            "schema": 1, "kind": "image", "input": "x", "height": 2, "width": 2, "mode": "L",
            "crop_fraction": 0.875, "resample": "bicubic", "mean": [127], "scale": [128],
            "layout": "CHW",
        },
        tokenizer='{"version": "1.0"}',
        codec_tables=(CodecTable(name="t", path="t.bin", sha256=digest, bytes=3, version=1),),
        exits=(ExitHead(name="e", route="split-h", output="h", threshold=0.9),),
        signature=Signature(algorithm="ed25519", key_id="demo"),
        given_away=(GivenAway(part="whole", tensors=1, bytes=4, share=1.0),),
    )  # fmt: skip


def manifest_bytes(manifest):
    return (json.dumps(write_record(manifest), indent=1, ensure_ascii=False) + "\n").encode()


def test_the_golden_manifest_is_written_byte_for_byte(regen):
    folder = VECTORS / "complete"
    if regen:
        folder.mkdir(parents=True, exist_ok=True)
        for name, raw in networks().items():
            (folder / f"{name}.onnx").write_bytes(raw)
        (folder / "probe.bin").write_bytes(probe_of(without_probe(networks())))
        (folder / MANIFEST).write_bytes(manifest_bytes(complete(networks())))
    raw = {name: (folder / f"{name}.onnx").read_bytes() for name in networks()}
    manifest = complete(raw)
    assert (folder / MANIFEST).read_bytes() == manifest_bytes(manifest)
    assert read_manifest((folder / MANIFEST).read_bytes()) == manifest


def test_the_golden_manifest_leaves_no_field_at_its_default():
    manifest = complete(networks())
    for value in (manifest, *manifest.routes):
        assert all(name in write_record(value) for name in value.__dataclass_fields__)
    assert all(getattr(manifest, name) not in ((), None) for name in manifest.__dataclass_fields__)


@pytest.mark.engine
def test_the_golden_halves_equal_the_whole():
    bundle = open_bundle(VECTORS / "complete")
    x = np.array([[1, -2, 0.5, 0]], np.float32)
    head, tail, whole = (open_engine(bundle.read_part(name)) for name in ("head", "tail", "whole"))
    halves = tail.run(head.run({"x": x}))["y"]
    np.testing.assert_array_equal(halves, whole.run({"x": x})["y"])
    np.testing.assert_array_equal(halves, x * 2 + 2)


def change(data, path, value):
    """The JSON with one value set, or removed when the value is ``...``."""
    *parents, last = path
    place = data
    for step in parents:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return data


A = "expected different names for the"
AT = " in bundle.json, found "
ANEW = "; plan it anew"
# Every refusal of a manifest: what to set where, and the message.
REFUSED = {
    "another schema": (("schema",), 2, f"expected schema 1{AT}2; use the edgewise that wrote the bundle, or plan it anew"),
    "a schema that is true": (("schema",), True, f"expected schema 1{AT}True; use the edgewise that wrote the bundle, or plan it anew"),
    "no schema": (("schema",), ..., f"expected schema 1{AT}None; use the edgewise that wrote the bundle, or plan it anew"),
    "unknown in the manifest": (("colour",), 1, "expected only the fields schema, name, version, model_digest, "),
    "unknown in a part": (("parts", 0, "colour"), 1, "expected only the fields name, path, sha256, bytes, side, inputs, outputs at bundle.json.parts[0], found 'colour'; "),
    "unknown in a tensor": (("parts", 0, "inputs", 0, "colour"), 1, "expected only the fields name, dtype, shape, role at bundle.json.parts[0].inputs[0], found 'colour'; "),
    "unknown in a route": (("routes", 1, "colour"), 1, "expected only the fields name, kind, cut, "),
    "unknown in a bound": (("routes", 1, "boundary", 0, "colour"), 1, "expected only the fields name, dtype, shape, role, min_bytes, max_bytes at bundle.json.routes[1].boundary[0], "),
    "unknown in coefficients": (("routes", 0, "coefficients", "colour"), 1, "expected only the fields device_s, cloud_s, "),
    "unknown in a quality": (("routes", 0, "quality", "colour"), 1, "expected only the fields metric, value, low, high, n at bundle.json.routes[0].quality, "),
    "unknown in a leakage": (("routes", 1, "leakage", "colour"), 1, "expected only the fields attack, ssim, n at bundle.json.routes[1].leakage, "),
    "unknown in the fallback": (("fallback", "colour"), 1, "expected only the fields kind, part at bundle.json.fallback, "),
    "unknown in a codec table": (("codec_tables", 0, "colour"), 1, "expected only the fields name, path, sha256, bytes, version at bundle.json.codec_tables[0], "),
    "unknown in an exit": (("exits", 0, "colour"), 1, "expected only the fields name, route, output, threshold at bundle.json.exits[0], "),
    "unknown in the probe": (("probe", "colour"), 1, "expected only the fields path, sha256, bytes, tolerance at bundle.json.probe, "),
    "unknown in the signature": (("signature", "colour"), 1, "expected only the fields algorithm, key_id at bundle.json.signature, "),
    "unknown in what is given away": (("given_away", 0, "colour"), 1, "expected only the fields part, tensors, bytes, share at bundle.json.given_away[0], "),
    "version 0": (("version",), 0, f"expected a version from 1 to 2147483647{AT}0{ANEW}"),
    "a version beyond 31 bits": (("version",), 2**31, f"expected a version from 1 to 2147483647{AT}2147483648{ANEW}"),
    "a version that is true": (("version",), True, "expected a value of type int at bundle.json.version, found "),
    "a version as text": (("version",), "2", "expected a value of type int at bundle.json.version, found str "),
    "no routes": (("routes",), [], f"expected 1 to 64 routes{AT}0{ANEW}"),
    "an absolute path": (("parts", 0, "path"), "/etc/passwd", f"expected a plain file name for each part{AT}'/etc/passwd'{ANEW}"),
    "a path that climbs": (("parts", 0, "path"), "../head.onnx", f"expected a plain file name for each part{AT}'../head.onnx'{ANEW}"),
    "the parent folder": (("parts", 0, "path"), "..", f"expected a plain file name for each part{AT}'..'{ANEW}"),
    "a path with a backslash": (("parts", 0, "path"), "a\\b", f"expected a plain file name for each part{AT}'a\\\\b'{ANEW}"),
    "a path below a folder": (("parts", 0, "path"), "a/b", f"expected a plain file name for each part{AT}'a/b'{ANEW}"),
    "a path with a zero byte": (("parts", 0, "path"), "a\0b", f"expected a plain file name for each part{AT}'a\\x00b'{ANEW}"),
    "a path with a line end": (("parts", 0, "path"), "a\n", f"expected a plain file name for each part{AT}'a\\n'{ANEW}"),
    "an empty path": (("parts", 0, "path"), "", f"expected a plain file name for each part{AT}''{ANEW}"),
    "a part over the manifest": (("parts", 0, "path"), "Bundle.json", f"expected a plain file name for each part{AT}'Bundle.json'{ANEW}"),
    "a codec table that climbs": (("codec_tables", 0, "path"), "../t", f"expected a plain file name for each part{AT}'../t'{ANEW}"),
    "a probe that climbs": (("probe", "path"), "../p", f"expected a plain file name for each part{AT}'../p'{ANEW}"),
    "a part that is no network": (("parts", 0, "path"), "head.py", f"expected a file name that ends in .onnx{AT}'head.py'{ANEW}"),
    "a probe that is no data": (("probe", "path"), "probe.onnx", f"expected a file name that ends in .bin{AT}'probe.onnx'{ANEW}"),
    "a codec table that is no data": (("codec_tables", 0, "path"), "t.so", f"expected a file name that ends in .bin{AT}'t.so'{ANEW}"),
    "a tolerance of 0": (("probe", "tolerance"), 0, f"expected a probe's tolerance above 0 and below 1{AT}0.0{ANEW}"),
    "a tolerance of everything": (("probe", "tolerance"), 1, f"expected a probe's tolerance above 0 and below 1{AT}1.0{ANEW}"),
    "no digest": (("parts", 0, "sha256"), "", f"expected a SHA-256 for 'head.onnx'{AT}''{ANEW}"),
    "a digest in capitals": (("parts", 0, "sha256"), "A" * 64, f"expected a SHA-256 for 'head.onnx'{AT}'{'A' * 64}'{ANEW}"),
    "a part of no bytes": (("parts", 0, "bytes"), 0, f"expected 1 to 2147483648 bytes for 'head.onnx'{AT}0{ANEW}"),
    "a part beyond 2 GiB": (("parts", 0, "bytes"), 2**31 + 1, f"expected 1 to 2147483648 bytes for 'head.onnx'{AT}2147483649{ANEW}"),
    "two parts of one name": (("parts", 1, "name"), "head", f"{A} parts of bundle.json, found a name twice{ANEW}"),
    "two parts in one file": (("parts", 1, "path"), "HEAD.onnx", f"{A} files of bundle.json, found a name twice{ANEW}"),
    "a probe in a part's file": (("probe", "path"), "head.onnx", f"{A} files of bundle.json, found a name twice{ANEW}"),
    "two routes of one name": (("routes", 1, "name"), "local", f"{A} routes of bundle.json, found a name twice{ANEW}"),
    "a route to a missing part": (("routes", 1, "server_part"), "nose", f"expected a server part for the route 'split-h'{AT}'nose'{ANEW}"),
    "a server's part on the device": (("routes", 0, "device_part"), "tail", f"expected a device part for the route 'local'{AT}'tail'{ANEW}"),
    "a device's part on the server": (("routes", 2, "server_part"), "head", f"expected a server part for the route 'cloud-jpeg'{AT}'head'{ANEW}"),
    "a local route with a server": (("routes", 0, "server_part"), "tail", f"expected the parts of a local route in 'local'{AT}(True, True){ANEW}"),
    "a split without a head": (("routes", 1, "device_part"), None, f"expected the parts of a split route in 'split-h'{AT}(False, True){ANEW}"),
    "a cloud route without a server": (("routes", 2, "server_part"), None, f"expected the parts of a cloud route in 'cloud-jpeg'{AT}(False, False){ANEW}"),
    "an exit that has no server": (("routes", 0, "kind"), "exit", f"expected the parts of a exit route in 'local'{AT}(True, False){ANEW}"),
    "a cascade without a server": (("routes", 0, "kind"), "cascade", f"expected the parts of a cascade route in 'local'{AT}(True, False){ANEW}"),
    "a split that sends nothing": (("routes", 1, "boundary"), [], f"expected bounds for what 'split-h' sends{AT}none or too many{ANEW}"),
    "a local route that sends": (("routes", 0, "boundary"), [write_record(PIXELS)], f"expected bounds for what 'local' sends{AT}none or too many{ANEW}"),
    "one tensor sent twice": (("routes", 1, "boundary", 1, "name"), "h", f"{A} tensors of 'split-h' in bundle.json, found a name twice{ANEW}"),
    "65 tensors sent": (("routes", 1, "boundary"), [{**write_record(PIXELS), "name": str(i)} for i in range(65)], f"expected at most 64 tensors sent{AT}65{ANEW}"),
    "more than 2 GiB sent": (("routes", 2, "boundary", 0, "max_bytes"), 2**31 + 1, f"expected at most 2147483648 bytes sent{AT}2147483649{ANEW}"),
    "a bound below its tensor": (("routes", 1, "boundary", 0, "shape"), [2, 4], "expected bounds around the 32 bytes of 'h' at bundle.json.routes[1].boundary[0], found 16 and 16; write the bundle anew"),
    "a type nobody knows": (("inputs", 0, "dtype"), "string", "expected tensor 'x' of one of the types bool, "),
    "an axis of zero": (("inputs", 0, "shape", 1), 0, "expected tensor 'x' with axes of at least 1 at bundle.json.inputs[0], found axis 1 of size 0; "),
    "a quality level of 0": (("routes", 2, "quality_level"), 0, f"expected a quality level of 1 to 100{AT}0{ANEW}"),
    "a quality level of 101": (("routes", 2, "quality_level"), 101, f"expected a quality level of 1 to 100{AT}101{ANEW}"),
    **{
        f"a negative {name}": (("routes", 1, "coefficients", name), -1, f"expected coefficients of at least 0{AT}less in 'split-h'{ANEW}")
        for name in Coefficients.__dataclass_fields__
    },
    "a fallback without a part": (("fallback", "part"), None, f"expected a part for every fallback but 'none'{AT}None{ANEW}"),
    "no fallback, with a part": (("fallback", "kind"), "none", f"expected a part for every fallback but 'none'{AT}'whole'{ANEW}"),
    "a fallback on the server": (("fallback", "part"), "tail", f"expected a device part as fallback{AT}'tail'{ANEW}"),
    "a fallback nowhere": (("fallback", "part"), "nose", f"expected a device part as fallback{AT}'nose'{ANEW}"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_unsound_manifest_is_refused(name, data):
    path, value, message = REFUSED[name]
    with pytest.raises(BadInput) as refusal:
        read_manifest(json.dumps(change(data, path, value)).encode())
    if message.endswith(("anew", "plan it anew")):
        assert str(refusal.value) == message
    else:
        assert str(refusal.value).startswith(message)


def test_the_refused_manifests_are_those_of_the_vectors(regen):
    path = VECTORS / "refused.json"
    current = [
        {"name": name, "path": list(where), **({} if value is ... else {"value": value})}
        for name, (where, value, _) in REFUSED.items()
    ]
    if regen:
        path.write_text(json.dumps(current, indent=1) + "\n")
    assert json.loads(path.read_text()) == current
