"""Prove that a changed graph computes what the original computes, by running both."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import onnx_ir

from edgewise.engines import Engine, OnnxRuntimeEngine, Optimisation, open_engine
from edgewise.errors import BadInput
from edgewise.graphs.feeds import deciding_numbers, random_feeds
from edgewise.graphs.gaps import gap_between, same_bits
from edgewise.graphs.model import Model, serialise
from edgewise.graphs.sizes.axes import trial_sizes
from edgewise.graphs.values import batch_symbols, dims_of, dtype_name, input_symbols, name_of
from edgewise.tensors import Array, Feeds

Answers = list[Mapping[str, Array]]
_SEED = 0
_MOST_STRETCHED = 2  # how many symbolic axes are tried at another size as well
_STRETCH = 2
_MOST_DECIDED = 4  # how many numbers that choose a branch are tried besides the first ones
_BESIDE_BYTES = 1 << 16  # weights from this size on are written once, not with every graph


class NotProvable(Exception):  # noqa: N818 - it says what is, not that something went wrong
    """The original cannot be run, or does not agree with itself."""


class Trial:
    """Runs the original once, and every changed graph against it.

    Args:
        model: the original, which defines what is right.
        feeds: inputs to try; random ones where there are none. Each of them is also tried with
            symbolic axes at twice their size, where the original takes that.

    Raises:
        NotProvable: when the original cannot be run, or gives something else each time.
    """

    def __init__(self, model: Model, feeds: Sequence[Feeds]) -> None:
        self._weights = _Weights()
        self._custom_ops = model.custom_ops
        self._signature = _signature(model.ir)
        self.max_rel = 0.0
        try:
            self._level, self._feeds, self._original = _first_answers(self._weights, model, feeds)
        except BaseException:
            self._weights.close()
            raise
        self._latest = self._original

    @property
    def runs(self) -> int:
        """How many inputs each graph is tried with."""
        return len(self._feeds)

    def objection(self, ir: onnx_ir.Model, max_rel: float) -> str | None:
        """Why a changed graph is not as good as the original; None if it is, and is now latest."""
        if not _signature(ir).items() <= self._signature.items():
            return "inputs or outputs have another name, type or shape"
        if not ir.graph.outputs:
            return "no output is left"
        try:
            found = self._answers(ir)
        except BadInput as error:
            return f"the engine refuses it: {error.found}"
        wanted = self._original if max_rel else self._latest
        reason = _difference(wanted, found, max_rel)
        if reason is None:
            self._latest = found
            self.max_rel = max(self.max_rel, _worst(self._original, found))
        return reason

    def _answers(self, ir: onnx_ir.Model) -> Answers:
        with self._open(ir) as engine:
            taken = [spec.name for spec in engine.inputs]
            return [engine.run({name: feed[name] for name in taken}) for feed in self._feeds]

    def _open(self, ir: onnx_ir.Model) -> OnnxRuntimeEngine:
        return open_engine(
            self._weights.write(ir), optimisation=self._level, custom_ops=self._custom_ops
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._weights.close()


class _Weights:
    """A folder where large weights lie once, for all graphs that share them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgewise-trim-")
        self._written: dict[int, tuple[onnx_ir.TensorProtocol, onnx_ir.ExternalTensor]] = {}
        self._file: IO[bytes] = (Path(self._folder.name) / "weights").open("wb")

    def write(self, ir: onnx_ir.Model) -> Path | bytes:
        """The graph as something that the engine opens."""
        large = [
            value
            for value in ir.graph.initializers.values()
            if value.const_value is not None and _is_large(value.const_value)
        ]
        if not large:
            return serialise(ir)
        tensors = [value.const_value for value in large]
        try:
            for value in large:
                value.const_value = self._beside(value)
            raw = serialise(ir)
        finally:
            for value, tensor in zip(large, tensors, strict=True):
                value.const_value = tensor
        self._file.flush()
        path = Path(self._folder.name) / "graph.onnx"
        path.write_bytes(raw)
        return path

    def close(self) -> None:
        """Delete the folder."""
        self._file.close()
        self._folder.cleanup()

    def _beside(self, value: onnx_ir.Value) -> onnx_ir.ExternalTensor:
        tensor = value.const_value
        assert tensor is not None
        if id(tensor) not in self._written:
            start = self._file.tell()
            self._file.write(tensor.tobytes())
            # The tensor is kept as well, so that no other one can have its identity.
            self._written[id(tensor)] = (
                tensor,
                onnx_ir.ExternalTensor(
                    "weights",
                    start,
                    self._file.tell() - start,
                    tensor.dtype,
                    shape=onnx_ir.Shape(tensor.shape.numpy()),
                    name=name_of(value),
                    base_dir=self._folder.name,
                ),
            )
        external = self._written[id(tensor)][1]
        external.name = name_of(value)
        return external


def _is_large(tensor: onnx_ir.TensorProtocol) -> bool:
    return tensor.dtype is not onnx_ir.DataType.STRING and tensor.nbytes >= _BESIDE_BYTES


