"""What a session chooses before it has measured anything."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from edgewise.bundle import Route
from edgewise.running import Options, Policy
from edgewise.running.deciding.choice import Choice, allowed_routes
from edgewise.running.deciding.choosing import Question, choose_now
from edgewise.running.deciding.steering import first_mind
from edgewise.specs import LinkSpec


def first_choice(
    routes: Sequence[Route],
    *,
    link: LinkSpec | None,
    policy: Policy = Policy.AUTO,
    raw_input_stays: bool = False,
    inputs: Collection[str] = (),
) -> Choice:
    """The choice among these routes on that link, as far as it is expected at all."""
    allowed = allowed_routes(routes, policy=policy, raw_input_stays=raw_input_stays, inputs=inputs)
    outlook = first_mind(Options(link=link)).outlook
    return choose_now(outlook, allowed, Question(now_s=0.0, policy=policy))[1]


def first_prediction_s(route: Route, link: LinkSpec) -> float:
    """Seconds that the route is then predicted to take."""
    outlook = first_mind(Options(link=link)).outlook
    return outlook.predict_s(route, outlook.live_link(0.0), 0.0)
