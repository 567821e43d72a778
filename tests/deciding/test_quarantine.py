"""A source that says otherwise than the others, again and again: found, silenced, released, revoked."""

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents import trust
from agents.deciding import plain, quarantine
from agents.deciding.rows import ScopeRow, SourceRow
from agents.state import read_row, row_key
from schemas.alignment import Alarm, TrustSummary
from schemas.events import Answer, Command, Control, Verdict
from schemas.settings import Settings
from tests.deciding.logs import START_MS, Entry, Folded, busy_log, entry, feedback, heartbeat, run, scenario, settings_with
from tests.deciding.told import LIAR, OPEN_TO_ALL, SETTINGS, Told, classes, close_to, coins, entries_of, log_of, scores

DEFAULT = SETTINGS["default"]
LIKE, OVERRIDE = Answer.LIKE, Answer.OVERRIDE
HONEST = {"ana": LIKE, "ben": LIKE}
LYING = [Told("cpu:up", 1.6, HONEST, OVERRIDE)] * 30
LOG = log_of(LYING, lies=True)


def command(kind: Command, scope: str | None = "shop", subject: str = LIAR) -> Entry:
    """One control record about a source."""
    return entry("control", Control(kind, START_MS, "ana", scope, subject))


def alarms(folded: Folded) -> list[Alarm]:
    """What was said of sources that were silenced by their sum."""
    return [event for event in folded.events("alignment") if isinstance(event, Alarm) and event.name == quarantine.ALARM]


def silenced(folded: Folded) -> list[str]:
    """Who is in the scope's quarantine."""
    return folded.row(ScopeRow, "shop").quarantined


def taken(folded: Folded) -> list[bool]:
    """Which of the liar's answers its class took, in the order of the log."""
    judgements = [judgement for judgement in folded.events("judgement") if judgement.revision == 1]
    return [answer.sequence > 0 for judgement in judgements for answer in judgement.answers if answer.source == LIAR]


FOUND = run(LOG, DEFAULT, set())
LATER = 30 * 20 + 60  # a minute after all of LOG


def more(told: Iterable[Answer], start: int = LATER, operator: str = LIAR) -> list[Entry]:
    """Decisions after LOG that both honest operators like and one source answers; all close."""
    log = []
    for number, kind in enumerate(told):
        name, minute = f"m{start}-{number}", start + 20 * number
        log.append(entry("scenario", scenario(name, minute, entity=name, score=1.6)))
        log += [entry("feedback", feedback(name, LIKE, minute, operator=honest)) for honest in HONEST]
        log.append(entry("feedback", feedback(name, kind, minute, operator=operator)))
        log.append(entry("scenario", heartbeat(minute + 10)))
    return log


def test_who_says_the_opposite_is_silenced_and_only_it() -> None:
    """A liar beside two honest operators is put in quarantine within 30 of its answers, by one alarm with the numbers."""
    assert silenced(FOUND) == [LIAR]
    (alarm,) = alarms(FOUND)
    row = FOUND.row(SourceRow, "shop", LIAR)
    assert (alarm.raised, alarm.scope, row.earned) == (True, "shop", 0.0)
    assert alarm.detail.startswith(f"{LIAR}: disagreement {row.disagreement:.2f} passed 8 ")
    assert 8 < row.disagreement < 8 + 1
    assert [FOUND.row(SourceRow, "shop", name).disagreement for name in HONEST] == [0.0, 0.0]


