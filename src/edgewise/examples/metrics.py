"""What can be measured on examples: one type, found by name."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import numpy as np

from edgewise.errors import BadInput
from edgewise.examples.custom import load_function, own_statistic
from edgewise.examples.deciding import (
    agreement_statistic,
    f1_statistic,
    macro_f1_statistic,
    top_k_statistic,
)
from edgewise.examples.distances import absolute_error_statistic, cosine_statistic, kl_statistic
from edgewise.examples.example_set import Examples, Label
from edgewise.examples.intervals import Unit
from edgewise.examples.ranking import recall_statistic, spearman_statistic
from edgewise.examples.weighting import Statistic, observed
from edgewise.tensors import Array

_RECALL = re.compile(r"recall@([1-9][0-9]{0,5})")


class Target(enum.StrEnum):
    """What a metric compares outputs with."""

    CLASSES = "classes"  # a class index per example
    GROUPS = "groups"  # any label per example; equal ones belong together
    NUMBERS = "numbers"  # a number per example
    LABELS = "labels"  # the labels as they are
    REFERENCE = "reference"  # the outputs of the network that is replaced; no labels needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure of merit of a network's outputs.

    Args:
        name: by which :func:`metric` finds it.
        target: what the outputs are compared with.
        unit: of the figure.
        higher_is_better: whether more is better.
        counts: whether each example is simply right or wrong.
        groups: what each example belongs to, if intervals draw by it; see :meth:`drawn_by`.
        statistic: the figure from outputs and target, for any weights of the examples.

    >>> metric("top1")(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """

    name: str
    target: Target
    unit: Unit = Unit.SHARE
    higher_is_better: bool = True
    counts: bool = False
    groups: tuple[Hashable, ...] | None = None
    statistic: Callable[[Array, Array], Statistic]

    def __call__(self, outputs: Array, target: Array) -> float:
        """The figure on all examples.

        Args:
            outputs: one row per example.
            target: see :meth:`target_for`.

        Raises:
            BadInput: when the two do not fit each other or the metric, or it is not defined.
        """
        return observed(self.statistic(outputs, target), len(outputs), self.name)

    def drawn_by(self, groups: Sequence[Hashable]) -> Metric:
        """The same metric; its intervals draw examples of one group together, as they are alike.

        Metrics that compare with groups, such as recall, do so by themselves.

        Args:
            groups: what each example belongs to, such as ``examples.labels``.
        """
        return replace(self, groups=tuple(groups))

    def target_for(
        self,
        examples: Examples,
        *,
        classes: Sequence[str] = (),
        reference: Array | None = None,
    ) -> Array:
        """What outputs on ``examples`` are to be compared with.

        Args:
            examples: with labels, if the metric needs them.
            classes: the model's class names in order of its outputs, for labels that are names.
            reference: outputs of the network that is replaced, for metrics that need no labels.

        Raises:
            BadInput: when labels or outputs are missing, or are not what the metric needs.
        """
        if self.target is Target.REFERENCE:
            return _reference(reference, self.name)
        if self.target is Target.CLASSES:
            return np.array(examples.class_indices(classes), np.int64)
        _check_labelled(examples, self.name)
        return _TARGETS[self.target](examples)


def metric(name: str) -> Metric:
    """A metric by name: one of :data:`METRICS`, ``recall@K``, or your ``module:function``.

    Raises:
        BadInput: on another name, listing these; or when a function cannot be loaded.

    >>> metric("kl").higher_is_better
    False
    """
    if name in METRICS:
        return METRICS[name]
    recall = _RECALL.fullmatch(name)
    if recall:
        return _recall(int(recall[1]))
    if ":" in name:
        return load_metric(name)
    raise BadInput(
        expected=f"one of the metrics {', '.join(METRICS)}, recall@K or module:function",
        found=repr(name)[:60],
        remedy="choose one of them",
    )


