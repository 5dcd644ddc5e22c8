"""Find the places where a network falls into two halves with one content tensor between them."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

import onnx_ir

from edgewise.errors import BadInput
from edgewise.graphs.cutting.chain import trace_chain
from edgewise.graphs.cutting.riding import Riders
from edgewise.graphs.flow import Flow, trace_flow
from edgewise.graphs.model import Model
from edgewise.graphs.values import has_spec, input_symbols, spec_of
from edgewise.tensors import Axes, Role, TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A set of tensors between two halves: all that the second half needs.

    Args:
        tensors: content first, then the structure that rides along, each in the graph's order.

    >>> cut = Cut(tensors=(TensorSpec(name="features", dtype="float32", shape=("n", 8)),))
    >>> cut.name, cut.nbytes(batch=2)
    ('features', 64)
    """

    tensors: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        if not self.content:
            raise BadInput(
                expected="a cut through at least one content tensor",
                found=", ".join(spec.name for spec in self.tensors) or "no tensor",
                remedy="take a cut that find_cuts gives",
            )

    @property
    def content(self) -> tuple[TensorSpec, ...]:
        """The tensors that carry the data itself."""
        return tuple(spec for spec in self.tensors if spec.role is Role.CONTENT)

    @property
    def structure(self) -> tuple[TensorSpec, ...]:
        """The tensors that ride along."""
        return tuple(spec for spec in self.tensors if spec.role is Role.STRUCTURE)

    @property
    def name(self) -> str:
        """The names of the content tensors, joined by ``+``."""
        return "+".join(spec.name for spec in self.content)

    def nbytes(self, batch: int = 1, axes: Axes | None = None) -> int:
        """Raw bytes of all tensors, structure included; see :meth:`TensorSpec.concrete`."""
        return sum(spec.nbytes(batch, axes) for spec in self.tensors)

    def __str__(self) -> str:
        return ", ".join(map(str, self.tensors))


def find_cuts(model: Model) -> tuple[Cut, ...]:
    """Every legal cut with one content tensor, from the input to the output.

    A cut is legal when every output is computed from its tensors and constants alone, and none
    without its content tensor; when the content tensor is computed by some operator; and when
    some operator is left after it. Constants are copied, they never cross.

    Structure that the second half needs is carried or computed again, whichever is fewer bytes
    (a minimum cut; the batch counts 1 and any other symbolic axis 128): a narrow mask rather than
    the integers it came from, nothing where its source crosses anyway. Floating-point structure,
    such as a mask made of zeros and minus infinity, is computed again as long as it can be.

    A tensor whose type has no wire form, or whose shape cannot be inferred up to the inputs'
    symbolic axes, is no cut, because nobody could say how many bytes it has.

    The candidates are the values that no path of content avoids, found in time linear in the
    graph (see ``cutting/chain.py``). Cuts through more tensors are between them: see
    :func:`edgewise.graphs.find_frontiers`.
    """
    graph = model.ir.graph
    flow = trace_flow(graph)
    chain = trace_chain(flow, graph)
    riders, maker = Riders(flow, chain, graph), CutMaker(flow, graph)
    cuts = []
    for level in reversed(range(len(chain.members))):
        content = chain.members[level]
        riders.enter(level)
        border = riders.border(0, frozenset({content}))
        if border is not None and not border.content and content.producer() is not None:
            cuts.append(maker.make((content,), border.structure))
    return tuple(cut for cut in reversed(cuts) if cut is not None)


def check_known(names: Iterable[str], known: Container[str]) -> None:
    """Refuse a cut through tensors of another network.

    Raises:
        BadInput: with the first name that is not known.
    """
    for name in names:
        if name not in known:
            raise BadInput(
                expected="a cut through tensors of this network",
                found=f"the name {name!r}",
                remedy="list the cuts with: edgewise inspect MODEL",
            )


class CutMaker:
    """Makes cuts of one network through its values."""

    def __init__(self, flow: Flow, graph: onnx_ir.Graph) -> None:
        self._order, self._symbols = flow.dependent, input_symbols(graph)
        self._known: dict[tuple[onnx_ir.Value, Role], TensorSpec | None] = {}

    def make(
        self, content: Iterable[onnx_ir.Value], structure: Iterable[onnx_ir.Value]
    ) -> Cut | None:
        """A cut, each kind of tensor in the graph's order; None when one of them cannot cross."""
        specs = (
            *(self._spec(value, Role.CONTENT) for value in self._sorted(content)),
            *(self._spec(value, Role.STRUCTURE) for value in self._sorted(structure)),
        )
        known = tuple(spec for spec in specs if spec is not None)
        return Cut(tensors=known) if len(known) == len(specs) else None

    def _sorted(self, values: Iterable[onnx_ir.Value]) -> list[onnx_ir.Value]:
        return sorted(values, key=self._order.__getitem__)

    def _spec(self, value: onnx_ir.Value, role: Role) -> TensorSpec | None:
        if (value, role) not in self._known:
            can_cross = has_spec(value, self._symbols)
            self._known[value, role] = spec_of(value, role=role) if can_cross else None
        return self._known[value, role]
