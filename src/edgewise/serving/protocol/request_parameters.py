"""What a request asks for beside its tensors: outputs and their form, a route, a deadline.

Source: Open Inference Protocol v2, "Inference Request JSON Object", with its binary tensor data
extension; ``timeout``, ``priority`` and the sequence parameters are those of ``tritonclient``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgewise.bundle import Route
from edgewise.errors import BadInput
from edgewise.wire import Parameters

_MAX_US = 2**53 - 1
_SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The outputs that a request asks for.

    Args:
        outputs: names in order; empty for all.
        binary: those among ``outputs`` that come as raw bytes.
        all_binary: whether outputs that are not named come as raw bytes.
    """

    outputs: tuple[str, ...] = ()
    binary: frozenset[str] = frozenset()
    all_binary: bool = False

    def among(self, names: Sequence[str]) -> Asked:
        """The same with every output named.

        Raises:
            BadInput: when an output is unknown or asked for twice.

        >>> Asked(all_binary=True).among(("y", "z")).outputs
        ('y', 'z')
        """
        if not self.outputs:
            every = frozenset(names) if self.all_binary else frozenset()
            return Asked(outputs=tuple(names), binary=every, all_binary=self.all_binary)
        unknown = [name for name in self.outputs if name not in names]
        if unknown or len(set(self.outputs)) != len(self.outputs):
            found = repr(unknown[0][:80]) if unknown else "a name twice"
            raise _bad_outputs(f"outputs among {', '.join(names)}", found)
        return self


def read_asked(outputs: object, parameters: Parameters) -> Asked:
    """The outputs that a request asks for, and the form of each.

    Args:
        outputs: as they stand in its JSON.
        parameters: of the request.

    Raises:
        BadInput: when the list is ill-formed, or asks for what no output here can be.

    >>> sorted(read_asked([{"name": "y", "parameters": {"binary_data": True}}], {}).binary)
    ['y']
    """
    if not isinstance(outputs, list):
        raise _bad_outputs("a list of objects with names", type(outputs).__name__)
    chosen = parameters.get("binary_data_output")
    all_binary = _truth(chosen, "binary_data_output", otherwise=False)
    forms = [_read_output(output, all_binary=all_binary) for output in outputs]
    return Asked(
        outputs=tuple(name for name, _ in forms),
        binary=frozenset(name for name, binary in forms if binary),
        all_binary=all_binary,
    )


def read_deadline_us(parameters: Parameters) -> int | None:
    """How long the answer is wanted, in microseconds from now; ``None`` for however long.

    The earlier of ``deadline_us`` and ``timeout``, in which 0 means none.

    Raises:
        BadInput: when one is no such number or has passed, or the request is one of a sequence.

    >>> read_deadline_us({"deadline_us": 5000, "timeout": 2000})
    2000
    """
    for name in _SEQUENCE:
        if parameters.get(name):
            raise BadInput(
                expected="requests that stand alone: this server keeps nothing between them",
                found=f"the parameter {name!r}",
                remedy="leave the sequence parameters out",
            )
    _count(parameters, "priority", least=0)
    timeout = _count(parameters, "timeout", least=0)
    deadline = _count(parameters, "deadline_us", least=1)
    return min((us for us in (timeout, deadline) if us), default=None)


def fits(route: Route, parameters: Parameters) -> bool:
    """Whether a route is one that the parameters ``cut`` and ``codec`` allow.

    A cut is named by its tensors, with commas between them.
    """
    cut, codec = parameters.get("cut"), parameters.get("codec")
    return cut in (None, ",".join(route.cut)) and codec in (None, route.codec.value)


def words(parameters: Parameters) -> str:
    """The wishes of a request that :func:`fits` no route, for a refusal.

    >>> words({"cut": "feature", "id": 1})
    "cut 'feature'"
    """
    wishes = [
        f"{key} {str(parameters[key])[:80]!r}"
        for key in ("cut", "codec", "route")
        if key in parameters
    ]
    return " with ".join(wishes)


def _read_output(output: object, *, all_binary: bool) -> tuple[str, bool]:
    name = output.get("name") if isinstance(output, dict) else None
    if not isinstance(output, dict) or not isinstance(name, str):
        raise _bad_outputs("a name for each requested output", "none")
    parameters = output.get("parameters", {})
    if not isinstance(parameters, dict):
        raise _bad_outputs(f"parameters of {name[:80]!r} as an object", "something else")
    _refuse_other_forms(name, parameters)
    chosen = parameters.get("binary_data")
    return name, _truth(chosen, "binary_data", otherwise=all_binary)


def _refuse_other_forms(name: str, parameters: Mapping[str, object]) -> None:
    if parameters.get("classification"):
        raise BadInput(
            expected=f"the output {name[:80]!r} as a tensor",
            found="the parameter 'classification'",
            remedy="ask for the tensor and take its largest values; labels are in the bundle",
        )
    other = sorted(set(parameters) - {"binary_data", "classification"})
    if other:
        raise _bad_outputs(
            f"the parameter binary_data alone for {name[:80]!r}", repr(other[0][:80])
        )


def _truth(value: object, name: str, *, otherwise: bool) -> bool:
    if value is None:
        return otherwise
    if not isinstance(value, bool):
        raise _bad_outputs(f"true or false for {name}", type(value).__name__)
    return value


def _count(parameters: Parameters, name: str, *, least: int) -> int | None:
    value = parameters.get(name)
    if value is None or (type(value) is int and least <= value <= _MAX_US):
        return value
    raise BadInput(
        expected=f"a whole number of at least {least} for {name!r}",
        found=repr(value)[:40],
        remedy="send such a number, of microseconds from now if it is a time, or leave it out",
    )


def _bad_outputs(expected: str, found: str) -> BadInput:
    return BadInput(
        expected=expected, found=found, remedy="leave 'outputs' out to get all of them"
    )
