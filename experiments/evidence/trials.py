"""One seed of each kind of run that a point is held against: plain keywords in, plain numbers out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from agents.deciding.rows import ScopeRow
from agents.loop import Loop
from agents.turn import Emitted
from experiments.simulator.measures import measure
from experiments.simulator.people import Group, People
from experiments.simulator.run import SCOPE, prepare, profile_of, run
from experiments.simulator.world import World, shortened
from experiments.simulator.worlds import WORLDS
from experiments.studies import monitors, quarantine
from experiments.studies.table import load
from schemas.events import Answer, Decision, Judgement, Reason
from schemas.settings import Profile

Numbers = dict[str, float]
FOUND_WITHIN = 300  # answers
COURSES = 10  # of one seed, simulated at once
# Every good class at the least that the description of the clean world allows, within a spread of 5e-5.
CLEAN = World(
    name="clean",
    scenarios=160_000,
    classes=200,
    good=(997_700.0, 2_300.0),
    people=People((Group(name="operator", accounts=12, error=(0.0, 0.004)),)),
    outcomes=0.0,
)


def closed_loop(seed: int, *, world: str, profile: str = "default", scenarios: int | None = None, **changes: Any) -> Numbers:  # noqa: ANN401  # fields of a profile
    """Run a world of the simulator and measure it; `deployments_paid` leaves out a scope's first model, which has no price."""
    declared = WORLDS[world]
    ran = run(shortened(declared, scenarios or declared.scenarios), profile_of(profile, **changes), seed)
    prices = {command.id: command.price for command in ran.commands}
    paid = sum(result.status == "adopted" and prices.get(result.command, 0.0) > 0 for result in ran.results)
    return measure(ran) | {"deployments_paid": float(paid)}


def clean(seed: int, *, scenarios: int | None = None, **changes: Any) -> Numbers:  # noqa: ANN401  # fields of a profile
    """Run the world in which a bound of 1 % can be kept: 200 classes without features, the good ones wanted in .9977, errors U(0, .004)."""
    world, profile = shortened(CLEAN, scenarios or CLEAN.scenarios), profile_of("default", class_means=False, **changes)
    return measure(run(world, profile, seed, Loop(prepare(world, profile, seed).settings, retraining=False)))


class Booked:
    """A loop whose overrides are counted from its judgements alone, and held against the raw bound after every record.

    Attributes:
        beyond: the most that `overridden + open` was above `r answered + B0`; at most 0 if the bound held.
        closed: decisions made while the budget had nothing left.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._profile = loop.settings.profile
        self._explored: set[str] = set()
        self._answered = self._overridden = 0
        self.beyond = -self._profile.budget_start
        self.closed = 0

    def send(self, topic: str, event: Struct, *, scope: str | None = None, identity: str = "") -> Sequence[Emitted]:
        """Hand an event on, book what closed, and compare."""
        written = self._loop.send(topic, event, scope=scope, identity=identity)
        for each in written:
            self._book(each.event)
        row = self._loop.tasks[0].state.find(ScopeRow, scope or SCOPE)
        held = row.open if row else 0
        allowed = self._profile.override_rate * self._answered + self._profile.budget_start
        self.beyond = max(self.beyond, self._overridden + held - allowed)
        return written

    def _book(self, event: Struct) -> None:
        if isinstance(event, Decision):
            self.closed += event.reason in (Reason.BUDGET, Reason.EXPLORATION)
            if event.reason == Reason.EXPLORATION:
                self._explored.add(event.id)
        # An outcome that comes later writes another revision of the same answers.
        if isinstance(event, Judgement) and event.revision == 1 and event.decision not in self._explored:
            kinds = [answer.kind for answer in event.answers if answer.kind in (Answer.LIKE, Answer.OVERRIDE)]
            self._answered += bool(kinds)
            self._overridden += bool(kinds) and kinds.count(Answer.OVERRIDE) >= kinds.count(Answer.LIKE)


def override_bound(seed: int, *, world: str, scenarios: int, **changes: Any) -> Numbers:  # noqa: ANN401  # fields of a profile
    """Run a world and tell how near overridden decisions came to the raw bound, or how far beyond it they went."""
    short, profile = shortened(WORLDS[world], scenarios), profile_of("default", **changes)
    booked = Booked(Loop(prepare(short, profile, seed).settings))
    ran = run(short, profile, seed, booked)
    return {"beyond": booked.beyond, "closed": booked.closed / scenarios, "recall": measure(ran)["recall"]}


def quarantined(seed: int, **sets: Any) -> Numbers:  # noqa: ANN401  # keywords of `detect`
    """Simulate courses with a liar or without, and tell the shares in which it was found in time, and the honest who were accused."""
    found = quarantine.detect(range(COURSES * seed, COURSES * (seed + 1)), **sets)
    accused = found.first != quarantine.NEVER
    return {
        "found": float((found.own > 0).mean()),
        "found_own": float(((found.own > 0) & (found.own <= FOUND_WITHIN)).mean()),
        "found_all": float(((found.answers > 0) & (found.answers <= FOUND_WITHIN)).mean()),
        "right": float((found.first[accused] == 0).mean()) if accused.any() else np.nan,
        "false": float(found.false.sum()),
        "false_per_100k": float(found.false.sum() / found.honest.sum() * 1e5),
    }


def monitored(seed: int, *, price: float) -> Numbers:
    """Run challenger and its rivals over one stream of each drift.

    `over_abrupt`, `over_gradual`: cost over that of hindsight; `prices_none`: prices above never retraining, without drift;
    `pooled_...` of a monitor: cost over hindsight's, both summed over the three streams.
    """
    profile = Profile(name="default")
    rivals: dict[str, dict[str, Any]] = {"challenger": {"monitor": "challenger"}}
    rivals |= {f"threshold_{bound:g}": {"monitor": "threshold", "loss_bound": bound} for bound in monitors.LOSS_BOUNDS}
    rivals |= {f"periodic_{period}": {"monitor": "periodic", "retraining_period_windows": period} for period in monitors.PERIODS}
    found: Numbers = {}
    for name, sets in rivals.items():
        ran, found[f"pooled_{name}"] = monitors.over_all(seed, profile, price=price, **sets)
        if name == "challenger":
            found |= {f"over_{drift}": ran[drift]["over_hindsight"] for drift in ("abrupt", "gradual")}
            found["prices_none"] = round(ran["none"]["prices_above_never"], 9)  # a difference of equal sums may be 1e-16
    return found


def study(seed: int, *, name: str, condition: str) -> Numbers:
    """Run one trial of a study of `npo simulate`; what it draws is left out."""
    known = load(name)
    trial = known.trial(seed, Profile(name="default"), **known.conditions[condition])
    return {measure: value for measure, value in trial.items() if not isinstance(value, list)}


KINDS: dict[str, Callable[..., Numbers]] = {
    "closed_loop": closed_loop,
    "clean": clean,
    "override_bound": override_bound,
    "quarantined": quarantined,
    "monitored": monitored,
    "study": study,
}
