"""Metrics by name, what they are compared with, and a user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgewise.errors import BadInput
from edgewise.examples import METRICS, Examples, Label, Target, estimate, load_metric, metric
from edgewise.tensors import Array

OUTPUTS = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])


class Nothing:
    def feeds(self, row: int) -> dict[str, Array]:
        raise AssertionError(row)

    def pixels(self, row: int) -> None:
        raise AssertionError(row)


def labelled(*labels: Label | None) -> Examples:
    names = tuple(f"n{i}" for i in range(len(labels)))
    return Examples(
        names=names, labels=labels, keys=names, rows=tuple(range(len(labels))), source=Nothing()
    )


def test_names_and_directions() -> None:
    assert all(metric(name).name == name for name in METRICS)
    assert {name for name in METRICS if not METRICS[name].higher_is_better} == {"kl", "mae"}
    assert metric("recall@17").name == "recall@17"


@pytest.mark.parametrize("name", ["", "top2", "recall@0", "recall@", "recall@9999999", "TOP1"])
def test_an_unknown_name_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(BadInput, match=r"top1, top5, .*, mae, recall@K or module:function"):
        metric(name)


def test_class_names_become_the_models_indices() -> None:
    target = metric("top1").target_for(labelled("dog", "cat", 1), classes=["cat", "dog"])
    assert target.tolist() == [1, 0, 1]
    assert metric("top1")(OUTPUTS, target) == pytest.approx(1 / 3)


def test_any_labels_are_groups() -> None:
    target = metric("recall@1").target_for(labelled("a", 1, "a", 2.5, 1))
    assert target.tolist() == [0, 1, 0, 2, 1]


def test_scores_are_numbers() -> None:
    target = metric("mae").target_for(labelled(1, 2.5, -3))
    assert target.tolist() == [1, 2.5, -3]
    assert target.dtype == np.float64


def test_a_reference_needs_no_labels() -> None:
    found = metric("agreement").target_for(labelled(None, None, None), reference=OUTPUTS)
    assert found is OUTPUTS


@pytest.mark.parametrize(
    ("name", "labels", "words"),
    [
        ("top1", ("x",), "one of the model's 2 classes as the label of n0"),
        ("top1", (None,), "found no label"),
        ("top5", (1.0,), "found 1.0"),
        ("top1", (2,), "found 2"),
        ("recall@1", ("a", None), "a label for every example, .*'recall@1', found none for n1"),
        ("mae", ("a",), "a number as the label of n0, found 'a'"),
        ("mae", (float("nan"),), "a number as the label of n0"),
        ("kl", (1,), "outputs of the original network .*'kl', found none"),
    ],
)
def test_labels_that_a_metric_cannot_use_are_refused(
    name: str, labels: tuple[Label | None, ...], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        metric(name).target_for(labelled(*labels), classes=["cat", "dog"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return name


def test_a_metric_of_ones_own_comes_from_the_working_folder(folder: Path) -> None:
    write(
        folder,
        "own_scores",
        "def worst(outputs, labels):\n"
        "    return abs(outputs[:, 1] - labels).max()\n"
        "worst.higher_is_better = False\n"
        "worst.target = 'numbers'\n"
        "def shown(outputs, labels):\n"
        "    return sum(label == 'cat' for label in labels)\n",
    )
    worst = metric("own_scores:worst")
    assert (worst.name, worst.higher_is_better, worst.target) == (
        "own_scores:worst",
        False,
        Target.NUMBERS,
    )
    target = worst.target_for(labelled(0, 1, 0))
    assert worst(OUTPUTS, target) == pytest.approx(0.6)
    found = estimate(worst, OUTPUTS, target, rng=np.random.default_rng(0), resamples=100)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.6)
    shown = load_metric("own_scores:shown")
    assert shown(OUTPUTS, shown.target_for(labelled("cat", 3, "cat"))) == 2
    assert shown.target_for(labelled("cat", "dog", "cat")).dtype.kind == "U"
    assert str(folder) not in sys.path


def test_resamples_that_a_metric_cannot_take_are_left_out(folder: Path) -> None:
    write(
        folder,
        "own_strict",
        "def spread(outputs, labels):\n"
        "    if len(set(labels.tolist())) == 1:\n"
        "        raise ValueError('one class only')\n"
        "    return outputs[labels == 1, 0].mean() - outputs[labels == 0, 0].mean()\n",
    )
    outputs, labels = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])
    found = estimate(
        load_metric("own_strict:spread"), outputs, labels, rng=np.random.default_rng(0)
    )
    assert found.low < found.mid == 2 < found.high


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("own_bad", "one of the metrics"),
        ("own_bad:", "as module:function, found 'own_bad:'"),
        (":f", "as module:function"),
        ("a:b:c", "as module:function"),
        ("../own:f", "as module:function"),
        ("own_nowhere:f", "a module 'own_nowhere' in .* found none; run in the folder"),
        ("own_nowhere.deeper:f", "a module 'own_nowhere.deeper' in .*of own_nowhere.py"),
        (
            "own_bad:missing",
            "a function 'missing' in the module 'own_bad', found none in .*own_bad.py",
        ),
        ("own_bad:NUMBER", "found a value of type int"),
        ("own_bad:aimless", "target of own_bad:aimless as one of .* found 'stars'"),
        ("own_import:f", "'own_import' to work, found ModuleNotFoundError: No module named 'own_"),
        ("own_exit:f", "'own_exit' to work, found SystemExit: 3"),
        ("own_syntax:f", "'own_syntax' to work, found SyntaxError"),
    ],
)
def test_a_metric_that_cannot_be_loaded_is_refused(folder: Path, source: str, words: str) -> None:
    write(folder, "own_bad", "NUMBER = 3\ndef aimless(a, b): ...\naimless.target = 'stars'\n")
    write(folder, "own_import", "import own_nothing_of_the_kind\n")
    write(folder, "own_exit", "raise SystemExit(3)\n")
    write(folder, "own_syntax", "def f(:\n")
    with pytest.raises(BadInput, match=words):
        metric(source)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", r"own_values:raises to work, found ValueError: first line; correct the code"),
        ("leaves", "to work, found SystemExit: 2"),
        ("text", "a finite number from the metric own_values:text, found 'good'"),
        ("nan", "found nan"),
        ("several", r"found array\(\[1, 2\]\)"),
        ("nothing", "found None"),
        ("huge", "found 1000000"),
    ],
)
def test_a_metric_that_gives_no_number_is_refused(folder: Path, name: str, words: str) -> None:
    write(
        folder,
        "own_values",
        "import numpy as np\n"
        "def raises(a, b): raise ValueError('first line\\nsecond line')\n"
        "def leaves(a, b): raise SystemExit(2)\n"
        "def text(a, b): return 'good'\n"
        "def nan(a, b): return float('nan')\n"
        "def several(a, b): return np.array([1, 2])\n"
        "def nothing(a, b): return None\n"
        "def huge(a, b): return 10**400\n",
    )
    with pytest.raises(BadInput, match=words) as refused:
        metric(f"own_values:{name}")(OUTPUTS, np.arange(3))
    assert "second line" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_metric_of_ones_own_gets_as_many_labels_as_outputs(folder: Path) -> None:
    write(folder, "own_counted", "def f(a, b): return 1\n")
    with pytest.raises(BadInput, match="found 3 and 2"):
        metric("own_counted:f")(OUTPUTS, np.arange(2))
