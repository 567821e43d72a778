"""What the demo's view of the pipeline must hold: numbers, sentences and picture say what the records say."""

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.picture import LEAST, Course, change, draw, loss_sentence, overrides_sentence
from experiments.watching import Watch
from experiments.world import FROZEN_SCOPE, SCOPE, SCOPES, START_MS
from schemas.alignment import ChallengerWindow, LossWindow, Rate, RetrainingResult
from schemas.events import (
    Action,
    BudgetState,
    ClassHistory,
    Decision,
    Heartbeat,
    JudgedAnswer,
    Judgement,
    Model,
    PolicyVerdict,
    Reason,
    Scenario,
    Status,
)
from streams.serving.brought import Brought

ACTION = Action("look-into-it", 0, reversible=True)


def scenario(scope: str, name: str, time_ms: int) -> Scenario:
    """A scenario of which only name and time matter."""
    return Scenario(name, scope, "web-00", time_ms, "class", 1.0, (), ACTION, {}, {}, time_ms, {}, [], 0, 0, ())


def decision(scope: str, name: str, time_ms: int, status: Status) -> Decision:
    """A decision of which only scenario, time and status matter."""
    return Decision(
        id=f"d-{name}", scenario=name, scope=scope, entity="web-00", scenario_class="class", time_ms=time_ms, decided_ms=time_ms,
        status=status, reason=Reason.PASSED, confidence=0.9, model_output=0.0, offset=0.0, information=1.0, draw_information=1.0,
        selector="posterior", draw=None, threshold=0.8, propensity=0.5, contributions={}, features={}, history=ClassHistory(),
        verdict=PolicyVerdict(allowed=True, rules=(), facts={}), budget=BudgetState(1.0, 1.0, 0), channels={}, action=ACTION,
        symptoms=(), versions={}, positions={}, window=0,
    )  # fmt: skip


def judgement(scope: str, name: str, time_ms: int, kinds: list[str], revision: int = 1, status: Status = Status.SURFACED) -> Judgement:
    """A judgement with answers of these kinds."""
    answers = tuple(JudgedAnswer(f"o{number}", kind, time_ms, 0.8, 0.8, 1.0, None, 0.0) for number, kind in enumerate(kinds))
    return Judgement(
        decision=f"d-{name}", revision=revision, scope=scope, entity="web-00", scenario_class="class", time_ms=time_ms, decided_ms=time_ms,
        status=status, closed_by="answer", features={}, model="initial", model_output=0.0, confidence=0.9, propensity=0.5, target=None,
        weight=0.0, answers=answers, positions={},
    )  # fmt: skip


def result(scope: str, status: Literal["adopted", "refused"], number: int) -> RetrainingResult:
    """What came of a command in a window."""
    model = Model(f"m{number}", scope, START_MS, 0.0, {})
    return RetrainingResult(f"r{number}", f"c{number}", scope, START_MS + number, number, status, "why", "initial", None, model, {})


def challenger(number: int, costs: dict[str, float]) -> ChallengerWindow:
    """What the candidates cost in a window."""
    return ChallengerWindow(f"w{number}", SCOPE, START_MS, number, 1, 1, 0, "initial", None, 0.0, None, costs, None, 0, {})


def test_what_a_retraining_brought_is_the_difference_on_what_came_after() -> None:
    """Saved is what the model it stood against cost more, in whole windows after it, until the next adoption; unknown where none tells."""
    seen = Watch()
    for number in range(5):
        seen.add("alignment", challenger(number, {"initial": 50.0 + number, "m1": 40.0} if number != 3 else {"initial": 53.0}))
    assert seen.brought(SCOPE) == []
    seen.add("retraining-result", result(SCOPE, "refused", 1))
    assert seen.brought(SCOPE) == [Brought(2, 12.0 + 14.0)]
    seen.add("retraining-result", result(SCOPE, "adopted", 2))
    assert seen.brought(SCOPE) == [Brought(1, 12.0), None]


def window(scope: str, number: int, loss: float, low: float, high: float) -> LossWindow:
    """A loss window of which only the loss matters."""
    unknown = Rate(0, 0, 0.0, 1.0)
    return LossWindow(
        id=f"{scope}-{number}", scope=scope, time_ms=START_MS + number, window=number, scenarios=10, surfaced=5, withheld=5, blocked=0,
        answers={}, override_given_answered=unknown, miss_given_outcome=unknown, loss=loss, loss_low=low, loss_high=high,
        paper_loss=None, paper_loss_floor=None, overrides_per_surfaced=None, overrides_per_answered=None, overrides_per_scenario=None,
        reward_minutes=0.0, positions={},
    )  # fmt: skip


