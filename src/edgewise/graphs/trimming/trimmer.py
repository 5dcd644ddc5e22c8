"""Trim a network: try one pass after the other, prove each, undo what fails."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby

import onnx_ir
from onnx_ir.traversal import RecursiveGraphIterator

from edgewise.graphs.model import Model, weight_bytes
from edgewise.graphs.reading.loading import make_model
from edgewise.graphs.trimming.results import Pass, Removal, Trim, Trimmed, Undone
from edgewise.graphs.trimming.surgery import NODE_BYTES, copy_of, node_count
from edgewise.graphs.trimming.table import PASSES
from edgewise.graphs.trimming.training import flags_alone_differ, switch_off_training
from edgewise.graphs.trimming.trial import NotProvable, Trial
from edgewise.graphs.trimming.unused import drop_unused
from edgewise.graphs.trimming.unused import keep_outputs as keep_only
from edgewise.graphs.values import subgraphs_of
from edgewise.progress import Progress
from edgewise.tensors import Feeds

_LOG = logging.getLogger(__name__)
_MOST_ROUNDS = 8
_MOST_TRIES = 10  # how many parts of a failed pass are tried
_HIDDEN = "edgewise.hidden"  # the domain of nodes that a pass shall not see
_SWITCHED = "training mode switched off: outputs are those of evaluation from here on"
_KEPT = "outputs that were not asked for"
_OF_NODES = frozenset(one.name for one in PASSES if one.ops)


def trim(
    model: Model,
    feeds: Iterable[Feeds] = (),
    *,
    keep_outputs: Sequence[str] | None = None,
    progress: Progress | None = None,
    passes: Sequence[Pass] = PASSES,
) -> Trimmed:
    """Remove what only training needed, and prove after each change that nothing else changed.

    The original runs on the feeds without optimisations; so does the changed graph. Passes that
    follow each other and promise the same are proved at once, and taken apart where that fails,
    until the one is found that gives other numbers, shapes or types, or does not run. It is tried
    on some of its nodes alone; what fails still is undone and named. Passes are repeated until
    none finds anything.

    Switching off training mode is the one change that means to change outputs. It comes first,
    touches nothing but the flags, and what the network gives then is what all else must give.

    Args:
        model: the network; it stays as it is.
        feeds: inputs to prove with; random ones from a fixed seed unless given.
        keep_outputs: the outputs to keep, such as without those for debugging; all unless given.
        progress: told about each group of passes.
        passes: what to try, in order.

    Raises:
        BadInput: when ``keep_outputs`` names what is no output.
    """
    work = _Work(model)
    if keep_outputs is not None:
        work.keep(keep_outputs)
    work.switch_off_training()
    try:
        with Trial(work.as_model(), tuple(feeds)) as trial:
            _run_all(work, trial, passes, progress)
            return work.result(runs=trial.runs, max_rel=trial.max_rel)
    except NotProvable as reason:
        work.give_up(str(reason))
        return work.result(runs=0, max_rel=0.0)


def _run_all(work: _Work, trial: Trial, passes: Sequence[Pass], progress: Progress | None) -> None:
    groups = [tuple(group) for _, group in groupby(passes, lambda one: one.max_rel)]
    for round_number in range(_MOST_ROUNDS):
        before = work.accepted
        for number, group in enumerate(groups):
            if progress is not None:
                progress(f"trim, round {round_number + 1}", number, len(groups))
            work.attempt(group, trial)
        if work.accepted == before:
            break


class _Grows(Exception):  # noqa: N818 - a verdict, not a mistake
    """A pass would make the file larger."""


@dataclass(slots=True)
class _Work:
    """The network on its way from the original to what is left of it."""

    original: Model
    proved: onnx_ir.Model = field(init=False)
    draft: onnx_ir.Model = field(init=False)
    traits: list[object] = field(init=False)
    ops: frozenset[str] = field(init=False)
    size: tuple[int, int] = field(init=False)
    removed: dict[str, Removal] = field(default_factory=dict)
    undone: dict[str, str] = field(default_factory=dict)
    accepted: int = 0

    def __post_init__(self) -> None:
        self.proved = self.original.ir
        self._draft_anew()

    def keep(self, names: Sequence[str]) -> None:
        """Drop all other outputs, and what only they needed."""
        keep_only(self.draft, names)
        if len(self.draft.graph.outputs) < len(self.proved.graph.outputs):
            drop_unused(self.draft)
            self._accept(self._removal(_KEPT, *self.size))

    def switch_off_training(self) -> None:
        """Change the flags of training, if nothing but flags changes."""
        switch_off_training(self.draft)
        if not self._is_changed():
            return
        if flags_alone_differ(self.proved, self.draft):
            self._accept(self._removal(_SWITCHED, *self.size))
        else:
            self.undone["training mode switched off"] = "more than the flags changed"
            self._draft_anew()

    def attempt(self, group: Sequence[Pass], trial: Trial) -> None:
        """Keep what a group of passes does if it is proved, else what its halves do."""
        wanted = [one for one in group if one.name not in self.undone]
        if not wanted:
            return
        objection = self._try(wanted, trial)
        if objection is None:
            return
        if len(wanted) == 1:
            self._salvage(wanted[0], trial, objection)
            return
        middle = len(wanted) // 2
        self.attempt(wanted[:middle], trial)
        self.attempt(wanted[middle:], trial)

    def _try(
        self, group: Sequence[Pass], trial: Trial, only: Collection[str] | None = None
    ) -> str | None:
        """Apply passes one after the other, prove them at once, and say why that failed."""
        try:
            steps = [step for one in group if (step := self._apply(one, only)) is not None]
            objection = trial.objection(self.draft, group[0].max_rel) if steps else None
        except _Grows as reason:
            objection = str(reason)
        except Exception as error:  # whatever a pass does wrong, the network is safe
            _LOG.info("%s failed", " or ".join(one.name for one in group), exc_info=True)
            objection = f"it failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if objection is not None:
            self._draft_anew()
        elif steps:
            self._accept(*steps)
        return objection

    def _apply(self, one: Pass, only: Collection[str] | None) -> Removal | None:
        """Let a pass change the draft; None where it finds nothing."""
        if one.ops and not one.ops & self.ops:
            return None
        nodes, size_bytes = self.size
        with _hidden(self.draft.graph, one.ops, only):
            one.apply(self.draft)
        if not self._is_changed():
            return None
        drop_unused(self.draft)
        step = self._removal(one.name, nodes, size_bytes)
        _forbid_growth(step)
        return step

    def _salvage(self, one: Pass, trial: Trial, objection: str) -> None:
        """Keep what a failed pass does to some of its nodes, and name what is undone."""
        nodes = [node.name or "" for node in _visible(self.draft.graph, one.ops)]
        parts, undone, tries = _halves(nodes), 0, 0
        while parts:
            part = parts.pop(0)
            tries += 1
            if tries <= _MOST_TRIES and self._try([one], trial, part) is None:
                continue
            smaller = _halves(part) if tries < _MOST_TRIES else []
            parts[:0] = smaller
            undone += 0 if smaller else len(part)
        where = f"at {undone} of {len(nodes)} nodes: " if 0 < undone < len(nodes) else ""
        self.undone[one.name] = f"{where}{objection}"

    def give_up(self, reason: str) -> None:
        """Take everything back."""
        self.proved = self.original.ir
        self.removed.clear()
        self.undone["all trimming"] = reason

    def as_model(self) -> Model:
        """What is proved so far; the original itself while nothing was accepted."""
        if not self.accepted or self.proved is self.original.ir:
            return self.original
        made = make_model(self.proved, name=self.original.name)
        return replace(
            made,
            changes=self.original.changes,
            made_from=self.original.origin,
            custom_ops=self.original.custom_ops,
        )

    def result(self, *, runs: int, max_rel: float) -> Trimmed:
        """What came of it; the original where nothing went that is worth a word."""
        removed = tuple(filter(_says_enough, self.removed.values()))
        if not removed:
            self.proved = self.original.ir
        step = Trim(
            removed=removed,
            undone=tuple(Undone(what=what, reason=why) for what, why in self.undone.items()),
            nodes_before=node_count(self.original.ir),
            nodes_after=node_count(self.proved),
            bytes_before=weight_bytes(self.original.ir.graph),
            bytes_after=weight_bytes(self.proved.graph),
            max_rel=max_rel,
            runs=runs,
        )
        return Trimmed(model=self.as_model(), step=step)

    def _removal(self, what: str, nodes: int, size_bytes: int) -> Removal:
        """What has gone since the draft had so many nodes and bytes of weights."""
        self._look()
        return Removal(what=what, nodes=nodes - self.size[0], bytes=size_bytes - self.size[1])

    def _accept(self, *steps: Removal) -> None:
        for step in steps:
            old = self.removed.get(step.what, Removal(what=step.what, nodes=0, bytes=0))
            self.removed[step.what] = replace(
                step, nodes=old.nodes + step.nodes, bytes=old.bytes + step.bytes
            )
        self.proved = self.draft
        self.accepted += 1
        self._draft_anew()

    def _draft_anew(self) -> None:
        self.draft = copy_of(self.proved)
        self._look()

    def _look(self) -> None:
        """Remember what the draft looks like now."""
        self.traits = _traits(self.draft)
        self.ops = frozenset(node.op_type for node in RecursiveGraphIterator(self.draft.graph))
        self.size = (node_count(self.draft), weight_bytes(self.draft.graph))

    def _is_changed(self) -> bool:
        return _traits(self.draft) != self.traits


def _says_enough(step: Removal) -> bool:
    """Whether something went: rewired nodes alone, which a later pass may need, are nothing."""
    return bool(step.nodes or step.bytes) or step.what not in _OF_NODES


def _forbid_growth(step: Removal) -> None:
    nodes, size_bytes = -step.nodes, -step.bytes
    if nodes > 0:
        raise _Grows(f"it needs {nodes} more node{'s' if nodes > 1 else ''}")
    if size_bytes + nodes * NODE_BYTES > 0:
        raise _Grows(f"it needs {size_bytes} more bytes of weights")


def _visible(graph: onnx_ir.Graph, ops: Collection[str]) -> list[onnx_ir.Node]:
    return [node for node in graph if node.domain == "" and node.op_type in ops]


@contextmanager
def _hidden(
    graph: onnx_ir.Graph, ops: Collection[str], only: Collection[str] | None
) -> Iterator[None]:
    """Put the nodes of these operators that are not among ``only`` where no pass looks."""
    found = () if only is None else _visible(graph, ops)
    hidden = [node for node in found if node.name not in (only or ())]
    for node in hidden:
        node.domain = _HIDDEN
    try:
        yield
    finally:
        for node in hidden:
            node.domain = ""


def _halves(names: Sequence[str]) -> list[Sequence[str]]:
    middle = len(names) // 2
    return [names[:middle], names[middle:]] if middle else []


def _traits(ir: onnx_ir.Model) -> list[object]:
    """All that a pass may change; equal only for the same graph as long as it is unchanged."""
    graph = ir.graph
    border = [(value.name, str(value.type), str(value.shape)) for value in _border(graph)]
    weights = [(name, id(value.const_value)) for name, value in graph.initializers.items()]
    return [*ir.metadata_props.items(), *border, *weights, *_rows(graph)]


def _border(graph: onnx_ir.Graph) -> tuple[onnx_ir.Value, ...]:
    return (*graph.inputs, *graph.outputs)


def _rows(graph: onnx_ir.Graph) -> Iterator[object]:
    for node in graph:
        listed = node.attributes.values() if node.attributes else ()
        attributes = tuple(filter(_says_something, listed))
        yield node, node.domain, node.op_type, _taken(node), node.outputs, attributes
        for body in subgraphs_of(node) if attributes else ():
            yield _border(body)
            yield from _rows(body)


def _says_something(attribute: onnx_ir.Attr) -> bool:
    return attribute.name != "training_mode" or bool(attribute.value)


def _taken(node: onnx_ir.Node) -> Sequence[onnx_ir.Value | None]:
    """The inputs; whether those left out at the end are listed makes no difference."""
    inputs = node.inputs
    while inputs and inputs[-1] is None:
        inputs = inputs[:-1]
    return inputs
