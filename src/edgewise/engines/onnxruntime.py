"""Run ONNX networks with onnxruntime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import onnxruntime as ort

from edgewise.engines.engine import Optimisation
from edgewise.errors import BadInput
from edgewise.tensors import Array, Feeds, TensorSpec, check_array

ort.set_default_logger_severity(4)

_MOST_THREADS = 1024
_LEVELS: Mapping[Optimisation, Any] = {
    Optimisation.NONE: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    Optimisation.BASIC: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    Optimisation.EXTENDED: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    Optimisation.ALL: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_EXTERNAL_WEIGHTS = "session.model_external_initializers_file_folder_path"
_DTYPES: Mapping[str, str] = {"tensor(float)": "float32", "tensor(double)": "float64"}


class OnnxRuntimeEngine:
    """One ONNX network in onnxruntime.

    Args:
        model: a path, or the bytes of the file.
        threads: threads of one run, at least 1; 1 unless said, so that figures compare.
        optimisation: how far onnxruntime may rewrite the graph.
        custom_ops: libraries that define operators; native code, so only those the user names.

    Raises:
        BadInput: when onnxruntime cannot load the network or a library, or there are no threads.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int = 1,
        optimisation: Optimisation = Optimisation.ALL,
        custom_ops: Sequence[Path] = (),
    ) -> None:
        if threads < 1:  # onnxruntime would take all cores, and no figure would say so
            raise BadInput(
                expected="at least 1 thread", found=str(threads), remedy="state how many"
            )
        if threads > _MOST_THREADS:
            raise BadInput(
                expected=f"at most {_MOST_THREADS} threads",
                found=str(threads),
                remedy="more than there are cores gain nothing",
            )
        self.threads = threads
        self.optimisation = optimisation
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = _LEVELS[optimisation]
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if isinstance(model, bytes):
            # Bytes carry all their weights: else they could name a file of the working folder.
            options.add_session_config_entry(_EXTERNAL_WEIGHTS, os.devnull)
        for library in custom_ops:
            _register(options, library)
        source = model if isinstance(model, bytes) else str(model)
        try:
            self._session: Any = ort.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            libraries = "name every library that defines its operators, or " if custom_ops else ""
            raise BadInput(
                expected="a network that onnxruntime can load",
                found=_first_line(error),
                remedy=f"{libraries}check the file with: edgewise inspect MODEL",
            ) from None
        self.inputs = tuple(map(_spec, self._session.get_inputs()))
        self.outputs = tuple(map(_spec, self._session.get_outputs()))
        self._names = [spec.name for spec in self.outputs]

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs by name.

        Args:
            feeds: every input by its name, in its dtype; symbolic axes take any size, but the
                first one not 0.

        Raises:
            BadInput: on other names, dtypes or shapes, on NaN or infinity, on sizes of symbolic
                axes that do not go together, and once the engine is closed.
        """
        if self._session is None:
            raise BadInput(expected="an open engine", found="a closed one", remedy="open it again")
        self._check(feeds)
        # onnxruntime reads a big-endian array as if it were little-endian.
        native = {
            name: x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
            for name, x in feeds.items()
        }
        try:
            outputs = self._session.run(self._names, native)
        except Exception as error:
            raise BadInput(
                expected="inputs that the network can compute with",
                found=_first_line(error),
                remedy="check the sizes of the symbolic axes",
            ) from None
        return dict(zip(self._names, outputs, strict=True))

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
            check_array(feeds[spec.name], spec, may_be_empty=True)

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
    model: Path | bytes,
    *,
    threads: int = 1,
    optimisation: Optimisation = Optimisation.ALL,
    custom_ops: Sequence[Path] = (),
) -> OnnxRuntimeEngine:
    """Load a network for running; see :class:`OnnxRuntimeEngine`."""
    return OnnxRuntimeEngine(
        model, threads=threads, optimisation=optimisation, custom_ops=custom_ops
    )


def _register(options: Any, library: Path) -> None:
    try:
        options.register_custom_ops_library(str(library.absolute()))
    except Exception as error:
        raise BadInput(
            expected=f"a library of onnxruntime operators at {library}",
            found=_first_line(error),
            remedy="give the shared library (.so, .dll, .dylib) that defines the operators",
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _spec(argument: Any) -> TensorSpec:
    kind = str(argument.type)
    dtype = _DTYPES.get(kind, kind.removeprefix("tensor(").removesuffix(")"))
    shape = tuple(size if isinstance(size, int) else str(size) for size in argument.shape)
    return TensorSpec(name=argument.name, dtype=dtype, shape=shape)
