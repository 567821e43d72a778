"""What a challenger is fitted on: bounded, for targeted retraining the telling ones first, and never another question than before."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from agents.training.fitting import fit
from agents.training.rows import ExampleRow
from agents.training.selection import comes_first, select
from schemas.events import Command, Control
from schemas.settings import Profile
from tests.deciding.logs import START_MS, settings_with
from tests.training.streams import SCOPE, Entry, Folded, answer, judgements, log_of

LATER_MS = START_MS + 1_000_000


def profile(bound: int, retraining: str = "targeted") -> Profile:
    """A profile with a bound."""
    return settings_with(retraining=retraining, retraining_examples_max=bound).profile


def example(*, liked: bool, x: float = 0.0, source: str = "ana", silenced: bool = False, time_ms: int = START_MS) -> ExampleRow:
    """One judged scenario with one answer, in quarantine or not."""
    said = answer(source, liked=liked, time_ms=time_ms)
    if silenced:
        said = msgspec.structs.replace(said, weight=0.0, counted=0.0)
        return ExampleRow(scenario_class="c", features={"x": x}, target=None, weight=0.0, answers=(said,))
    return ExampleRow(scenario_class="c", features={"x": x}, target=float(not liked), weight=1.0, answers=(said,))


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 40), st.sampled_from(["targeted", "untargeted"]))
def test_what_is_taken_stands_for_all(likes: list[bool], bound: int, retraining: str) -> None:
    """At most so many are taken, in their order; targeted, those of each kind count for as many as there are of it."""
    examples = [example(liked=liked, x=float(place)) for place, liked in enumerate(likes)]
    taken = select(examples, profile(bound, retraining), {})
    assert len(taken) == (min(bound, len(examples)) if bound else len(examples))
    places = [each.features["x"] for each in taken]
    assert places == sorted(set(places))
    if retraining == "untargeted" or bound != 1:  # one alone cannot stand for two kinds
        assert sum(each.weight for each in taken) == pytest.approx(len(examples))
    if retraining == "targeted" and bound > 1:
        for liked in (True, False):
            assert sum(each.weight for each in taken if each.target == float(not liked)) == pytest.approx(likes.count(liked))


def test_overridden_ones_come_first() -> None:
    """Under a bound all overrides are taken if they are half of it at most; untargeted takes their share."""
    examples = [example(liked=place % 20 != 0, x=float(place)) for place in range(1000)]
    taken = {name: select(examples, profile(100, name), {}) for name in ("targeted", "untargeted")}
    assert sum(comes_first(each, {}) for each in taken["targeted"]) == 50
    assert sum(comes_first(each, {}) for each in taken["untargeted"]) <= 10


def test_a_released_source_is_heard() -> None:
    """What a source said in quarantine is fitted on once it is released, by its channel, and only by targeted retraining."""
    silenced = [example(liked=False, source="bob", silenced=True) for _ in range(5)]
    assert select(silenced, profile(0), {}) == []
    assert select(silenced, profile(0, "untargeted"), {"bob": LATER_MS}) == []
    heard = select(silenced, profile(0), {"bob": LATER_MS})
    assert [(each.target, each.weight) for each in heard] == [(1.0, 1.0)] * 5


@given(st.lists(st.integers(START_MS, LATER_MS), max_size=20), st.integers(START_MS, LATER_MS))
def test_a_release_clears_what_was_said_before_it(times: list[int], released_ms: int) -> None:
    """Of what a source said in quarantine, what it said from its release on waits for another one, and does not come first."""
    silenced = [example(liked=False, source="bob", silenced=True, time_ms=time_ms) for time_ms in times]
    before = [time_ms < released_ms for time_ms in times]
    assert len(select(silenced, profile(0), {"bob": released_ms})) == sum(before)
    assert [comes_first(each, {"bob": released_ms}) for each in silenced] == before


def test_targeted_tells_more_of_rare_overrides() -> None:
    """Under one bound, targeted weights lie nearer the truth than untargeted ones, and its intercept is no other."""
    errors: dict[str, list[list[float]]] = {"targeted": [], "untargeted": []}
    for seed in range(12):
        draw = np.random.default_rng(seed)
        x = draw.standard_normal(4000)
        liked = draw.random(4000) < expit(4 + 1.5 * x)
        examples = [example(liked=bool(one), x=float(value)) for one, value in zip(liked, x, strict=True)]
        for name, found in errors.items():
            fitted = fit(select(examples, profile(300, name), {}))
            assert fitted is not None
            found.append([fitted.intercept - 4, fitted.weights["x"] - 1.5])
    spread = {name: np.sqrt(np.mean(np.square(found), axis=0)) for name, found in errors.items()}
    assert spread["targeted"][1] < 0.8 * spread["untargeted"][1]
    assert abs(np.mean(np.array(errors["targeted"])[:, 0])) < 0.5


def test_a_release_reaches_the_trainer() -> None:
    """Once a source is released, in the scope or in all, the next challenger learns from what it said before; a quarantine ends that."""
    silenced: list[Entry] = []
    for topic, event in log_of(judgements(3, 3)):
        said = tuple(msgspec.structs.replace(each, weight=0.0, counted=0.0) for each in event.answers)  # type: ignore[attr-defined]
        silenced.append((topic, msgspec.structs.replace(event, answers=said, target=None, weight=0.0)))
    settings = settings_with(retraining="targeted")
    for scope in (None, SCOPE):
        release, quarantine = (
            ("control", Control(command, LATER_MS, "eve", scope, "ana")) for command in (Command.RELEASE, Command.QUARANTINE)
        )
        heard = Folded(settings).run([release, *silenced], cuts=set()).events("alignment")
        again = Folded(settings).run([release, quarantine, *silenced], cuts=set()).events("alignment")
        assert all(window.next is not None for window in heard)
        assert all(window.next is None for window in again)
        early = ("control", Control(Command.RELEASE, START_MS, "eve", scope, "ana"))
        kept = Folded(settings).run([early, *silenced], cuts=set()).events("alignment")
        assert all(window.next is None for window in kept)
