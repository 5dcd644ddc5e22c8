"""INT8 by onnxruntime's own quantizer: the first variant, until a better one is built."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgewise.errors import BadInput
from edgewise.graphs import Model, load, to_bytes
from edgewise.tensors import Feeds

_KEPT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantize:
    """INT8 weights and activations, as onnxruntime recommends for x86-64.

    QDQ format, activations uint8, weights int8 with one scale per channel, ranges by min-max
    (onnxruntime documentation, "Quantize ONNX models", and onnxruntime#28415).

    Args:
        examples: how many calibrated it.
    """

    examples: int


def quantize(model: Model, calibrate: Iterable[Feeds]) -> tuple[Model, Quantize]:
    """An INT8 network from an FP32 one; the original is not changed.

    Args:
        model: the FP32 network.
        calibrate: inputs whose activations give the ranges.

    Returns:
        The quantised network, and the step that made it.

    Raises:
        BadInput: without examples, or when onnxruntime's quantizer refuses the network.
    """
    feeds = list(calibrate)
    if not feeds:
        raise BadInput(
            expected="examples to calibrate with", found="none", remedy="pass --data DIR"
        )
    with tempfile.TemporaryDirectory(prefix="edgewise-int8-") as folder:
        raw = _run_quantizer(to_bytes(model), feeds, Path(folder))
    return load(_tidy(raw, model)), Quantize(examples=len(feeds))


def _run_quantizer(raw: bytes, feeds: list[Feeds], folder: Path) -> bytes:
    # Imported here: it loads much, and only this function needs it.
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, prepared, result = (folder / f"{name}.onnx" for name in ("fp32", "prepared", "int8"))
    source.write_bytes(raw)
    try:
        with _quiet():
            quant_pre_process(str(source), str(prepared))
            quantization.quantize_static(
                str(prepared),
                str(result),
                _Reader(feeds),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
            )
    except Exception as error:
        raise BadInput(
            expected="a network that onnxruntime's quantizer accepts",
            found=str(error).splitlines()[0][:300] if str(error) else type(error).__name__,
            remedy="go on without an INT8 variant",
        ) from None
    return result.read_bytes()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantizer's advice off the terminal; what it cannot do, it raises.

    It logs as "onnxruntime", and as the root logger, which would install a handler there for the
    rest of the process unless one is there already.
    """
    root, library = logging.getLogger(), logging.getLogger("onnxruntime")
    nowhere = logging.NullHandler()
    propagated = library.propagate
    root.addFilter(_not_from_onnxruntime)
    root.addHandler(nowhere)
    library.addHandler(nowhere)
    library.propagate = False
    try:
        yield
    finally:
        library.propagate = propagated
        library.removeHandler(nowhere)
        root.removeHandler(nowhere)
        root.removeFilter(_not_from_onnxruntime)


def _not_from_onnxruntime(record: logging.LogRecord) -> bool:
    return "onnxruntime" not in Path(record.pathname).parts


def _tidy(raw: bytes, model: Model) -> bytes:
    """Drop the operator domains that nothing uses, and put the metadata back."""
    proto = onnx.load_from_string(raw)
    used = {node.domain for node in proto.graph.node} | set(_KEPT_DOMAINS)
    kept = [entry for entry in proto.opset_import if entry.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, dict(model.metadata))
    proto.graph.name = f"{model.name}-int8"
    raw_result: bytes = proto.SerializeToString()
    return raw_result


class _Reader:
    """Feeds the quantizer one example at a time."""

    def __init__(self, feeds: list[Feeds]) -> None:
        self._left: Iterator[Feeds] = iter(feeds)

    def get_next(self) -> Mapping[str, Any] | None:
        feeds = next(self._left, None)
        return None if feeds is None else dict(feeds)
