"""Class means of features: what they are, what moves them, and what cannot."""

import msgspec
import numpy as np
import pytest

from agents.deciding.means import PREFIX, SCENARIOS_MAX, VALUE_MOST
from agents.deciding.rows import MeansRow
from schemas.events import NAME_LENGTH_MAX, Status
from schemas.settings import Rule
from tests.deciding.logs import DEFAULT, Entry, Folded, entry, run, scenario, settings_with

CLASS = "shop|cpu:up|restart"


def log_of(features: list[dict[str, float]], **changed: object) -> list[Entry]:
    """Scenarios of one class with these features, each at an entity of its own."""
    made = (scenario(str(number), number, entity=f"web-{number}", **changed) for number in range(len(features)))  # type: ignore[arg-type]  # fields of a scenario
    return [entry("scenario", msgspec.structs.replace(each, features=of)) for each, of in zip(made, features, strict=True)]


def means(folded: Folded, name: str) -> list[float]:
    """The class mean of a feature in each decision."""
    return [decision.features[PREFIX + name] for decision in folded.events("decision")]


def test_a_mean_is_that_of_the_class_until_now() -> None:
    """Each decision has beside a feature its mean over the class's scenarios so far, this one among them; any cut gives the same."""
    values = np.random.default_rng(0).normal(size=30).tolist()
    log = log_of([{"x": value} for value in values])
    folded = run(log)
    assert means(folded, "x") == pytest.approx([np.mean(values[: number + 1]) for number in range(30)])
    assert run(log, cuts={7, 19}).rows == folded.rows


def test_what_is_blocked_or_repeated_moves_no_mean() -> None:
    """A scenario that the policy refuses, or that repeats an open recommendation, leaves the class's means as they were."""
    policy = msgspec.structs.replace(DEFAULT.policy, rules=(Rule("wild", "scenario.score > 5.0"),))
    log = log_of([{"x": 1.0}] * 3)
    wild = msgspec.structs.replace(scenario("w", 9, entity="web-9", score=6.0), features={"x": 500.0})
    folded = run([*log, entry("scenario", wild)], msgspec.structs.replace(DEFAULT, policy=policy))
    assert folded.events("decision")[-1].status == Status.BLOCKED
    assert folded.row(MeansRow, "shop", CLASS) == MeansRow(scenarios=3, means={"x": 1.0})
    sure = settings_with(initial_intercept=20.0, initial_weights={})
    again = [*log_of([{"x": 1.0}]), entry("scenario", msgspec.structs.replace(scenario("r", 2, entity="web-0"), features={"x": 7.0}))]
    assert run(again, sure).row(MeansRow, "shop", CLASS) == MeansRow(scenarios=1, means={"x": 1.0})


def test_one_wild_value_fades() -> None:
    """However large a value, it moves a mean by no more than its bound over the scenarios, and names that went are forgotten."""
    folded = run(log_of([{"x": 0.0, "gone": 1.0}, {"x": 1e99}, *[{"x": 0.0}] * 40]))
    assert max(means(folded, "x")) <= VALUE_MOST / 2
    row = folded.row(MeansRow, "shop", CLASS)
    assert set(row.means) == {"x"}
    assert row.scenarios <= SCENARIOS_MAX


def test_no_mean_has_a_name_that_a_model_could_not_have() -> None:
    """A name that is too long with its prefix has no mean, a feature called like a mean is overruled by it, and many have none."""
    long = "f" * (NAME_LENGTH_MAX - len(PREFIX) + 1)
    (named,) = run(log_of([{long: 1.0, "x": 2.0, PREFIX + "x": 9.0}])).events("decision")
    assert PREFIX + long not in named.features
    assert named.features[PREFIX + "x"] == 2.0
    (many,) = run(log_of([{f"f{number}": 1.0 for number in range(1001)}])).events("decision")
    assert len(many.features) == 1001
