"""A user's own metric: a function in a module of theirs."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import BadInput
from edgewise.examples.weighting import Statistic, Values, Weights, check_counts
from edgewise.tensors import Array

Function = Callable[[Array, Array], Any]


def load_function(source: str) -> Function:
    """The function that ``module:function`` names, the working folder being searched first.

    Raises:
        BadInput: when there is no such module or function, or the module fails.
    """
    module_name, _, name = source.partition(":")
    if not name.isidentifier() or not all(map(str.isidentifier, module_name.split("."))):
        raise BadInput(
            expected="a metric as module:function",
            found=repr(source)[:80],
            remedy="write it as in scores:accuracy for the function accuracy in scores.py",
        )
    module = _import(module_name)
    function = getattr(module, name, None)
    if not callable(function):
        kind = "none" if function is None else f"a value of type {type(function).__name__}"
        raise BadInput(
            expected=f"a function {name!r} in the module {module_name!r}",
            found=f"{kind} in {getattr(module, '__file__', None) or 'it'}",
            remedy="correct the name, or define it",
        )
    found: Function = function
    return found


def own_statistic(function: Function, source: str) -> Callable[[Array, Array], Statistic]:
    """The function as a metric; resamples are arrays with rows repeated and left out."""

    def statistic(outputs: Array, target: Array) -> Statistic:
        check_counts(len(outputs), len(target))

        def values(weights: Weights) -> Values:
            return np.array([value(row) for row in weights.astype(np.int64)])

        def value(row: NDArray[np.int64]) -> float:
            if (row == 1).all():
                return _call(function, outputs, target, source)
            drawn = np.repeat(np.arange(len(row)), row)
            try:
                return _call(function, outputs[drawn], target[drawn], source)
            except BadInput:
                return math.nan  # such as a resample in which one class is missing

        return values

    return statistic


def _import(module_name: str) -> Any:
    try:
        with _working_folder_first():
            return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _failed(f"the module {module_name!r}", error) from None
        raise BadInput(
            expected=f"a module {module_name!r} in {Path.cwd()} or installed",
            found="none",
            remedy=f"run in the folder of {module_name.split('.')[0]}.py",
        ) from None
    except (Exception, SystemExit) as error:
        raise _failed(f"the module {module_name!r}", error) from None


@contextmanager
def _working_folder_first() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()  # the module may have been written a moment ago
    try:
        yield
    finally:
        if folder in sys.path:  # the module may have changed it
            sys.path.remove(folder)


def _call(function: Function, outputs: Array, target: Array, source: str) -> float:
    try:
        with np.errstate(all="ignore"):
            result = function(outputs, target)
    except (Exception, SystemExit) as error:
        raise _failed(f"the metric {source}", error) from None
    try:
        number = float(result)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(
            expected=f"a finite number from the metric {source}",
            found=repr(result)[:80],
            remedy="return one float",
        )
    return number


def _failed(what: str, error: BaseException) -> BadInput:
    first = (str(error).splitlines() or [""])[0][:200]
    return BadInput(
        expected=f"{what} to work",
        found=f"{type(error).__name__}: {first}".rstrip(": "),
        remedy="correct the code",
    )
