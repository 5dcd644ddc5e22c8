"""Parts that never share an example."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.errors import BadInput
from edgewise.examples import Examples, Split
from edgewise.tensors import Array


@dataclass(frozen=True)
class Rows:
    def feeds(self, row: int) -> dict[str, Array]:
        return {"x": np.full((1, 1), row)}


def examples(keys: list[str], labels: list[int | str | None] | None = None) -> Examples:
    return Examples(
        names=tuple(f"n{i}" for i in range(len(keys))),
        labels=tuple(labels or [None] * len(keys)),
        keys=tuple(keys),
        rows=tuple(range(len(keys))),
        source=Rows(),
    )


def parts(split: Split) -> tuple[Examples, Examples, Examples]:
    return split.calibrate, split.select, split.report


@given(
    st.lists(st.integers(0, 40).map(str), min_size=3, max_size=60),
    st.floats(0.05, 0.45),
    st.floats(0.05, 0.45),
    st.integers(0, 5),
)
def test_parts_are_disjoint_complete_and_deterministic(
    keys: list[str], calibrate: float, select: float, seed: int
) -> None:
    whole = examples(keys)
    try:
        split = whole.split(calibrate=calibrate, select=select, seed=seed)
    except BadInput as refusal:
        assert "three parts" in str(refusal)  # noqa: PT017 - few contents may not give three
        return
    rows = [set(part.rows) for part in parts(split)]
    contents = [set(part.keys) for part in parts(split)]
    for i in range(3):
        assert rows[i]
        assert rows[i].isdisjoint(rows[i - 1])
        assert contents[i].isdisjoint(contents[i - 1])
    assert set.union(*rows) == set(whole.rows)
    assert whole.split(calibrate=calibrate, select=select, seed=seed) == split


def test_shares_are_kept_when_all_contents_differ() -> None:
    split = examples([str(i) for i in range(100)]).split(calibrate=0.2, select=0.3)
    assert [len(part) for part in parts(split)] == [20, 30, 50]


def test_another_seed_gives_other_parts() -> None:
    whole = examples([str(i) for i in range(100)])
    assert whole.split(seed=0) != whole.split(seed=1)


def test_parts_do_not_depend_on_the_order_of_reading() -> None:
    keys = [str(i) for i in range(50)]
    forward = parts(examples(keys).split())
    backward = parts(examples(keys[::-1]).split())
    for one, other in zip(forward, backward, strict=True):
        assert set(one.keys) == set(other.keys)


def test_a_part_feeds_its_own_rows() -> None:
    report = examples([str(i) for i in range(10)], list(range(10))).split().report
    assert [feeds["x"].item() for feeds in report] == list(report.rows) == list(report.labels)
    assert report.feeds(0)["x"].item() == report.rows[0]
    assert report.names[0] == f"n{report.rows[0]}"


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_examples_are_refused(count: int) -> None:
    with pytest.raises(BadInput, match=f"three parts, found {count} different of {count}"):
        examples([str(i) for i in range(count)]).split()


def test_copies_of_one_photo_are_refused() -> None:
    with pytest.raises(BadInput, match="found 1 different of 9"):
        examples(["same"] * 9).split()


@pytest.mark.parametrize("shares", [(0.0, 0.5), (0.5, 0.5), (-0.1, 0.2), (float("nan"), 0.2)])
def test_shares_that_leave_nothing_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(BadInput, match="shares above 0"):
        examples(["a", "b", "c"]).split(calibrate=shares[0], select=shares[1])


def test_labels_become_class_indices() -> None:
    mixed = examples(["a", "b"], ["tench", 0])
    assert mixed.class_indices(["shark", "tench"]) == (1, 0)
    assert examples(["a"], [7]).class_indices() == (7,)


@pytest.mark.parametrize(
    ("label", "classes", "words"),
    [
        (None, ["shark"], "one of the model's 1 classes as the label of n0, found no label"),
        ("whale", ["shark"], "found 'whale'"),
        ("shark", [], "a class index"),
        (1, ["shark"], "found 1"),
        (-1, [], "found -1"),
    ],
)
def test_a_label_that_is_no_class_is_refused(
    label: int | str | None, classes: list[str], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        examples(["a"], [label]).class_indices(classes)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), min_size=1, max_size=60),
    st.integers(2, 6),
    st.floats(0.01, 0.99),
    st.integers(0, 3),
)
def test_every_example_is_reported_once_by_a_fold_that_never_saw_it_or_a_copy(
    drawn: list[tuple[int, int]], k: int, calibrate: float, seed: int
) -> None:
    whole = examples([str(key) for key, _ in drawn], [label for _, label in drawn])
    different = len(set(whole.keys))
    try:
        folds = whole.folds(k, calibrate=calibrate, seed=seed)
    except BadInput as refusal:
        assert f"different examples for {k} of them" in str(refusal)  # noqa: PT017 - too few
        assert different < k or different - -(-different // k) < 2
        return
    assert len(folds) == k
    reported = [row for fold in folds for row in fold.report.rows]
    assert sorted(reported) == list(whole.rows)
    for fold in folds:
        contents = [set(part.keys) for part in parts(fold)]
        assert all(contents)
        assert contents[0].isdisjoint(contents[1])
        assert (contents[0] | contents[1]).isdisjoint(contents[2])
        assert sum(len(part) for part in parts(fold)) == len(whole)
    assert whole.folds(k, calibrate=calibrate, seed=seed) == folds


def test_folds_are_equally_large_and_have_every_label() -> None:
    labels: list[int | str | None] = [i % 7 for i in range(105)]
    for fold in examples([str(i) for i in range(105)], labels).folds(5):
        assert [len(part) for part in parts(fold)] == [34, 50, 21]
        assert sorted(fold.report.labels) == sorted(list(range(7)) * 3)
        assert set(fold.calibrate.labels) == set(fold.select.labels) == set(range(7))


def test_folds_follow_the_seed_but_not_the_order_of_reading() -> None:
    keys, labels = [str(i) for i in range(40)], [f"c{i // 2}" for i in range(40)]
    forward = examples(keys, list(labels)).folds(4)
    backward = examples(keys[::-1], list(labels[::-1])).folds(4)
    for one, other in zip(forward, backward, strict=True):
        for left, right in zip(parts(one), parts(other), strict=True):
            assert set(left.keys) == set(right.keys)
    assert examples(keys, list(labels)).folds(4, seed=1) != forward


def test_folds_of_one_example_per_label_follow_the_seed() -> None:
    whole = examples([str(i) for i in range(20)], [f"c{i}" for i in range(20)])
    assert whole.folds(seed=0) != whole.folds(seed=1)


@pytest.mark.parametrize(("k", "count"), [(1, 9), (0, 9), (5, 4), (2, 2), (2, 3)])
def test_folds_of_too_few_are_refused(k: int, count: int) -> None:
    with pytest.raises(BadInput, match=f"for {k} of them, found {count} different of {count}"):
        examples([str(i) for i in range(count)]).folds(k)


@pytest.mark.parametrize("calibrate", [0.0, 1.0, -1.0, float("nan")])
def test_folds_need_a_share_to_calibrate(calibrate: float) -> None:
    with pytest.raises(BadInput, match="a share for calibrating between 0 and 1"):
        examples(["a", "b", "c"]).folds(3, calibrate=calibrate)


def test_a_class_index_beyond_any_model_is_refused() -> None:
    with pytest.raises(BadInput, match="a class index as the label of n0"):
        examples(["a"], [2**40]).class_indices()
