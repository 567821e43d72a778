"""docs/embedding.md: every Python block runs as it stands and prints what the page says; the rules over arrays are the rules one by one."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agents import scoring, thresholds, trust
from agents.loop import Loop, scenario
from tests.deciding.logs import DEFAULT, START_MS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "embedding.md"
BLOCKS = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_the_page_prints_what_it_says() -> None:
    """Each block of the page, one after the other, prints the text beneath it, and none is without such a text."""
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    shown: list[tuple[str, str]] = BLOCKS.findall(text)
    assert len(shown) == text.count("```python") > 4
    for code, expected in shown:
        printed = StringIO()
        with redirect_stdout(printed):
            exec(code, names)  # noqa: S102 - it is the page's own
        assert printed.getvalue() == expected


def test_the_whole_loop_is_ten_lines() -> None:
    """The first block needs ten lines after its imports and its profile."""
    code, _ = BLOCKS.findall(PAGE.read_text(encoding="utf-8"))[0]
    assert len(code.strip().split("\n\n")[-1].splitlines()) <= 10


numbers = st.floats(-20, 20)


@given(
    rows=st.lists(st.tuples(numbers, numbers, st.floats(0.01, 1000), st.floats(0.01, 0.99), numbers), min_size=1, max_size=8),
    axis=st.sampled_from([(-1,), (-1, 1), (1, -1)]),
)
def test_a_threshold_over_arrays_is_that_of_each(rows: list[tuple[float, ...]], axis: tuple[int, ...]) -> None:
    """Draws and propensities of an array of any shape are those of its elements, and the selector's own."""
    columns = [np.array(column).reshape(axis) for column in zip(*rows, strict=True)]
    output, offset, information, threshold, normal = columns
    drawn, chance = thresholds.drawn(output, offset, information, normal), thresholds.propensity(output, offset, information, threshold)
    assert np.shape(drawn) == np.shape(chance) == output.shape
    for place, (f, b, d, tau, n) in enumerate(rows):
        assert np.ravel(drawn)[place] == thresholds.drawn(f, b, d, n)
        assert np.ravel(chance)[place] == thresholds.posterior(f, b, d, tau, np.random.default_rng(0)).propensity


def test_the_arms_of_many_scopes_are_those_of_each() -> None:
    """The probabilities of the arms over an array of scopes are those of each scope, and sum to 1."""
    random = np.random.default_rng(0)
    likes, overrides = random.gamma(2, 20, (2, 3, 4, 5)) + 0.1
    chances = thresholds.arm_probabilities(likes, overrides)
    assert np.allclose(chances.sum(axis=-1), 1)
    assert all(np.array_equal(chances[place], thresholds.arm_probabilities(likes[place], overrides[place])) for place in np.ndindex(3, 4))


def test_rules_change_nothing_that_they_are_given() -> None:
    """A step over arrays leaves its inputs as they were: a loop may keep them, as another branch of a study does."""
    ones = np.ones(4)
    offsets, drift, coins = scoring.Offsets(ones, ones, ones), scoring.Drift(ones, ones), trust.Coins(ones, 2 * ones, ones, 2 * ones)
    channel = trust.channel(coins)
    before: list[Any] = [np.copy(value) for value in (*offsets, *drift, *coins)]
    scoring.forget(drift, scoring.update(offsets, ones, channel, 0.5 * ones, ones), ones, channel, 0.5 * ones)
    trust.count(coins, ones, trust.posterior(coins, ones, 0.5 * ones), ones)
    assert all(np.array_equal(old, new) for old, new in zip(before, (*offsets, *drift, *coins), strict=True))


def test_a_scenario_of_ones_own_is_decided_each_time() -> None:
    """Without an entity no cooldown holds a scenario back; with one, a repeat is the same thing seen again."""
    loop = Loop(DEFAULT, retraining=False)
    own = [loop.send("scenario", scenario(f"s{n}", "shop", START_MS + n, "c", {})) for n in range(3)]
    same = [loop.send("scenario", scenario(f"t{n}", "shop", START_MS + n, "c", {}, entity="web")) for n in range(3)]
    reasons = [[each.event.reason for written in runs for each in written if each.topic == "decision"] for runs in (own, same)]
    assert "cooldown" not in reasons[0]
    assert len(reasons[1]) < 3 or "cooldown" in reasons[1]
