"""Whether examples are what a model takes, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgewise.errors import BadInput
from edgewise.tensors import TensorSpec

_NAMES = "name each array as the model names its input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Type and shape of what is given for one input.

    Args:
        dtype: a numpy name.
        shape: with the batch of 1; ``None`` where it changes from example to example.
    """

    dtype: str
    shape: tuple[int | None, ...]


def check_inputs(given: Mapping[str, Form], inputs: Sequence[TensorSpec], *, where: str) -> None:
    """Refuse examples that the model cannot take.

    Args:
        given: what the examples give, by the name of the input.
        inputs: what the model takes; nothing is checked when they are not known.
        where: what messages call the examples.

    Raises:
        BadInput: on an input too few or too many, another type or shape, a fixed batch, or two
            sizes of one symbolic axis.

    >>> check_inputs({"x": Form(dtype="float32", shape=(1, 2))},
    ...              [TensorSpec(name="x", dtype="float32", shape=("N", 2))], where="rows")
    """
    if not inputs:
        return
    _check_names(given, inputs, where)
    sizes: dict[str, tuple[int, str]] = {}
    for spec in inputs:
        form = given[spec.name]
        if form.dtype != spec.dtype:
            raise BadInput(
                expected=f"{spec.dtype} for the input {spec.name!r} in {where}",
                found=form.dtype,
                remedy=f"convert the array with astype('{spec.dtype}')",
            )
        _check_shape(form, spec, where)
        _check_axes(form, spec, sizes, where)


def _check_names(given: Mapping[str, Form], inputs: Sequence[TensorSpec], where: str) -> None:
    names = [spec.name for spec in inputs]
    missing = [name for name in names if name not in given]
    extra = [name for name in given if name not in names]
    if missing or extra:
        found = [f"none for {', '.join(missing)}"] if missing else []
        found += [f"also {', '.join(extra)}"] if extra else []
        raise BadInput(
            expected=f"values for the model's inputs ({', '.join(names)[:200]}) in {where}",
            found=", ".join(found)[:200],
            remedy=_NAMES,
        )


def _check_shape(form: Form, spec: TensorSpec, where: str) -> None:
    if len(form.shape) == len(spec.shape) and all(map(_fits, form.shape, spec.shape)):
        return
    first = spec.shape[0] if spec.shape else 1
    if len(form.shape) == len(spec.shape) and isinstance(first, int) and first > 1:
        raise BadInput(
            expected=f"a model that takes one example at a time from {where}",
            found=f"a fixed batch of {first} in its input {spec.name!r}",
            remedy="export it with a symbolic first axis",
        )
    raise BadInput(
        expected=f"values of shape {_shown(spec.shape)} for the input {spec.name!r} in {where}",
        found=f"{_shown(form.shape)} for each example",
        remedy="reshape the examples, or export the model with symbolic axes",
    )


def _fits(size: int | None, want: int | str) -> bool:
    if isinstance(want, str):
        return size is None or size >= 1
    return size == want


def _check_axes(
    form: Form, spec: TensorSpec, sizes: dict[str, tuple[int, str]], where: str
) -> None:
    for size, axis in zip(form.shape, spec.shape, strict=True):
        if isinstance(axis, int) or size is None:
            continue
        known, name = sizes.setdefault(axis, (size, spec.name))
        if known != size:
            raise BadInput(
                expected=f"one size of the model's axis {axis!r} in {where}",
                found=f"{known} in {name!r} and {size} in {spec.name!r}",
                remedy="give both inputs equally long rows",
            )


def _shown(shape: Sequence[int | str | None]) -> str:
    return f"[{', '.join('any' if size is None else str(size) for size in shape)}]"
