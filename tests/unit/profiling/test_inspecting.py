"""What is found out about a network, and what is said where nothing can be."""

from __future__ import annotations

import pytest

import inspected
from edgewise.errors import BadInput
from edgewise.graphs import Model, load
from edgewise.profiling import Profile, count, find_peak, inspect
from edgewise.profiling.inspecting import ASSUMED_AXIS


def test_open_axes_are_assumed_and_said() -> None:
    found = inspect(load(inspected.words()))
    assert found.axes == {"words": ASSUMED_AXIS}
    assert found.assumed == ("words",)
    assert found.input_bytes == 8 * ASSUMED_AXIS
    cuts = {cut.cut.name: cut.bytes for cut in found.cuts}
    assert cuts == {"rows": 4 * 16 * ASSUMED_AXIS, "mean": 64}


def test_named_axes_and_the_batch_are_taken() -> None:
    found = inspect(load(inspected.words()), batch=3, axes={"words": 5})
    assert found.assumed == ()
    assert found.input_bytes == 3 * 5 * 8
    assert {cut.cut.name: cut.bytes for cut in found.cuts} == {"rows": 960, "mean": 192}
    assert found.profile is not None
    assert found.profile.macs == 3 * 16 * 4
    by_name = inspect(load(inspected.words()), axes={"words": 5, "batch": 3})
    assert by_name.input_bytes == found.input_bytes
    assert by_name.profile == found.profile


@pytest.mark.parametrize(
    ("axes", "batch", "said"),
    [
        ({"wrods": 4}, 1, "one of the open axes batch, words, found 'wrods'; check the name"),
        ({"words": 0}, 1, "a size of at least 1 for the axis 'words', found 0"),
        ({}, 0, "a batch of at least 1, found 0"),
        ({"batch": 3}, 2, "one size for the batch 'batch', found 2 and 3"),
    ],
)
def test_bad_sizes(axes: dict[str, int], batch: int, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        inspect(load(inspected.words()), axes=axes, batch=batch)


def test_a_network_of_fixed_sizes_has_no_axes() -> None:
    model = load(inspected.web(5))
    with pytest.raises(BadInput, match=r"no axis to be named, .*leave --axis away"):
        inspect(model, axes={"n": 2})
    with pytest.raises(BadInput, match="an open first axis for a batch, found x float32"):
        inspect(model, batch=2)


def test_where_sizes_are_unknown_the_rest_is_there() -> None:
    found = inspect(load(inspected.data_sized()))
    assert found.profile is not None
    assert found.profile.macs == 2 * 4 * 6
    assert found.uncounted == (
        "2 nodes ('where', 'cast'): 'places', an axis that depends on the data (axis 1)"
    )
    assert found.nbytes(found.model.outputs[0]) is None
    assert [cut.cut.name for cut in found.cuts] == ["h"]
    assert found.cuts[0].macs_before == 48
    assert found.cuts[0].head_weight_bytes == 96
    assert found.trim is not None


def test_best_cuts_are_smaller_than_the_inputs_and_unbeaten() -> None:
    found = inspect(load(inspected.words()))
    assert [cut.cut.name for cut in found.best] == ["mean"]
    assert inspect(load(inspected.chain(9))).best == ()  # all are as large as the input


def test_of_very_many_cuts_without_a_best_one_the_smallest_has_its_weights() -> None:
    found = inspect(load(inspected.chain(2_100)), trimming=False)
    known = [cut for cut in found.cuts if cut.head_weight_bytes is not None]
    assert (len(found.cuts) > 2_000, found.best) == (True, ())
    assert known == [min(found.cuts, key=lambda cut: cut.bytes)]


def test_of_cuts_that_are_alike_the_last_is_best() -> None:
    found = inspect(load(inspected.words()), axes={"words": 1000})
    alike = [cut for cut in found.cuts if cut.unbeaten]
    assert [cut.best for cut in alike] == [False] * (len(alike) - 1) + [True]


def test_trimming_can_be_left_out() -> None:
    found = inspect(load(inspected.words()), trimming=False)
    assert found.trim is None
    assert found.untrimmed == "it was not asked for"


def _most_alive(profile: Profile, model: Model) -> int:
    """The conventions of ``count``, moment by moment."""
    place = {node.name: index for index, node in enumerate(profile.nodes)}
    outputs = {spec.name for spec in model.outputs}
    lives = []
    for edge in profile.edges:
        born = -1 if edge.producer is None else place[edge.producer]
        dies = len(place) if edge.name in outputs else max(place[name] for name in edge.consumers)
        lives.append((born, dies, edge.bytes))
    moments = range(-1, len(place))
    return max(sum(n for born, dies, n in lives if born <= now <= dies) for now in moments)


@pytest.mark.parametrize("raw", [inspected.words(), inspected.chain(7), inspected.web(30)])
def test_the_peak_is_where_the_profile_has_it(raw: bytes) -> None:
    model = load(raw)
    profile = count(model, axes={"words": 7} if "words" in str(model.inputs) else None)
    peak = find_peak(profile, [spec.name for spec in model.outputs])
    assert peak.bytes == profile.peak_activation_bytes == _most_alive(profile, model)
    assert sum(e.bytes for e in profile.edges if e.name in peak.tensors) == peak.bytes