@pytest.mark.parametrize("settings", [DEFAULT, SETTINGS["mean"]], ids=["logit", "mean"])
def test_from_the_answer_that_passes_on_nothing_counts(settings: Settings) -> None:
    """A log in which the liar goes on ends as one in which it stops before the answer with which it was silenced."""
    found = run(LOG, settings, set())
    count = sum(taken(found))
    assert taken(found) == [True] * count + [False] * (30 - count)
    assert 8 < count < 30
    stops = [Told("cpu:up", 1.6, HONEST, OVERRIDE if number < count else None) for number in range(30)]
    stopped = run(log_of(stops, lies=True), settings, set())
    assert silenced(stopped) == []
    assert scores(found) == scores(stopped)
    assert coins(found, LIAR) == coins(stopped, LIAR)
    for name in HONEST:
        assert coins(found, name) == coins(stopped, name)
        assert found.row(SourceRow, "shop", name).disagreement == stopped.row(SourceRow, "shop", name).disagreement
    total, expected = (folded.row(ScopeRow, "shop").total for folded in (found, stopped))
    assert (total.answered, total.overridden, total.override) == (expected.answered, expected.overridden, expected.override)


def test_the_honest_stay() -> None:
    """Operators who agree, and one who errs now and then, are never silenced, and their sums come back to 0."""
    errs = [Told("cpu:up", 1.6, HONEST, OVERRIDE if number % 5 == 0 else LIKE) for number in range(60)]
    folded = run(log_of(errs, lies=True), DEFAULT, set())
    assert (silenced(folded), alarms(folded)) == ([], [])
    assert folded.row(SourceRow, "shop", LIAR).disagreement == 0


def test_a_suspect_is_heard_as_far_as_it_has_credit() -> None:
    """Every answer of one that turns is heard through its coins' channel, mixed with a coin's by its sum with that answer."""
    folded, heard_of_own = run(log_of([Told("cpu:up", 1.6, HONEST, LIKE)] * 20, lies=True), DEFAULT, set()), []
    for number, told in enumerate(LYING, 21):
        own = trust.channel(trust.Coins(*coins(folded, LIAR)))
        run(list(entries_of(number, told, lies=True)), DEFAULT, onto=folded)
        if silenced(folded):
            break
        heard = folded.events("judgement")[-1].answers[-1]
        assert heard.source == LIAR
        expected = trust.suspected(own, folded.row(SourceRow, "shop", LIAR).disagreement)
        assert [heard.alpha, heard.beta] == pytest.approx([*expected])
        heard_of_own.append((heard.alpha - 0.5) / (own.alpha - 0.5))
    assert silenced(folded) == [LIAR]
    assert heard_of_own == sorted(heard_of_own, reverse=True)
    assert heard_of_own[0] > 0.9
    assert 0 < heard_of_own[-1] < 0.2


@pytest.mark.parametrize("name", ["no trust", "pull"])
def test_trust_decides_whether_there_is_quarantine(name: str) -> None:
    """Where a profile has no trust nobody is accused, and no voice is remembered."""
    folded = run(LOG, SETTINGS[name], set())
    has_trust = SETTINGS[name].profile.trust
    assert bool(silenced(folded)) == has_trust
    assert any(row.recent for row in classes(folded).values()) == has_trust


def test_a_frozen_scope_accuses_nobody() -> None:
    """What is said while learning is frozen moves no sum."""
    folded = run([command(Command.FREEZE, subject=""), *LOG], DEFAULT, set())
    assert (silenced(folded), folded.row(SourceRow, "shop", LIAR).disagreement) == ([], 0.0)


def test_late_answers_and_outcomes_are_no_voices() -> None:
    """Who answers late is neither accused nor held against others; nor is a source of outcomes."""
    denied = [Verdict.NONE if number == 15 else None for number in range(30)]
    told = [Told("cpu:up", 1.6, HONEST, late_lie=OVERRIDE, early=verdict, afterwards=verdict) for verdict in denied]
    folded = run(log_of(told, lies=True), DEFAULT, set())
    assert silenced(folded) == []
    assert folded.row(SourceRow, "shop", LIAR).disagreement == 0
    assert {voice.source for row in classes(folded).values() for voice in row.recent} == set(HONEST)