def test_decided_time_is_that_of_the_oldest_scenario_without_decision() -> None:
    """While a scenario waits, its time is how far both scopes are decided; without one, telemetry time is; the slower scope counts."""
    seen = Watch()
    assert seen.decided_ms() == START_MS
    for scope in SCOPES:
        seen.add("scenario", Heartbeat("h", scope, START_MS + 100, 1, 0, 0, 1))
    assert seen.decided_ms() == START_MS + 100
    seen.add("scenario", scenario(SCOPE, "a", START_MS + 110))
    seen.add("scenario", scenario(SCOPE, "b", START_MS + 120))
    for scope in SCOPES:
        seen.add("scenario", Heartbeat("h", scope, START_MS + 200, 2, 0, 0, 1))
    assert seen.decided_ms() == START_MS + 110
    seen.add("decision", decision(SCOPE, "a", START_MS + 110, Status.WITHHELD))
    assert seen.decided_ms() == START_MS + 120
    seen.add("decision", decision(SCOPE, "b", START_MS + 120, Status.WITHHELD))
    assert seen.decided_ms() == START_MS + 200


def test_settled_means_decided_and_closed() -> None:
    """A run is settled when every scenario is decided and every surfaced decision closed once, whatever outcomes say later."""
    seen = Watch()
    assert seen.settled
    seen.add("scenario", scenario(SCOPE, "a", START_MS))
    assert not seen.settled
    seen.add("decision", decision(SCOPE, "a", START_MS, Status.SURFACED))
    assert not seen.settled
    seen.add("judgement", judgement(SCOPE, "w", START_MS, ["incident"], status=Status.WITHHELD))
    assert not seen.settled
    seen.add("judgement", judgement(SCOPE, "a", START_MS, ["like"]))
    assert seen.settled
    seen.add("judgement", judgement(SCOPE, "a", START_MS, ["like", "none"], revision=2))
    assert seen.settled


def test_a_course_counts_likes_and_overrides_alone() -> None:
    """Neutral answers, silence and outcomes are no part of an answered decision's share; two opposed answers are a half."""
    seen = Watch()
    for name, kinds in {"a": ["override", "like"], "b": ["neutral"], "c": [], "d": ["override", "none"], "e": ["like"]}.items():
        seen.add("judgement", judgement(FROZEN_SCOPE, name, START_MS, kinds))
    assert [share for _, share in seen.courses[FROZEN_SCOPE].answered] == [0.5, 1.0, 0.0]
    assert seen.courses[SCOPE].answered == []


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 1.0])), max_size=300))
def test_change_compares_the_first_with_the_last(answered: list[tuple[int, float]]) -> None:
    """The compared parts are equally long, do not overlap, and come in order of time whatever order they were seen in."""
    seen = change(Course("shop", learning=True, answered=answered))
    shares = [share for _, share in sorted(answered)]
    if seen is None:
        assert len(shares) // 3 < LEAST
    else:
        assert LEAST <= seen.count <= len(shares) // 2
        assert seen.first == pytest.approx(sum(shares[: seen.count]) / seen.count)
        assert seen.last == pytest.approx(sum(shares[-seen.count :]) / seen.count)


@pytest.mark.parametrize(("off_low", "words"), [(0.5, "the intervals do not overlap"), (0.3, "does not settle it")])
def test_the_sentence_on_loss_says_whether_intervals_keep_apart(off_low: float, words: str) -> None:
    """Intervals over all windows that overlap are called so, and only those."""
    seen = Watch()
    courses = list(seen.courses.values())
    assert "Too few" in loss_sentence(courses)
    seen.add("alignment", window(SCOPE, -1, 0.2, 0.1, 0.4))
    seen.add("alignment", window(FROZEN_SCOPE, -1, 0.9, off_low, 1.2))
    sentence = loss_sentence(courses)
    assert words in sentence
    assert "0.20 (0.10 to 0.40) with learning" in sentence
    assert f"0.90 ({off_low:.2f} to 1.20) without" in sentence


def test_the_picture_is_drawn_from_much_and_from_nothing(tmp_path: Path) -> None:
    """There is a picture of a whole run and of one that was too short for any number; the sentence says which."""
    seen = Watch()
    courses = list(seen.courses.values())
    draw(courses, START_MS, START_MS + 7_200_000, 0.05, "simulated", tmp_path / "nothing.png")
    assert "too few to say" in overrides_sentence(courses)
    for scope in SCOPES:
        for number in range(40):
            kind = "override" if scope == FROZEN_SCOPE or number < 10 else "like"
            seen.add("judgement", judgement(scope, str(number), START_MS + number * 3_600_000, [kind]))
        for number in range(3):
            seen.add("alignment", window(scope, number, 0.5, 0.2, 0.9))
        seen.add("retraining-result", result(scope, "adopted", 1))
    draw(courses, START_MS, START_MS + 7_200_000, 0.05, "simulated", tmp_path / "run.png")
    assert overrides_sentence(courses).count("100% of the first 13") == 1
    assert "77% of the first 13, 0% of the last" in overrides_sentence(courses)
    signature = b"\x89PNG"
    assert (tmp_path / "nothing.png").read_bytes().startswith(signature)
    assert len((tmp_path / "run.png").read_bytes()) > len((tmp_path / "nothing.png").read_bytes())