def load_metric(source: str) -> Metric:
    """A metric of your own, such as ``scores:accuracy`` for ``accuracy`` in ``scores.py``.

    The function takes the outputs (one row per example) and the labels as arrays and returns a
    number. It may have the attributes ``higher_is_better`` (default true) and ``target``: one of
    ``labels`` (default), ``classes``, ``groups``, ``numbers``, or ``reference`` for the outputs
    of the network that is replaced in place of labels.

    Args:
        source: module and function; the module is looked for in the working folder first. Its
            code is run.

    Raises:
        BadInput: when there is no such module or function, or the module fails.

    >>> load_metric("statistics:fmean").target.value
    'labels'
    """
    function = load_function(source)
    target = getattr(function, "target", Target.LABELS.value)
    if target not in set(Target):
        raise BadInput(
            expected=f"the attribute target of {source} as one of {', '.join(Target)}",
            found=repr(target)[:60],
            remedy="correct it",
        )
    return Metric(
        name=source,
        target=Target(target),
        unit=Unit.PLAIN,
        higher_is_better=bool(getattr(function, "higher_is_better", True)),
        statistic=own_statistic(function, source),
    )


def _recall(k: int) -> Metric:
    return Metric(
        name=f"recall@{k}",
        target=Target.GROUPS,
        statistic=partial(recall_statistic, k=k),
    )


_ALL = (
    Metric(
        name="top1", target=Target.CLASSES, counts=True, statistic=partial(top_k_statistic, k=1)
    ),
    Metric(
        name="top5", target=Target.CLASSES, counts=True, statistic=partial(top_k_statistic, k=5)
    ),
    Metric(name="agreement", target=Target.REFERENCE, counts=True, statistic=agreement_statistic),
    Metric(
        name="kl",
        target=Target.REFERENCE,
        unit=Unit.NATS,
        higher_is_better=False,
        statistic=kl_statistic,
    ),
    Metric(name="cosine", target=Target.REFERENCE, unit=Unit.PLAIN, statistic=cosine_statistic),
    _recall(1),
    Metric(
        name="spearman", target=Target.REFERENCE, unit=Unit.PLAIN, statistic=spearman_statistic
    ),
    Metric(name="f1", target=Target.CLASSES, statistic=f1_statistic),
    Metric(name="f1_macro", target=Target.CLASSES, statistic=macro_f1_statistic),
    Metric(
        name="mae",
        target=Target.NUMBERS,
        unit=Unit.LABEL,
        higher_is_better=False,
        statistic=absolute_error_statistic,
    ),
)
METRICS: Mapping[str, Metric] = MappingProxyType({one.name: one for one in _ALL})


def _reference(reference: Array | None, name: str) -> Array:
    if reference is None:
        raise BadInput(
            expected=f"outputs of the original network to compare with, for the metric {name!r}",
            found="none",
            remedy="run the original on the same examples and pass its outputs",
        )
    return reference


def _check_labelled(examples: Examples, name: str) -> None:
    unlabelled = next((i for i, label in enumerate(examples.labels) if label is None), None)
    if unlabelled is not None:
        raise BadInput(
            expected=f"a label for every example, for the metric {name!r}",
            found=f"none for {examples.names[unlabelled]}",
            remedy="add labels, or use a metric without: agreement, kl, cosine, spearman",
        )


def _groups(examples: Examples) -> Array:
    places: dict[Label | None, int] = {}
    return np.array([places.setdefault(label, len(places)) for label in examples.labels])


def _numbers(examples: Examples) -> Array:
    for label, name in zip(examples.labels, examples.names, strict=True):
        if not isinstance(label, int | float) or not math.isfinite(label):
            raise BadInput(
                expected=f"a number as the label of {name}",
                found=repr(label)[:60],
                remedy="correct the label, or use a metric for classes such as top1",
            )
    return np.array(examples.labels, np.float64)


def _labels(examples: Examples) -> Array:
    kinds = {type(label) for label in examples.labels}
    mixed = str in kinds and len(kinds) > 1
    return np.array(examples.labels, dtype=object if mixed else None)


_TARGETS: Mapping[Target, Callable[[Examples], Array]] = MappingProxyType(
    {Target.GROUPS: _groups, Target.NUMBERS: _numbers, Target.LABELS: _labels}
)