def test_a_release_starts_the_sum_anew() -> None:
    """After a release the alarm is taken back, the sum is 0, the source is heard, and silenced again only as slowly as before."""
    folded = run([*LOG, command(Command.RELEASE)], DEFAULT, set())
    assert (silenced(folded), folded.row(SourceRow, "shop", LIAR).disagreement) == ([], 0.0)
    assert [alarm.raised for alarm in alarms(folded)] == [True, False]
    run(more([OVERRIDE] * 11), DEFAULT, onto=folded)
    assert silenced(folded) == []
    assert 0 < folded.row(SourceRow, "shop", LIAR).disagreement < 8
    run(more([OVERRIDE] * 12, LATER + 400), DEFAULT, onto=folded)
    assert silenced(folded) == [LIAR]
    assert [alarm.raised for alarm in alarms(folded)] == [True, False, True]


def test_a_release_gives_the_budget_back_what_the_source_is_worth() -> None:
    """From its release on, before it answers again, a source adds to the trusted budget what its coins and answers say."""
    turned = log_of([*[Told("cpu:up", 1.6, HONEST, LIKE)] * 20, *LYING], lies=True)
    silent = run(turned, DEFAULT, set())
    assert (silenced(silent), silent.row(SourceRow, "shop", LIAR).earned) == ([LIAR], 0.0)
    row = run([command(Command.RELEASE)], DEFAULT, onto=silent).row(SourceRow, "shop", LIAR)
    rate = DEFAULT.profile.override_rate
    assert row.earned == pytest.approx(plain.wealth(plain.channel(row), row.booked_answered, row.booked_overridden, rate))
    assert row.earned != 0


def test_what_is_said_in_quarantine_is_written_down_through_its_own_channel() -> None:
    """An answer of a source that its sum has silenced weighs nothing and keeps the channel of its coins, for whoever releases it."""
    (last,) = [answer for answer in FOUND.events("judgement")[-1].answers if answer.source == LIAR]
    assert last.weight == 0
    assert [last.alpha, last.beta] == pytest.approx([*plain.channel(FOUND.row(SourceRow, "shop", LIAR))])


def test_a_release_of_all_scopes_leaves_what_a_scope_has_silenced() -> None:
    """A release of all leaves the scope's own quarantine with its sum and alarm; the scope's own release ends all three."""
    folded = run([*LOG, command(Command.RELEASE, None)], DEFAULT, set())
    assert (silenced(folded), [alarm.raised for alarm in alarms(folded)]) == ([LIAR], [True])
    assert folded.row(SourceRow, "shop", LIAR).disagreement == FOUND.row(SourceRow, "shop", LIAR).disagreement
    run([command(Command.RELEASE)], DEFAULT, onto=folded)
    assert (silenced(folded), [alarm.raised for alarm in alarms(folded)]) == ([], [True, False])
    assert folded.row(SourceRow, "shop", LIAR).disagreement == 0


def test_the_alarm_stays_while_another_is_silenced() -> None:
    """With two liars silenced, releasing one takes no alarm back; the second release does."""
    both = [Told("cpu:up", 1.6, {"ana": LIKE, "ben": LIKE, "cho": LIKE, "mal": OVERRIDE}, OVERRIDE)] * 40
    folded = run(log_of(both, lies=True), DEFAULT, set())
    assert sorted(silenced(folded)) == [LIAR, "mal"]
    raised = [[alarm.raised for alarm in alarms(run([command(Command.RELEASE, None, "mal")], DEFAULT, onto=folded))]]
    run([command(Command.RELEASE, "shop", "mal")], DEFAULT, onto=folded)
    run([command(Command.RELEASE, "shop", LIAR)], DEFAULT, onto=folded)
    assert raised == [[True, True]]
    assert [alarm.raised for alarm in alarms(folded)] == [True, True, False]