def _first_answers(
    weights: _Weights, model: Model, feeds: Sequence[Feeds]
) -> tuple[Optimisation, list[Feeds], Answers]:
    """The inputs that the original takes, what it makes of them, and how the engine must run it.

    Graphs run as they are. Where the engine fails at that, as onnxruntime 1.31 does when a body
    reads a Cast that it has dropped, it may make the simplest rewrites.
    """
    refusal = ""
    for level in (Optimisation.NONE, Optimisation.BASIC):
        sets = [_stretched(model, feeds)] if feeds else _random_sets(model)
        try:
            with open_engine(
                weights.write(model.ir), optimisation=level, custom_ops=model.custom_ops
            ) as engine:
                tried, answers, refusal = _first_taken(engine, sets)
                if not tried:
                    continue
                if _difference([engine.run(tried[0])], answers[:1], 0.0) is not None:
                    raise NotProvable("it gives other numbers for the same input each time")
                return level, tried, answers
        except BadInput as error:
            refusal = error.found
    raise NotProvable(f"the engine cannot run the original: {refusal}")


def _first_taken(
    engine: Engine, sets: Iterable[Iterable[Feeds]]
) -> tuple[list[Feeds], Answers, str]:
    """Of the first set of which the engine takes any inputs, those that it takes."""
    refusal = "no size fits its axes"
    for candidates in sets:
        tried: list[Feeds] = []
        answers: Answers = []
        for feed in candidates:
            try:
                answers.append(engine.run(feed))
            except BadInput as error:
                refusal = error.found
            else:
                tried.append(feed)
        if tried:
            return tried, answers, refusal
    return [], [], refusal


def _random_sets(model: Model) -> Iterator[tuple[Feeds, ...]]:
    """Random inputs: one of a batch of one, one with a size of its own for every axis.

    Where single numbers decide what runs, one more for each number. If the network takes none of
    these, one axis after the other is as long as the batch, which exporters forget to say.
    """
    firsts = batch_symbols(model.ir.graph)
    others = sorted(input_symbols(model.ir.graph) - firsts)
    tied = ((), *((other,) for other in others if len(firsts) == 1))
    for batches, points in product(tied, trial_sizes(model.ir.graph)):
        many = {**points[0], **{name: points[0][first] for name in batches for first in firsts}}
        single = {name: 1 if name in firsts.union(batches) else many[name] for name in many}
        sizes = (single, many) if single != many else (single,)
        feeds = [random_feeds(model, np.random.default_rng(_SEED), axes=axes) for axes in sizes]
        yield (*feeds, *_decided_otherwise(model, feeds[0]))


def _decided_otherwise(model: Model, feed: Feeds) -> Iterator[Feeds]:
    pairs = (
        (name, number)
        for name, numbers in deciding_numbers(model.ir.graph).items()
        for number in numbers[1:]
        if feed[name].size == 1
    )
    for name, number in islice(pairs, _MOST_DECIDED):
        yield {**feed, name: np.full_like(feed[name], number)}


def _stretched(model: Model, feeds: Sequence[Feeds]) -> Iterator[Feeds]:
    """The feeds, then the first of them with one symbolic axis after the other twice as long."""
    yield from feeds
    for symbol in sorted(input_symbols(model.ir.graph))[:_MOST_STRETCHED]:
        yield {
            spec.name: np.tile(
                feeds[0][spec.name], [_STRETCH if dim == symbol else 1 for dim in spec.shape]
            )
            for spec in model.inputs
        }


def _signature(ir: onnx_ir.Model) -> dict[tuple[str, str], object]:
    """What a caller sees of a graph: inputs may go, nothing else may change."""
    outputs = [name_of(value) for value in ir.graph.outputs]
    return {
        ("outputs", ""): outputs,
        **{("input", name_of(v)): (dtype_name(v), dims_of(v)) for v in ir.graph.inputs},
        **{("output", name_of(v)): (dtype_name(v), dims_of(v)) for v in ir.graph.outputs},
        **{("metadata", key): text for key, text in ir.metadata_props.items()},
    }


def _pairs(wanted: Answers, found: Answers) -> Iterable[tuple[str, Array, Array]]:
    for want, got in zip(wanted, found, strict=True):
        for name in want:
            yield name, want[name], got[name]


def _difference(wanted: Answers, found: Answers, max_rel: float) -> str | None:
    for name, want, got in _pairs(wanted, found):
        if want.dtype != got.dtype or want.shape != got.shape:
            return f"{name} is {_form(got)} instead of {_form(want)}"
        if same_bits(want, got):
            continue
        relative = _relative(want, got)
        if max_rel == 0 or relative > max_rel:
            return f"{name} differs by {relative:.2g} relative; allowed is {max_rel:g}"
    return None


def _relative(want: Array, got: Array) -> float:
    if want.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(want, got) else math.inf
    return gap_between(want, got)[1]


def _worst(wanted: Answers, found: Answers) -> float:
    return max((_relative(want, got) for _, want, got in _pairs(wanted, found)), default=0.0)


def _form(array: Array) -> str:
    return f"{array.dtype.name}[{', '.join(map(str, array.shape))}]"
