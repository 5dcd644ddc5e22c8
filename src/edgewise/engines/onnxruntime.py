"""Run ONNX networks with onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import onnxruntime as ort

from edgewise.engines.engine import Optimisation
from edgewise.errors import BadInput
from edgewise.tensors import Array, Feeds, TensorSpec, check_array

ort.set_default_logger_severity(4)

_LEVELS: Mapping[Optimisation, Any] = {
    Optimisation.NONE: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    Optimisation.BASIC: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    Optimisation.EXTENDED: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    Optimisation.ALL: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_DTYPES: Mapping[str, str] = {"tensor(float)": "float32", "tensor(double)": "float64"}


class OnnxRuntimeEngine:
    """One ONNX network in onnxruntime.

    Args:
        model: a path, or the bytes of the file.
        threads: threads of one run; 1 unless said, so that figures compare.
        optimisation: how far onnxruntime may rewrite the graph.

    Raises:
        BadInput: when onnxruntime cannot load the network, or is fed what it does not take.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int = 1,
        optimisation: Optimisation = Optimisation.ALL,
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = _LEVELS[optimisation]
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = model if isinstance(model, bytes) else str(model)
        try:
            self._session: Any = ort.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise BadInput(
                expected="a network that onnxruntime can load",
                found=str(error).splitlines()[0][:300],
                remedy="check the file with: edgewise inspect MODEL",
            ) from None
        self.inputs = tuple(map(_spec, self._session.get_inputs()))
        self.outputs = tuple(map(_spec, self._session.get_outputs()))
        self._names = [spec.name for spec in self.outputs]

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs by name.

        Args:
            feeds: every input by its name, in its dtype; symbolic axes take any size.
        """
        self._check(feeds)
        return dict(zip(self._names, self._session.run(self._names, dict(feeds)), strict=True))

    def close(self) -> None:
        """Free the network's memory."""
        self._session = None

    def _check(self, feeds: Feeds) -> None:
        wanted = [spec.name for spec in self.inputs]
        if sorted(feeds) != sorted(wanted):
            raise BadInput(
                expected=f"the inputs {', '.join(wanted)}",
                found=", ".join(sorted(feeds)) or "none",
                remedy="name each input as the model does",
            )
        for spec in self.inputs:
            check_array(feeds[spec.name], spec)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_engine(
    model: Path | bytes, *, threads: int = 1, optimisation: Optimisation = Optimisation.ALL
) -> OnnxRuntimeEngine:
    """Load a network for running; see :class:`OnnxRuntimeEngine`."""
    return OnnxRuntimeEngine(model, threads=threads, optimisation=optimisation)


def _spec(argument: Any) -> TensorSpec:
    kind = str(argument.type)
    dtype = _DTYPES.get(kind, kind.removeprefix("tensor(").removesuffix(")"))
    shape = tuple(size if isinstance(size, int) else str(size) for size in argument.shape)
    return TensorSpec(name=argument.name, dtype=dtype, shape=shape)
