"""Write an ONNX file whose weights are never in memory together.

A message of protocol buffers is its fields one after the other, in any order, each with a tag
and, if it holds bytes, their number. So the sizes of all weights are known before the first is
made. Source: protobuf.dev, "Encoding"; the numbers of the fields from ``onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from edgewise.progress import Progress

_LENGTH_DELIMITED = 2
_MODEL_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER << 3 | _LENGTH_DELIMITED
_GRAPH_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER << 3 | _LENGTH_DELIMITED
_TENSOR_RAW_DATA = TensorProto.RAW_DATA_FIELD_NUMBER << 3 | _LENGTH_DELIMITED


class StreamedWeight(Protocol):
    """FP32 values that come in chunks."""

    @property
    def name(self) -> str:
        """How the graph calls it."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        ...

    @property
    def nbytes(self) -> int:
        """How many bytes all chunks hold."""
        ...

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """Its values in row-major order."""
        ...


def write_streamed(
    model: onnx.ModelProto,
    weights: Sequence[StreamedWeight],
    target: Path,
    *,
    progress: Progress,
    what: str,
) -> None:
    """Write ``model`` with ``weights`` added to its initialisers.

    Args:
        model: the network; initialisers that it has itself are kept.
        weights: what is added, chunk by chunk.
        target: the file.
        progress: told how many bytes of the weights are written.
        what: how progress calls it.
    """
    shell = onnx.ModelProto()
    shell.CopyFrom(model)
    shell.ClearField("graph")
    graph = model.graph.SerializeToString(deterministic=True)
    heads = [_tensor_head(weight) for weight in weights]
    tensors = [len(head) + weight.nbytes for head, weight in zip(heads, weights, strict=True)]
    framed = [_field_head(_GRAPH_INITIALIZER, size) for size in tensors]
    total = len(graph) + sum(tensors) + sum(map(len, framed))
    with target.open("wb") as file:
        file.write(shell.SerializeToString(deterministic=True))
        file.write(_field_head(_MODEL_GRAPH, total))
        file.write(graph)
        done, most = 0, sum(weight.nbytes for weight in weights)
        for frame, head, weight in zip(framed, heads, weights, strict=True):
            file.write(frame + head)
            for written in _write_chunks(file, weight.chunks()):
                done += written
                progress(what, done, most)


def _write_chunks(file: BinaryIO, chunks: Iterable[NDArray[np.float32]]) -> Iterator[int]:
    for chunk in chunks:
        yield file.write(chunk.astype("<f4", copy=False).tobytes())


def _tensor_head(weight: StreamedWeight) -> bytes:
    tensor = TensorProto(name=weight.name, data_type=TensorProto.FLOAT, dims=weight.shape)
    head: bytes = tensor.SerializeToString(deterministic=True)
    return head + _field_head(_TENSOR_RAW_DATA, weight.nbytes)


def _field_head(tag: int, size: int) -> bytes:
    return _varint(tag) + _varint(size)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the least first; the eighth says that more follow."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