@pytest.mark.parametrize("reach", ["shop", None])
def test_a_quarantine_by_command_is_no_accusation(reach: str | None) -> None:
    """A source that a person puts in quarantine moves no sum, its own and others', and no alarm is raised."""
    folded = run([command(Command.QUARANTINE, reach), *LOG], DEFAULT, set())
    assert alarms(folded) == []
    assert [folded.row(SourceRow, "shop", name).disagreement for name in (LIAR, *HONEST)] == [0.0] * 3
    assert {voice.source for row in classes(folded).values() for voice in row.recent} == set(HONEST)
    assert alarms(run([command(Command.RELEASE, reach)], DEFAULT, onto=folded)) == []


def test_who_is_in_quarantine_is_held_against_nobody() -> None:
    """What a source said before a quarantine stays remembered, and accuses no one while it lasts."""
    start = log_of([Told("cpu:up", 1.6, {"cho": OVERRIDE, "ben": OVERRIDE, "ana": LIKE})] * 2, lies=False)
    quarantined = run([*start, command(Command.QUARANTINE, subject="cho")], DEFAULT, set())
    before = quarantined.row(SourceRow, "shop", "ana").disagreement
    (row,) = classes(quarantined).values()
    assert {voice.source for voice in row.recent} == {"ana", "ben", "cho"}
    end = [entry("scenario", scenario("z", 99, entity="z")), entry("feedback", feedback("z", LIKE, 99)), entry("scenario", heartbeat(120))]
    after = run(end, DEFAULT, onto=quarantined).row(SourceRow, "shop", "ana").disagreement
    assert after == before > 0


def test_a_revocation_takes_the_voice_and_starts_the_sum_anew() -> None:
    """After a revocation the source has no voice and a sum of 0, the alarm is taken back; sums of the others are those without it."""
    few = log_of([Told("cpu:up", 1.6, {**HONEST, "cho": OVERRIDE})] * 3, lies=False)
    before = run(few, DEFAULT, set())
    sums = {name: before.row(SourceRow, "shop", name).disagreement for name in HONEST}
    assert before.row(SourceRow, "shop", "cho").disagreement > 0
    assert "cho" in {voice.source for row in classes(before).values() for voice in row.recent}
    revoked = run([command(Command.REVOKE, subject="cho")], DEFAULT, onto=before)
    assert revoked.row(SourceRow, "shop", "cho").disagreement == 0
    assert {name: revoked.row(SourceRow, "shop", name).disagreement for name in HONEST} == sums
    assert {voice.source for row in classes(revoked).values() for voice in row.recent} == set(HONEST)
    assert [alarm.raised for alarm in alarms(run([*LOG, command(Command.REVOKE)], DEFAULT, set()))] == [True, False]


@given(seed=st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=15)
def test_what_a_class_remembers_is_bounded_and_nobody_has_two_voices(seed: int) -> None:
    """In any log each class remembers eight sources at most, each once, all trusted enough, none of outcomes."""
    folded = run(busy_log(seed, answers=300), settings_with(**OPEN_TO_ALL), set())
    for scope in ("shop", "bank"):
        for row in classes(folded, scope).values():
            names = [voice.source for voice in row.recent]
            assert len(names) == len(set(names)) <= quarantine.REMEMBERED
            assert all(quarantine.VOICE_WEIGHT < voice.weight <= 1 and 0 < voice.predicted < 1 for voice in row.recent)
            assert not any(name.startswith("outcome:") for name in names)


def test_a_loud_source_pushes_no_one_out() -> None:
    """However often one source answers in a class, the latest answers of the others are still what it is held against."""
    shouting = [Told("cpu:up", 1.6, HONEST)] + [Told("cpu:up", 1.6, {"cho": LIKE})] * 20 + [Told("cpu:up", 1.6, {LIAR: OVERRIDE})] * 25
    folded = run(log_of(shouting, lies=False), DEFAULT, set())
    (row,) = classes(folded).values()
    assert {"cho", *HONEST} <= {voice.source for voice in row.recent}
    assert silenced(folded) == [LIAR]


