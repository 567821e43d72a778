"""The monitor: it commands when the evidence passes the price, once, and says of every window why or why not."""

from itertools import pairwise, product

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.monitoring.rows import HISTORY_WINDOWS, WAITING_MAX
from agents.monitoring.rules import COOLDOWN_WINDOWS, MONITORS, SLACK
from agents.training.commands import DIFFERING_LEAST, SAMPLE_SIZE_LEAST
from agents.training.turn import HISTORY_WINDOWS as EXAMPLE_WINDOWS
from schemas.alignment import Alarm, ChallengerWindow, Fidelity, MonitorDecision, OffPolicy, RetrainingCommand
from schemas.events import INITIAL
from schemas.settings import Profile, ScopeSettings
from tests.deciding.logs import settings_with
from tests.folding import Entry
from tests.monitoring.streams import (
    BETTER,
    NO_BETTER,
    SCOPE,
    SETTINGS,
    TOO_FEW,
    Folded,
    at,
    challenger,
    command_of,
    loss,
    result,
    trust,
    without_positions,
)

PRICE = SETTINGS.profile.retraining_price
WINDOW_SLACK = SLACK * PRICE
LOSS = settings_with(monitor="threshold")


def decisions(folded: Folded) -> list[MonitorDecision]:
    """The monitor's actions, in order."""
    return folded.events("alignment", MonitorDecision)


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=30))
def test_the_statistic_is_a_cusum_until_it_passes_the_price(advantages: list[int]) -> None:
    """Each window's s is max(0, s + advantage - slack); the first window in which it passes the price commands, with its evidence."""
    log = [challenger(window, 100.0 + advantage) for window, advantage in enumerate(advantages)]
    folded = Folded().run(log)
    statistic, since = 0.0, 0
    for decision, advantage in zip(decisions(folded), advantages, strict=True):
        since = since if statistic > 0 else decision.window
        statistic = max(0.0, statistic + advantage - WINDOW_SLACK)
        assert (decision.statistic, decision.price, decision.advantage) == (statistic, PRICE, advantage)
        assert (decision.action == "retrain") == (statistic > PRICE) == (decision.command is not None)
        if statistic > PRICE:
            break
    commands = folded.events("retraining-command", RetrainingCommand)[:1]
    assert [command.window for command in commands] == ([decision.window] if statistic > PRICE else [])
    for command in commands:
        assert (command.evidence_from, command.evidence_to, command.reason) == (since, command.window, "challenger")
        assert (command.statistic, command.price, command.cooldown_windows) == (statistic, PRICE, COOLDOWN_WINDOWS)
        assert (command.id, command.challenger, command.time_ms) == (
            command_of(command.window),
            f"c{command.window}",
            at(command.window),
        )


def test_a_first_model_is_free() -> None:
    """While the initial model is in force, the least advantage commands, at no price; one that is no better waits."""
    folded = Folded().run(
        [
            challenger(0, 50, None, model=INITIAL),
            challenger(1, 50, 50, model=INITIAL),
            challenger(2, 50, 49.5, model=INITIAL),
        ]
    )
    assert [(decision.statistic, decision.price, decision.action) for decision in decisions(folded)] == [
        (0.0, 0.0, "wait"),
        (0.0, 0.0, "wait"),
        (0.5, 0.0, "retrain"),
    ]
    assert folded.events("retraining-command")[0].price == 0.0


def test_only_the_first_model_is_free() -> None:
    """Where another model was in force, also one that was given, going back to the initial one does not make the next free."""
    folded = Folded().run([challenger(0, model="given"), challenger(1, model=INITIAL), challenger(2, 110, model=INITIAL)])
    assert [decision.price for decision in decisions(folded)] == [PRICE] * 3
    assert folded.commanded() == []


def test_nothing_compared_leaves_the_evidence_alone() -> None:
    """A window without a challenger moves s neither up nor down, and says so."""
    folded = Folded().run([challenger(0, 115), challenger(1, 500, None), challenger(2, 115)])
    assert [decision.statistic for decision in decisions(folded)] == pytest.approx([15 - WINDOW_SLACK] * 2 + [30 - 2 * WINDOW_SLACK])
    assert "no challenger" in decisions(folded)[1].reason
    assert folded.events("retraining-command")[0].evidence_from == 0


