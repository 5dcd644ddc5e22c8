"""Each metric beside scipy's, or its formula written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import entropy, spearmanr

from edgewise.errors import BadInput
from edgewise.examples import cosine_similarity, kl_divergence, metric
from edgewise.tensors import Array

SEEDS = st.integers(0, 2**32 - 1)


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def scores(seed: int, *shape: int) -> Array:
    """With ties, as INT8 outputs have them."""
    return random(seed).integers(-6, 7, shape).astype(np.float32) / 2


@given(SEEDS, st.integers(1, 20), st.integers(1, 9))
def test_top_k_counts_labels_among_the_k_first_of_a_stable_sort(
    seed: int, n: int, classes: int
) -> None:
    outputs = scores(seed, n, classes)
    labels = random(seed).integers(0, classes, n)
    order = np.argsort(-outputs, axis=1, kind="stable")
    for name, k in (("top1", 1), ("top5", 5)):
        expected = (order[:, :k] == labels[:, np.newaxis]).any(axis=1).mean()
        assert metric(name)(outputs, labels) == pytest.approx(expected)


def test_agreement_is_the_share_of_equal_decisions() -> None:
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.4]])
    assert metric("agreement")(outputs, outputs[[0, 0, 2]]) == pytest.approx(2 / 3)


@given(SEEDS)
def test_kl_is_of_the_reference_from_the_outputs(seed: int) -> None:
    outputs, reference = random(seed).normal(size=(2, 4, 6))
    p, q = np.exp(log_softmax(reference, axis=1)), np.exp(log_softmax(outputs, axis=1))
    np.testing.assert_allclose(kl_divergence(outputs, reference), entropy(p.T, q.T), atol=1e-12)
    np.testing.assert_allclose(kl_divergence(q, p), entropy(p.T, q.T), atol=1e-9)
    assert metric("kl")(outputs, reference) == pytest.approx(entropy(p.T, q.T).mean())


def test_kl_detects_probabilities_or_is_told() -> None:
    p, q = np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])
    expected = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    assert kl_divergence(q, p) == pytest.approx([expected])
    as_logits = entropy(np.exp(log_softmax(p[0])), np.exp(log_softmax(q[0])))
    assert kl_divergence(q, p, probabilities=False) == pytest.approx([as_logits])
    assert kl_divergence(2 * q, 2 * p, probabilities=True) == pytest.approx([expected])
    with pytest.raises(BadInput, match="probabilities, found a negative number"):
        kl_divergence(-q, p)


def test_kl_of_a_class_that_the_outputs_rule_out_is_finite() -> None:
    p, q = np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])
    assert kl_divergence(q, p) == pytest.approx([0.5 * np.log(0.25) + 0.5 * 12 * np.log(10)])
    logits = np.array([[1e4, -1e4]])
    assert kl_divergence(-logits, logits) == pytest.approx([2e4])


def test_kl_averages_over_positions() -> None:
    outputs, reference = random(0).normal(size=(2, 3, 5, 4))
    each = [kl_divergence(outputs[:, i], reference[:, i]) for i in range(5)]
    np.testing.assert_allclose(kl_divergence(outputs, reference), np.mean(each, axis=0))


def test_cosine_takes_each_example_as_one_vector() -> None:
    a, b = random(1).normal(size=(2, 3, 2, 5)).astype(np.float32)
    expected = [
        np.dot(x.ravel(), y.ravel()) / np.linalg.norm(x) / np.linalg.norm(y)
        for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(cosine_similarity(a, b), expected, rtol=1e-6)
    assert metric("cosine")(a, b) == pytest.approx(np.mean(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0], [0, 0], 1),
        ([0, 0], [1, 0], 0),
        ([1e300, 1e300], [1e300, 1e300], 1),
        ([1e-300, 0], [1e300, 0], 1),
        ([1, 2], [-2, -4], -1),
    ],
)
def test_cosine_of_extreme_vectors(a: list[float], b: list[float], expected: float) -> None:
    found = cosine_similarity(np.array([a], np.float64), np.array([b], np.float64))
    assert found == pytest.approx([expected])


@given(SEEDS, st.integers(4, 12), st.sampled_from([1, 2, 3]))
def test_recall_looks_at_the_k_nearest_others(seed: int, n: int, k: int) -> None:
    rows = random(seed).normal(size=(n, 4))
    groups = random(seed).permutation(np.arange(n) // 3)  # the last group may be of one
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    hits = []
    for i in range(n):
        others = sorted((j for j in range(n) if j != i), key=lambda j: -unit[i] @ unit[j])
        if (groups == groups[i]).sum() > 1:
            hits.append(any(groups[j] == groups[i] for j in others[:k]))
    assert metric(f"recall@{k}")(rows, groups) == pytest.approx(np.mean(hits))


def test_recall_takes_the_first_of_equal_neighbours_whatever_their_last_bits() -> None:
    row = random(3).normal(size=(1, 384)).astype(np.float32)
    rows = np.concatenate([row * scale for scale in (1, 3, 0.1, 7, 0.3)])
    # Each one's first neighbour is example 0, and that one's is example 1.
    assert metric("recall@1")(rows, np.array([0, 1, 0, 1, 0])) == 2 / 5


def test_recall_over_many_chunks() -> None:
    groups = np.repeat(np.arange(300), 2)
    rows = random(3).normal(size=(300, 16))[groups] + 0.01 * random(4).normal(size=(600, 16))
    assert metric("recall@1")(rows, groups) == 1.0
    assert metric("recall@1")(rows, random(5).permutation(groups)) < 0.05


@given(SEEDS, st.integers(4, 9))
def test_spearman_is_scipys_over_all_pairs(seed: int, n: int) -> None:
    a, b = scores(seed, n, 3) + 0.25, scores(seed + 1, n, 3) + 0.25
    assert metric("spearman")(a, b) == pytest.approx(expected_spearman(a, b, range(n)))


@given(SEEDS, st.integers(4, 8))
def test_spearman_of_a_resample_is_that_of_the_repeated_pairs(seed: int, n: int) -> None:
    a, b = scores(seed, n, 3) + 0.25, scores(seed + 1, n, 3) + 0.25
    drawn = random(seed).integers(0, n, n)
    if len(set(drawn.tolist())) < 3:
        return
    weights = np.bincount(drawn, minlength=n).astype(np.float64)[np.newaxis]
    (found,) = metric("spearman").statistic(a, b)(weights)
    expected = expected_spearman(a, b, drawn)
    assert found == pytest.approx(expected, nan_ok=True)


def expected_spearman(a: Array, b: Array, drawn: object) -> float:
    rows = list(drawn)  # type: ignore[call-overload]
    pairs = [(i, j) for x, i in enumerate(rows) for j in rows[x + 1 :] if i != j]
    i, j = np.array([sorted(pair) for pair in pairs]).T
    sides = []
    for x in (a, b):
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        sides.append(np.round((unit[i].astype(float) * unit[j]).sum(axis=1), 6))
    if min(np.ptp(side) for side in sides) == 0:
        return float("nan")
    return float(spearmanr(*sides).statistic)


def f1_of(decided: Array, labels: Array, one: int) -> float:
    both = np.sum((decided == one) & (labels == one))
    either = np.sum(decided == one) + np.sum(labels == one)
    return float(2 * both / either) if either else 0.0


@given(SEEDS, st.integers(1, 30), st.integers(2, 6))
def test_f1_macro_is_the_mean_over_classes_that_occur(seed: int, n: int, classes: int) -> None:
    outputs = scores(seed, n, classes)
    labels = random(seed).integers(0, classes, n)
    decided = outputs.argmax(axis=1)
    occurring = set(decided.tolist()) | set(labels.tolist())
    expected = np.mean([f1_of(decided, labels, one) for one in occurring])
    assert metric("f1_macro")(outputs, labels) == pytest.approx(expected)
    if classes == 2:
        assert metric("f1")(outputs, labels) == pytest.approx(f1_of(decided, labels, 1))


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([[2.0], [-1.0], [0.3], [-0.2]], 0.5),  # logits, at 0
        ([0.9, 0.1, 0.6, 0.4], 0.5),  # probabilities, at 0.5
        ([0.1, 0.1, 0.1, 0.1], 0.0),  # nothing is found
        ([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], 1.0),
    ],
)
def test_f1_of_one_or_two_columns(outputs: object, expected: float) -> None:
    assert metric("f1")(np.array(outputs), np.array([1, 0, 0, 1])) == expected


def test_mae_over_one_number_or_many() -> None:
    labels = np.array([1.0, 2.0])
    assert metric("mae")(np.array([1.5, 4.0]), labels) == 1.25
    assert metric("mae")(np.array([[1.5], [4.0]], np.float32), labels) == 1.25
    assert metric("mae")(np.ones((2, 4)), np.zeros((2, 4))) == 1.0


ROWS = np.eye(4)
CLASSES = np.arange(4)


@pytest.mark.parametrize(
    ("name", "outputs", "target", "words"),
    [
        ("top1", ROWS, CLASSES[:3], "found 4 and 3"),
        ("top1", ROWS, CLASSES + 1, "indices from 0 to 3, found 4"),
        ("top1", ROWS, CLASSES - 1, "indices from 0 to 3, found -1"),
        ("top1", ROWS, CLASSES / 2, "class indices .* found float64"),
        ("top1", ROWS[0], CLASSES, "examples x classes"),
        ("top1", ROWS.astype(complex), CLASSES, "found complex128"),
        ("top5", np.where(ROWS, np.nan, 0), CLASSES, "found NaN"),
        ("agreement", ROWS, ROWS[:2], "found 4 and 2"),
        ("kl", ROWS, ROWS[:, :3], r"one shape, \[4, 3\], found \[4, 4\]"),
        ("kl", ROWS, ROWS[:3], "found 4 and 3"),
        ("kl", ROWS[:, :1], ROWS[:, :1], "two classes or more, found one column"),
        ("cosine", ROWS, ROWS[:3], "found 4 and 3"),
        ("cosine", np.where(ROWS, np.inf, 0), ROWS, "finite numbers, found NaN or infinity"),
        ("cosine", np.array(["a"]), np.array(["b"]), "real numbers"),
        ("recall@1", ROWS, CLASSES, "alone in its group"),
        ("recall@4", ROWS, CLASSES // 2, "k from 1 to 3, .* found 4"),
        ("recall@1", ROWS, CLASSES[:3], "found 4 and 3"),
        ("spearman", ROWS[:2], ROWS[:2], "3 to 3000 examples .* found 2"),
        ("spearman", np.zeros((3001, 1)), np.zeros((3001, 1)), "found 3001"),
        ("spearman", ROWS, ROWS, "finite number from the metric 'spearman', found nan"),
        ("f1", ROWS, CLASSES, "one column, .* found 4 columns; use the metric f1_macro"),
        ("f1", ROWS[:, :2], CLASSES, "indices from 0 to 1, found 2"),
        ("f1_macro", ROWS, CLASSES + 1, "indices from 0 to 3, found 4"),
        ("mae", ROWS, CLASSES, "1 numbers of a label, found 4 outputs"),
        ("mae", ROWS[:, 0], CLASSES[:2], "found 4 and 2"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    name: str, outputs: Array, target: Array, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        metric(name)(outputs, target)
