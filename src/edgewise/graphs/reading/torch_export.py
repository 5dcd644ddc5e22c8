"""Export a torch module to ONNX."""

from __future__ import annotations

import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, TypeGuard

from edgewise.errors import BadInput, MissingExtra

if TYPE_CHECKING:
    from torch import Tensor, nn  # type: ignore[import-not-found,unused-ignore]

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_OPSET = 18  # the oldest that the exporter writes without converting


def is_module(source: object) -> TypeGuard[nn.Module]:
    """Whether this is a torch module; torch is not imported to find out.

    >>> is_module("network.onnx")
    False
    """
    torch: Any = sys.modules.get("torch")  # who has a module has imported torch
    return torch is not None and isinstance(source, torch.nn.Module)


def export_module(module: nn.Module, example: Sequence[Tensor] | None) -> bytes:
    """The ONNX file of a module, with its first axes symbolic.

    Args:
        module: put into evaluation mode for the export, and back.
        example: the tensors that one call takes, batch first.

    Raises:
        BadInput: without an example, and when torch cannot export the module.
        MissingExtra: without the exporter's own packages.
    """
    tensors = _checked(example)
    training = module.training
    module.eval()
    try:
        return _export(module, tensors)
    except ImportError as error:
        raise MissingExtra(extra="torch", purpose=f"to export torch modules ({error})") from None
    except Exception as error:
        raise BadInput(
            expected="a torch module that torch.onnx.export can export",
            found=f"{type(error).__name__}: {_plain(str(error))}",
            remedy="export it yourself and pass the ONNX file",
        ) from None
    finally:
        module.train(training)


def _checked(example: Sequence[Tensor] | None) -> tuple[Tensor, ...]:
    import torch

    given = (example,) if isinstance(example, torch.Tensor) else tuple(example or ())
    if not given or not all(isinstance(tensor, torch.Tensor) for tensor in given):
        raise BadInput(
            expected="example tensors to export the module with",
            found="none" if not given else "something else",
            remedy="pass example=(tensor, …), as one call takes them",
        )
    return given


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and warnings out of the output, whatever it uses for them."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _plain(text: str) -> str:
    return " ".join(_COLOUR.sub("", text).split())[:300]


def _export(module: nn.Module, tensors: tuple[Tensor, ...]) -> bytes:
    import torch

    batch = torch.export.Dim("batch", min=1)
    axes = tuple({0: batch} if tensor.dim() else None for tensor in tensors)
    # An axis of size 1 would be taken for a fixed one.
    widened = tuple(
        torch.cat([tensor, tensor]) if tensor.dim() and tensor.shape[0] == 1 else tensor
        for tensor in tensors
    )
    with _quiet():
        program: Any = torch.onnx.export(
            module,
            widened,
            dynamo=True,
            dynamic_shapes=axes,
            opset_version=_OPSET,
            verbose=False,
        )
    buffer = io.BytesIO()
    program.save(buffer)
    return buffer.getvalue()