def test_cooldown_then_answer() -> None:
    """After a command there is none in the cooldown, none before its result has come, and each of these windows says which."""
    quiet = Folded().run([challenger(window, 200) for window in range(6)])
    assert quiet.commanded() == [0]
    reasons = [decision.reason for decision in decisions(quiet)]
    assert all("2 windows after window 0" in reason for reason in reasons[1:3])
    assert all("the result of the command of window 0 has not come" in reason for reason in reasons[3:])
    answered = Folded().run([challenger(0, 200), result(0), *(challenger(window, 200) for window in range(1, 6))])
    assert answered.commanded() == [0, 3]


@pytest.mark.parametrize(
    ("evaluation", "adopted", "again"),
    [
        (TOO_FEW, False, 2),  # as soon as there is enough
        (None, False, 3),
        (BETTER, False, 3),  # frozen, or in force already: the evidence was good
        (NO_BETTER, False, None),
        (BETTER, True, None),
    ],
)
def test_what_a_result_makes_of_the_evidence(evaluation: OffPolicy | None, adopted: bool, again: int | None) -> None:  # noqa: FBT001 - cases
    """Evidence that could not be weighed stands and is tried again; evidence that was answered starts anew."""
    saved = (30, 6, 6, 6)
    first, second, *others = [challenger(window, 100 + each) for window, each in enumerate(saved)]
    log = [first, second, result(0, evaluation, adopted=adopted), *others]
    folded = Folded().run(log)
    assert folded.commanded() == [0, *([again] if again else [])]
    # Anew, the window that had passed before the result came counts.
    added = np.cumsum(np.array(saved) - WINDOW_SLACK)
    assert [decision.statistic for decision in decisions(folded)] == pytest.approx([*added[:2], *(added[2:] - (0 if again else added[0]))])
    if again:
        assert folded.events("retraining-command")[1].evidence_from == 0


def test_too_little_evidence_is_waited_for() -> None:
    """After a refusal for its size, nothing is commanded before the evidence holds as many judgements as that size would take."""
    evaluation = msgspec.structs.replace(NO_BETTER, judged=120, effective_sample_size=30.0)
    log = [challenger(0, 130), result(0, evaluation), *(challenger(window, 104) for window in range(1, 6))]
    folded = Folded().run(log)
    assert folded.commanded() == [0, 3]  # 120 a window, 400 needed
    assert "holds 240 of 400 judgements" in decisions(folded)[1].reason


def test_too_few_that_differ_are_waited_for() -> None:
    """Where the two models differed on too few judgements to be compared, the evidence stands, and more of the same is awaited."""
    evaluation = msgspec.structs.replace(NO_BETTER, judged=200, differing=DIFFERING_LEAST - 5)
    log = [challenger(0, 130), result(0, evaluation), *(challenger(window, 104) for window in range(1, 6))]
    folded = Folded().run(log)
    assert folded.commanded() == [0, 2]  # 120 a window, 267 needed
    assert folded.events("retraining-command")[1].evidence_from == 0


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=30), st.sampled_from((0.125, 8.0, 1024.0)))
def test_costs_have_no_unit(advantages: list[int], scale: float) -> None:
    """Costs and price in another unit command the same retrainings, on the same evidence."""
    of = [
        Folded(settings_with(retraining_price=unit * PRICE)).run(
            [challenger(window, unit * (100.0 + each), unit * 100.0, deviation=unit * 9.0) for window, each in enumerate(advantages)]
        )
        for unit in (1.0, scale)
    ]
    one, other = ([(each.window, each.evidence_from) for each in folded.events("retraining-command")] for folded in of)
    assert one == other


def test_what_the_trainer_has_forgotten_is_not_waited_with() -> None:
    """In a scope too quiet for the trainer, a command follows only once all that it could use is new, not one every window."""
    evaluation = msgspec.structs.replace(NO_BETTER, judged=100, effective_sample_size=10.0)
    log = [entry for window in range(30) for entry in (challenger(window, 130), result(window, evaluation))]
    folded = Folded().run(log)
    assert folded.commanded() == [0, EXAMPLE_WINDOWS, 2 * EXAMPLE_WINDOWS, 3 * EXAMPLE_WINDOWS]
    assert "holds 840 of 1000 judgements" in decisions(folded)[EXAMPLE_WINDOWS - 1].reason