def test_fresh_accounts_push_no_one_out() -> None:
    """However many new unknown accounts echo a liar, the trusted voices are still what it is held against, and it is silenced."""
    echoes = [{f"new-{number}-{each}": OVERRIDE for each in range(quarantine.REMEMBERED)} for number in range(30)]
    folded = run(log_of([Told("cpu:up", 1.6, HONEST | echo, OVERRIDE) for echo in echoes], lies=True), DEFAULT, set())
    (row,) = classes(folded).values()
    assert set(HONEST) <= {voice.source for voice in row.recent}
    assert LIAR in silenced(folded)
    assert not set(HONEST) & set(silenced(folded))


@given(seed=st.integers(0, 2**32 - 1), cuts=st.sets(st.integers(0, 400)), bound=st.sampled_from([0.3, 1.0]))
@hypothesis_settings(max_examples=12)
def test_quarantine_is_blind_to_blocks(seed: int, cuts: set[int], bound: float) -> None:
    """With a bound so low that sources are silenced all the time, any cut of any log gives the same bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust, "QUARANTINE_BOUND", bound)
        log = busy_log(seed)
        whole, cut, single = (run(log, settings_with(**OPEN_TO_ALL), how) for how in (set(), cuts, None))
    strip = [output._replace(ordinal=0) for output in whole.outputs]
    for other in (cut, single):
        assert [output._replace(ordinal=0) for output in other.outputs] == strip
        assert other.rows == whole.rows


@given(seed=st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=15)
def test_the_scopes_mean_error_is_that_of_its_sources(seed: int) -> None:
    """Whatever is answered, told, quarantined and revoked, the scope's running sums are those over its sources as they stand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust, "QUARANTINE_BOUND", 1.0)
        folded = run(busy_log(seed), settings_with(**OPEN_TO_ALL), set())
    for scope in ("shop", "bank"):
        prefix = row_key(SourceRow, scope, "")
        sources = [read_row(SourceRow, value) for key, value in folded.rows.items() if key.startswith(prefix)]
        row = folded.row(ScopeRow, scope)
        assert row.trusted == pytest.approx(sum(source.trusted for source in sources), abs=1e-9)
        assert row.erring == pytest.approx(sum(source.erring for source in sources), abs=1e-9)
        for name in row.quarantined:
            known = folded.rows.get(row_key(SourceRow, scope, name))
            assert known is None or read_row(SourceRow, known).trusted == 0


def test_trust_summaries_tell_the_sum() -> None:
    """The summary of a window has each source's sum, and the weight 0 of the one that it has silenced."""
    folded = run([*LOG, entry("scenario", scenario("z", LATER, entity="z"))], settings_with(**OPEN_TO_ALL, window_scenarios=31), set())
    (summary,) = [event for event in folded.events("alignment") if isinstance(event, TrustSummary)]
    told = {source.source: source for source in summary.sources}
    assert told[LIAR].disagreement == folded.row(SourceRow, "shop", LIAR).disagreement > 8
    assert (told[LIAR].quarantined, told[LIAR].weight, told["ana"].disagreement) == (True, 0.0, 0.0)
    assert msgspec.to_builtins(summary)["sources"][0]["disagreement"] == 0.0


def test_revoking_who_was_silenced_leaves_the_log_without_it() -> None:
    """Scores and coins after quarantine and revocation are those of a log in which the source never spoke."""
    revoked, honest = run([*LOG, command(Command.REVOKE)], DEFAULT, set()), run(log_of(LYING, lies=False), DEFAULT, set())
    assert scores(revoked) == close_to(scores(honest))
    for name in HONEST:
        assert coins(revoked, name) == pytest.approx(coins(honest, name), rel=1e-9)
    row, expected = (folded.row(ScopeRow, "shop") for folded in (revoked, honest))
    assert (row.trusted, row.erring) == pytest.approx((expected.trusted, expected.erring))
