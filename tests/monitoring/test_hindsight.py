"""Hindsight is exact: by hand, and against every schedule there is."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.monitoring.hindsight import Path, as_it_was, cheapest, cost_of, fidelity, price_of
from agents.monitoring.rows import Window
from schemas.alignment import Fidelity
from tests.deciding.logs import settings_with
from tests.monitoring.streams import Folded, challenger, result, seen

WINDOWS = st.integers(1, 6)


@st.composite
def histories(draw: st.DrawFn) -> list[Window]:
    """Up to six windows: a challenger fitted at the end of some, whole costs, some of them unknown, a first model or not."""
    first, models, windows = draw(st.booleans()), ["m"], []
    for number in range(draw(WINDOWS)):
        costs = {model: float(draw(st.integers(0, 9))) for model in models if draw(st.integers(0, 5)) > 0}
        fitted = f"c{number}" if draw(st.booleans()) else None
        in_force = draw(st.sampled_from(models)) if number else "m"
        first = first and in_force == "m"
        windows.append(seen(2 * number, costs, in_force=in_force, cost_in_force=float(draw(st.integers(0, 9))), fitted=fitted, first=first))
        models += [fitted] if fitted else []
    return windows


def every_schedule(windows: list[Window], price: float) -> list[Path]:
    """Every schedule, each costed on its own: in which window is which model in force, and what does that come to."""
    ends = [place for place, window in enumerate(windows[:-1]) if window.next is not None]
    paths = []
    for count in range(len(ends) + 1):
        for chosen in combinations(ends, count):
            model, cost = windows[0].in_force, 0.0
            for place, window in enumerate(windows):
                cost += cost_of(window, model)
                if place in chosen:
                    assert window.next is not None
                    cost += price_of(windows[0], price) if place == chosen[0] else price
                    model = window.next
            paths.append(Path(cost, count, tuple(-windows[place].window for place in chosen)))
    return paths


@given(windows=histories(), price=st.integers(0, 9))
def test_the_programme_finds_what_enumeration_finds(windows: list[Window], price: int) -> None:
    """The schedule is the best of all there are, ties included: fewest deployments, then latest."""
    best = min(every_schedule(windows, price))
    assert cheapest(windows, price) == (best.cost, tuple(-window for window in best.earliness))


def test_six_windows_by_hand() -> None:
    """Costs, schedule and fidelity of six windows with three candidates are those computed by hand.

    Price 10. Costs in windows 1 to 6: m 10 10 10 20 20 20; a, fitted at the end of 1: 9 9 20 20 20; b, of 3: 8 8 8; c, of 4: 4 4.
    No deployment costs 90; a at 1: 10 + 10 + 78 = 98; b at 3: 30 + 10 + 24 = 64; c at 4: 30 + 20 + 10 + 8 = 68; a and b:
    10 + 10 + 18 + 10 + 24 = 72; b and c: 30 + 10 + 8 + 10 + 8 = 66. So the ideal is b at the end of 3, for 64.
    The monitor deployed a at 1 and c at 4: 10 + 9 + 9 + 20 + 4 + 4 = 56 and two prices are 76. Its 4 is the ideal 3, one window
    late; its 1 is not. Of five ends one disagrees: F = .8.
    """
    costs = [
        {"m": 10.0},
        {"m": 10.0, "a": 9.0},
        {"m": 10.0, "a": 9.0},
        {"m": 20.0, "a": 20.0, "b": 8.0},
        {"m": 20.0, "a": 20.0, "b": 8.0, "c": 4.0},
        {"m": 20.0, "a": 20.0, "b": 8.0, "c": 4.0},
    ]
    in_force, fitted = ("m", "a", "a", "a", "c", "c"), ("a", None, "b", "c", None, None)
    windows = [
        seen(number, cost, in_force=model, fitted=new)
        for number, (cost, model, new) in enumerate(zip(costs, in_force, fitted, strict=True), start=1)
    ]
    assert cheapest(windows, 10.0) == (64.0, (3,))
    assert as_it_was(windows, 10.0, (1, 4)) == 76.0
    assert fidelity([1, 2, 3, 4, 5, 6], (1, 4), (3,)) == pytest.approx(0.8)


def test_the_published_fidelity_by_hand() -> None:
    """What the monitor publishes of itself over six windows, from a free first model on, is what is computed by hand.

    Price 20, slack .8. The initial model costs 50 a window. At the end of 1, a is cheaper by 6, and the first model is free: command,
    b comes in 2. In 3, c is cheaper by 25: s = 24.2, but it is within two windows of the command. In 4, d is cheaper by 24: s = 47.4,
    command; e comes in 5. So it was: 50 + 50 + 46 + 40 + 40 + 18 = 244, and one price: 264.
    Best: wait for c, free as the first one, at the end of 2: 3 x 50 + 3 x 15 = 195 (a at 0 and c at 2: 50 + 44 + 44 + 20 + 45 = 203).
    The command of 1 is the ideal of 2, one window early; that of 4 is none: of five ends one disagrees.
    """
    log = [
        challenger(0, 50, None, model="initial", costs={"initial": 50.0}, fitted="a"),
        challenger(1, 50, 44, model="initial", costs={"initial": 50.0, "a": 44.0}, fitted="b"),
        result(1, adopted=True),
        challenger(2, 46, 45, model="b", costs={"initial": 50.0, "a": 44.0, "b": 45.0}, fitted="c"),
        challenger(3, 40, 15, model="b", costs={"initial": 50.0, "a": 41.0, "b": 40.0, "c": 15.0}, fitted="d"),
        challenger(4, 40, 16, model="b", costs={"initial": 50.0, "a": 41.0, "b": 40.0, "c": 15.0, "d": 16.0}, fitted="e"),
        result(4, adopted=True),
        challenger(5, 18, 15, model="e", costs={"initial": 50.0, "a": 41.0, "b": 40.0, "c": 15.0, "d": 16.0, "e": 15.0}, fitted="f"),
    ]
    folded = Folded(settings_with(retraining_price=20.0)).run(log)
    published = folded.events("alignment", Fidelity)
    assert folded.commanded() == [1, 4]
    assert [event.window for event in published] == [1, 2, 3, 4, 5]
    last = published[-1]
    assert (last.first_window, last.windows) == (0, 6)
    assert (last.commanded, last.deployed, last.ideal) == ((1, 4), (1, 4), (2,))
    assert (last.cost, last.cost_best) == (264.0, 195.0)
    assert last.fidelity == pytest.approx(0.8)
    assert published[-2].deployed == (1,)


def fewest_unmatched(targets: tuple[int, ...], actions: tuple[int, ...], last: int) -> int:
    """Try every way of matching."""
    if not targets:
        return sum(action != last for action in actions)
    rest = targets[1:]
    ways = [1 + fewest_unmatched(rest, actions, last)]
    ways += [
        fewest_unmatched(rest, actions[:place] + actions[place + 1 :], last)
        for place, action in enumerate(actions)
        if abs(action - targets[0]) <= 1
    ]
    return min(ways)


@given(
    st.integers(2, 9).flatmap(
        lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1)), st.sets(st.integers(0, count - 2)))
    )
)
def test_fidelity_is_the_best_matching(case: tuple[int, set[int], set[int]]) -> None:
    """F counts what stays unmatched under the best matching, and is a share; F = 1 for the ideal itself."""
    count, commanded, ideal = case
    unmatched = fewest_unmatched(tuple(sorted(ideal)), tuple(sorted(commanded)), count - 1)
    value = fidelity(list(range(10, 10 + count)), {10 + place for place in commanded}, {10 + place for place in ideal})
    assert value == pytest.approx(1 - unmatched / (count - 1))
    assert 0 <= value <= 1
    assert fidelity(list(range(count)), ideal, ideal) == 1


def test_an_unknown_cost_is_the_worst_that_is_known() -> None:
    """A model of which a window tells nothing is never better than one it tells of; the one in force costs what it cost."""
    window = seen(3, {"a": 5.0, "b": 9.0}, in_force="m", cost_in_force=7.0)
    assert [cost_of(window, model) for model in ("a", "b", "m", "older")] == [5.0, 9.0, 7.0, 9.0]
    assert cost_of(seen(3, {}, in_force="m", cost_in_force=7.0), "older") == 7.0


def test_two_windows_away_is_not_near() -> None:
    """A command two windows late is two disagreements: one of omission, one of commission."""
    assert fidelity(list(range(11)), {5}, {3}) == pytest.approx(0.8)
    assert fidelity(list(range(11)), {4}, {3}) == 1.0
    assert fidelity(list(range(11)), {3, 4}, {3}) == pytest.approx(0.9)
