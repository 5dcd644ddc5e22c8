from __future__ import annotations

import pytest

from edgewise.bundle import RouteKind
from edgewise.errors import LimitNotMet
from edgewise.planning import Limits
from edgewise.planning.choosing import choose
from unit.planning.choosing_by_hand import StatedTrial, candidate

ABC = (candidate("a", 1.0), candidate("b", 2.0), candidate("c", 3.0))


def _reasons(candidates) -> dict[str, str | None]:
    return {one.sketch.name: one.rejected for one in candidates}


def test_the_fastest_is_chosen_and_the_others_say_by_how_much_they_lose() -> None:
    chosen, every = choose(reversed(ABC), StatedTrial(), refined=2)
    assert chosen.sketch.name == "a"
    assert _reasons(every) == {
        "a": None,
        "b": "1.00 s slower than a, mostly on the device (1.00 s)",
        "c": "2.00 s slower than a, mostly on the device (1.50 s)",
    }
    assert chosen in every


def test_the_best_that_turns_out_slower_loses_to_the_next() -> None:
    trial = StatedTrial(exact_s={"a": 2.5})
    chosen, every = choose(ABC, trial, refined=1)
    assert chosen.sketch.name == "b"
    assert trial.refined == ["a", "b"]
    assert [one.sketch.name for one in every] == ["b", "a", "c"]
    assert _reasons(every)["a"] == "500.0 ms slower than b, mostly on the device (500.0 ms)"


@pytest.mark.parametrize("refined", [0, 1, 2, 3, 100])
def test_the_chosen_one_is_always_refined_and_none_twice(refined: int) -> None:
    trial = StatedTrial(exact_s={"a": 9.0, "b": 8.0, "c": 7.0})
    chosen, every = choose(ABC, trial, refined=refined)
    assert chosen.sketch.name == "c"
    assert sorted(trial.refined) == ["a", "b", "c"]
    assert [one.sketch.name for one in every] == ["c", "b", "a"]


def test_one_whose_prediction_was_too_high_has_its_chance() -> None:
    trial = StatedTrial(exact_s={"b": 0.5})
    assert choose(ABC, trial, refined=2)[0].sketch.name == "b"
    assert choose(ABC, trial, refined=1)[0].sketch.name == "a"


def test_what_decides_too_differently_is_rejected_though_faster() -> None:
    trial = StatedTrial(agreement={"a": 0.9})
    chosen, every = choose(ABC, trial, refined=1)
    assert chosen.sketch.name == "b"
    assert _reasons(every)["a"] == (
        "decides as the full network on 90.0 % of 20 examples, below 95.0 %"
    )
    assert trial.judged == ["a", "b"]


def test_the_agreement_asked_for_is_enough() -> None:
    trial = StatedTrial(agreement={"a": 0.9}, limits=Limits(min_agreement=0.9))
    assert choose(ABC, trial, refined=1)[0].sketch.name == "a"


def test_what_cannot_be_sent_is_rejected() -> None:
    chosen, every = choose(ABC, StatedTrial(broken=frozenset("a")), refined=0)
    assert chosen.sketch.name == "b"
    assert _reasons(every)["a"] == "cannot be sent"


def test_raw_input_stays() -> None:
    cloud = candidate("cloud", 0.1, kind=RouteKind.CLOUD)
    trial = StatedTrial(limits=Limits(raw_input_stays=True))
    chosen, every = choose((cloud, *ABC), trial, refined=1)
    assert chosen.sketch.name == "a"
    assert _reasons(every)["cloud"] == "sends the raw input, which must stay on the device"
    assert "cloud" not in trial.refined
    assert choose((cloud, *ABC), StatedTrial(), refined=1)[0].sketch.name == "cloud"


def test_over_the_latency_limit_nothing_is_run() -> None:
    trial = StatedTrial(limits=Limits(max_latency_s=0.5))
    with pytest.raises(LimitNotMet) as caught:
        choose(ABC, trial, refined=6)
    assert str(caught.value) == (
        "no route keeps the limits: a takes 1.00 s, over the limit of "
        "500.0 ms; loosen --min-agreement or --max-latency, or give more examples"
    )
    assert (trial.refined, trial.judged) == ([], [])


def test_the_latency_limit_holds_after_refining() -> None:
    trial = StatedTrial(exact_s={"a": 2.4, "b": 2.2}, limits=Limits(max_latency_s=2.3))
    chosen, every = choose(ABC, trial, refined=1)
    assert chosen.sketch.name == "b"
    assert _reasons(every)["a"] == "takes 2.40 s, over the limit of 2.30 s"
    assert _reasons(every)["c"] == "takes 3.00 s, over the limit of 2.30 s"
    assert trial.judged == ["b"]


def test_the_message_speaks_of_a_route_that_was_allowed() -> None:
    cloud = candidate("cloud", 0.1, kind=RouteKind.CLOUD)
    trial = StatedTrial(limits=Limits(raw_input_stays=True, max_latency_s=0.5))
    with pytest.raises(LimitNotMet, match=r"limits: a takes 1\.00 s, over the limit"):
        choose((cloud, *ABC), trial, refined=1)


def test_every_candidate_is_listed_once_fastest_first() -> None:
    many = [candidate(f"c{i}", 1.0 + i % 7) for i in range(30)]
    trial = StatedTrial(
        exact_s={f"c{i}": 1.0 + (i * 5) % 11 for i in range(30)},
        agreement={f"c{i}": i % 2 for i in range(30)},
        broken=frozenset({"c1", "c7"}),
    )
    chosen, every = choose(many, trial, refined=4)
    totals = [one.total_s for one in every]
    assert totals == sorted(totals)
    assert sorted(one.sketch.name for one in every) == sorted(one.sketch.name for one in many)
    assert [one.sketch.name for one in every if one.rejected is None] == [chosen.sketch.name]
