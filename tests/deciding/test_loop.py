"""The loop closed: answers to what was surfaced decide what is surfaced next."""

import msgspec
import numpy as np
import pytest

from schemas.events import Answer, Status
from schemas.settings import ScopeSettings, Settings
from tests.deciding.logs import DEFAULT, PAPER_FIELDS, Folded, decision_of, entry, feedback, heartbeat, run, scenario, settings_with

ROUNDS = 300
LAST = 100
ERROR = 0.05
KEEP = 50


def surfaced_shares(settings: Settings, seed: int = 1) -> tuple[float, float]:
    """Shares surfaced of a wanted and of an unwanted class in the last third; operators err in 5 % and answer all they see."""
    random = np.random.default_rng(seed)
    folded = Folded()
    names: dict[str, tuple[str, bool]] = {}
    statuses: dict[str, str] = {}
    answered = 0
    for number in range(ROUNDS):
        for label in ("disk:up", "cpu:up"):
            names[decision_of(f"{label}-{number}")] = (f"{label}-{number}", label == "disk:up")
            happening = scenario(f"{label}-{number}", number * 10, entity=f"web-{number}", label=label, score=1.15)
            folded = run([entry("scenario", happening)], settings, onto=folded)
        decisions = folded.events("decision")
        for decision in decisions[answered:]:
            name, wanted = names[decision.id]
            if decision.status == Status.SURFACED:
                says = Answer.LIKE if wanted != (random.random() < ERROR) else Answer.OVERRIDE
                folded = run([entry("feedback", feedback(name, says, number * 10))], settings, onto=folded)
        answered = len(decisions)
        folded = run([entry("scenario", heartbeat(number * 10 + 5))], settings, onto=folded)
        if len(folded.outputs) > KEEP:
            statuses |= {decision.id: decision.status for decision in folded.events("decision")}
            folded.outputs, answered = [], 0
    statuses |= {decision.id: decision.status for decision in folded.events("decision")}
    late = range(ROUNDS - LAST, ROUNDS)
    shares = [np.mean([statuses[decision_of(f"{label}-{n}")] == Status.SURFACED for n in late]) for label in ("disk:up", "cpu:up")]
    return float(shares[0]), float(shares[1])


def test_the_default_profile_learns_what_is_wanted() -> None:
    """After 200 scenarios a class that operators like is surfaced and one that they override is withheld."""
    wanted, unwanted = surfaced_shares(DEFAULT)
    assert wanted >= 0.95
    assert unwanted <= 0.05


@pytest.mark.parametrize("profile", ["paper", "mean"])
def test_the_mean_score_learns_what_is_wanted(profile: str) -> None:
    """The paper's own score surfaces what operators like more often than what they override."""
    settings = settings_with(**PAPER_FIELDS) if profile == "paper" else settings_with(score="mean")
    wanted, unwanted = surfaced_shares(settings)
    assert wanted >= 0.6
    assert unwanted <= 0.1


def test_without_learning_nothing_is_learned() -> None:
    """In a scope whose learning is off both classes are surfaced alike to the end."""
    wanted, unwanted = surfaced_shares(msgspec.structs.replace(DEFAULT, scopes={"shop": ScopeSettings(learning=False)}))
    assert unwanted == pytest.approx(wanted, abs=0.2)
    assert unwanted > 0.2
