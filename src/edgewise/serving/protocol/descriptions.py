"""What a server says of itself and of its model, for programs that ask before they infer.

Source: Open Inference Protocol v2, "Server Metadata" and "Model Metadata"; the model
configuration, statistics and repository extensions, as ``tritonclient`` reads them.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence

from edgewise.bounds import Bound
from edgewise.bundle import Manifest, Route
from edgewise.serving.repository.parts import ServedBundle
from edgewise.tensors import OIP_DATATYPES, TensorSpec

PLATFORM = "onnxruntime_onnx"
EXTENSIONS = (
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
)

Json = dict[str, object]


def package_version() -> str:
    """The version that is installed; the package's root, which says it too, knows the studio."""
    try:
        return importlib.metadata.version("edgewise")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def server_metadata() -> Json:
    """What this server is, and which extensions of the protocol it has.

    >>> server_metadata()["name"]
    'edgewise'
    """
    return {"name": "edgewise", "version": package_version(), "extensions": list(EXTENSIONS)}


def model_metadata(manifest: Manifest, versions: Sequence[str]) -> Json:
    """What the whole network takes and gives; -1 stands for a size that the request chooses.

    Args:
        manifest: of one version.
        versions: of all that are served.
    """
    return {
        "name": manifest.name,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [_describe(spec) for spec in manifest.inputs],
        "outputs": [_describe(spec) for spec in manifest.outputs],
    }


def model_config(served: ServedBundle, versions: Sequence[str]) -> Json:
    """The model's configuration; under ``parameters``, what each route takes.

    Args:
        served: one version.
        versions: of all that are served.
    """
    manifest = served.manifest
    return {
        "name": manifest.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [int(version) for version in versions]}},
        "max_batch_size": 0,
        "input": [_configure(spec) for spec in manifest.inputs],
        "output": [_configure(spec) for spec in manifest.outputs],
        "instance_group": [{"name": manifest.name, "kind": "KIND_CPU", "count": 1}],
        "parameters": {
            f"route:{part.route.name}": {"string_value": json.dumps(_route(part.route))}
            for part in served.routes
        },
    }


def repository_index(bundles: Iterable[ServedBundle]) -> list[Json]:
    """Every model and version that this server has: all of them are ready."""
    versions = dict.fromkeys((bundle.name, bundle.version) for bundle in bundles)
    return [
        {"name": name, "version": version, "state": "READY", "reason": ""}
        for name, version in versions
    ]


def _route(route: Route) -> Json:
    return {
        "cut": ",".join(route.cut),
        "codec": route.codec.value,
        "inputs": [_bounded(bound) for bound in route.boundary],
    }


def _bounded(bound: Bound) -> Json:
    return {
        "name": bound.name,
        "datatype": OIP_DATATYPES[bound.dtype],
        "shape": _sizes(bound.shape),
        "min_bytes": bound.min_bytes,
        "max_bytes": bound.max_bytes,
    }


def _describe(spec: TensorSpec) -> Mapping[str, object]:
    datatype = OIP_DATATYPES[spec.dtype]
    return {"name": spec.name, "datatype": datatype, "shape": _sizes(spec.shape)}


def _configure(spec: TensorSpec) -> Mapping[str, object]:
    datatype = f"TYPE_{OIP_DATATYPES[spec.dtype]}"
    return {"name": spec.name, "data_type": datatype, "dims": _sizes(spec.shape)}


def _sizes(shape: tuple[int | str, ...]) -> list[int]:
    return [size if isinstance(size, int) else -1 for size in shape]