def test_an_old_command_without_a_result_harms_nothing() -> None:
    """A command that is never answered holds the others back for as long as the trainer keeps its evidence, and no longer."""
    folded = Folded().run([challenger(window, 130) for window in range(HISTORY_WINDOWS + 5)])
    last = folded.events("alignment", Fidelity)[-1]
    assert not folded.dead()
    assert folded.commanded()[:3] == [0, 8, 16]
    assert last.first_window == 5
    assert last.commanded == tuple(folded.commanded()[1:])


def test_the_bound_of_the_evidence_is_the_trainers() -> None:
    """At the trainer's least effective sample size a challenger that is no better settles the evidence; just under it, it does not."""
    for size, commands in ((SAMPLE_SIZE_LEAST, [0]), (SAMPLE_SIZE_LEAST - 0.1, [0, 1])):
        evaluation = msgspec.structs.replace(NO_BETTER, judged=200, effective_sample_size=size)
        log = [challenger(0, 130), result(0, evaluation), *(challenger(window, 104) for window in (1, 2, 3))]
        assert Folded().run(log).commanded() == commands


def test_another_model_in_force_starts_anew() -> None:
    """A rollback that the monitor did not command empties the evidence; the window in which it came, of two models, is not counted."""
    log = [challenger(0, 120), challenger(1, 500, model="m9"), challenger(2, 120, model="m9"), challenger(3, 109, model="m9")]
    folded = Folded().run(log)
    assert [decision.statistic for decision in decisions(folded)] == pytest.approx(
        [20 - WINDOW_SLACK, 0, 20 - WINDOW_SLACK, 29 - 2 * WINDOW_SLACK]
    )
    assert folded.events("retraining-command")[0].evidence_from == 2
    assert "m9 has come into force" in decisions(folded)[1].reason


@pytest.mark.parametrize("name", MONITORS)
def test_what_comes_twice_changes_nothing(name: str) -> None:
    """Any record delivered again, at once or at the end, writes nothing and leaves the rows as they are; positions aside."""
    log: list[Entry] = []
    for window in range(8):
        log += [loss(window, 0.5), trust(window), challenger(window, 130), result(window, NO_BETTER, adopted=window > 3)]
    settings = settings_with(monitor=name)
    plain = Folded(settings).run(log)
    for place, again in product(range(len(log)), (0, len(log))):
        end = max(place + 1, again)
        twice = Folded(settings).run([*log[:end], log[place], *log[end:]])
        assert twice.rows == plain.rows
        for topic in ("alignment", "retraining-command"):
            assert without_positions(twice.events(topic)) == without_positions(plain.events(topic))


def test_a_command_that_a_person_gave_is_not_ours() -> None:
    """The result of a command that the monitor did not give moves neither evidence nor cooldown."""
    log = [challenger(0, 110), challenger(1, 110), challenger(2, 105)]
    with_stranger = [log[0], result(0, NO_BETTER, command="asked"), *log[1:]]
    plain, other = Folded().run(log), Folded().run(with_stranger)
    assert plain.rows == other.rows
    assert [decision.statistic for decision in decisions(other)] == pytest.approx(np.cumsum([10, 10, 5]) - np.arange(1, 4) * WINDOW_SLACK)


def test_the_papers_rule() -> None:
    """`threshold` commands where a window's own loss passes the bound, whatever a challenger costs, once result and cooldown allow."""
    losses = [0.1, 0.3, 0.31, 0.5, 0.5, 0.5, None]
    log = [entry for window, paper in enumerate(losses) for entry in (loss(window, paper), challenger(window, 50, 90), result(window))]
    folded = Folded(LOSS).run(log)
    assert folded.commanded() == [2, 5]
    assert [(command.reason, command.evidence_from, command.statistic) for command in folded.events("retraining-command")] == [
        ("loss", 0, 0.31),
        ("loss", 0, 0.5),
    ]
    assert "loss 0.310 of 0.3" in decisions(folded)[2].reason
    assert [decision.monitor for decision in decisions(folded)] == ["threshold"] * 7


def test_the_papers_rule_waits_for_the_loss() -> None:
    """Windows of the trainer wait, in order, for the decider's; one that the decider never told is passed over."""
    log = [challenger(0), result(0), challenger(2), challenger(3)]
    folded = Folded(LOSS).run(log)
    assert decisions(folded) == []
    folded.run([loss(2, 0.9)])
    assert [(decision.window, decision.action) for decision in decisions(folded)] == [(0, "wait"), (2, "retrain")]
    folded.run([loss(3, 0.9)])
    assert [decision.window for decision in decisions(folded)] == [0, 2, 3]


def test_waiting_has_an_end() -> None:
    """Where the decider's windows never come, the trainer's do not pile up without end."""
    folded = Folded(LOSS).run([challenger(window) for window in range(WAITING_MAX + 20)])
    assert len(decisions(folded)) == 20
    assert folded.commanded() == []


def test_where_nothing_learns_nothing_is_commanded() -> None:
    """With the monitor off, or learning off in the scope, every window says so and none commands."""
    log = [entry for window in range(5) for entry in (loss(window, 0.9), challenger(window, 900))]
    off = Folded(settings_with(monitor="never")).run(log)
    assert {decision.reason for decision in decisions(off)} == {"the profile's monitor never retrains"}
    for name in ("challenger", "threshold"):
        settings = settings_with(monitor=name)
        settings.scopes[SCOPE] = ScopeSettings(learning=False)
        still = Folded(settings).run(log)
        assert all(decision.reason.endswith("learning is off in this scope") for decision in decisions(still))
        assert len(decisions(still)) == 5
        assert still.commanded() == []
    assert off.commanded() == []


def test_the_table_has_every_monitor_that_a_profile_can_name() -> None:
    """A profile's monitor is one of the table's, and each of the table's can be named."""
    assert set(MONITORS) == set(msgspec.inspect.type_info(Profile.__annotations__["monitor"]).values)  # type: ignore[attr-defined]  # a Literal's


def test_rows_stay_bounded() -> None:
    """After 200 windows with 50 candidates each, the rows of a scope are under 150 kB, and no larger than after 100."""

    def windows(start: int, end: int) -> list[Entry]:
        log: list[Entry] = []
        for window in range(start, end):
            costs = {f"model-{candidate:011}": 123.456 + candidate for candidate in range(max(0, window - 50), window)}
            log += [loss(window), challenger(window, 130 if window % 3 else 70, costs=costs), result(window, NO_BETTER)]
        return log

    folded = Folded().run(windows(0, 100))
    early = sum(map(len, folded.rows.values()))
    folded.run(windows(100, 200))
    late = sum(map(len, folded.rows.values()))
    assert late < 150_000
    assert late <= early * 1.01
    assert folded.events("alignment", Fidelity)[-1].windows == HISTORY_WINDOWS


def test_poison_is_a_dead_letter_and_its_neighbours_go_on() -> None:
    """What cannot be decoded goes to the topic's dead letters; the windows around it are decided."""
    poison: list[Entry] = [("alignment", b'{"kind":"challenger"'), ("retraining-result", b"{}")]
    folded = Folded().run([challenger(0, 130), *poison, challenger(1, 130)], cuts=set())
    assert folded.dead() == ["undecodable", "undecodable"]
    assert [decision.window for decision in decisions(folded)] == [0, 1]


def test_names_are_of_the_window_and_times_are_its_own() -> None:
    """Every event is named once for ever, under the scope's key, with the time of its window."""
    folded = Folded().run([challenger(window, 130) for window in range(5)])
    headers = [dict(output.headers) for output in folded.outputs]
    assert len({header["ce_id"] for header in headers}) == len(headers)
    assert {output.key for output in folded.outputs} == {SCOPE.encode()}
    windows = [event.window for event in folded.events("alignment") if not isinstance(event, Alarm)]
    assert all(before <= after for before, after in pairwise(windows))
    for event in folded.events("alignment") + folded.events("retraining-command"):
        assert isinstance(event, Alarm) or event.time_ms == at(event.window)
    assert not folded.events("alignment", ChallengerWindow)
