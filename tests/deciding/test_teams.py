"""Teams in the loop: how much each counts, what is published of them, whose word of a team is believed."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from agents import scoring, teams
from agents.alignment import rate
from agents.deciding.rows import ClassRow, ScopeRow, SourceRow
from agents.deciding.turn import OTHERS
from schemas.alignment import TeamSummary
from schemas.events import Answer, Command, Control
from tests.deciding.logs import START_MS, Entry, Folded, entry, feedback, heartbeat, in_teams, run, scenario, settings_with
from tests.deciding.told import LIAR, OPEN_TO_ALL, Told, classes, close_to, log_of, scores, told_logs

ROSTER = {"ana": "sre", "ben": "storage", "cho": "sre"}
FIELDS: dict[str, dict[str, object]] = {"logit": {}, "mean": {"score": "mean"}, "power": {"score": "mean", "step": "power"}}
SETTINGS = {name: in_teams(settings_with(teams="equal", **OPEN_TO_ALL, **fields), **ROSTER) for name, fields in FIELDS.items()}
CLASS = "shop|cpu:up|restart"
LIKE, OVERRIDE = Answer.LIKE, Answer.OVERRIDE


def summaries(folded: Folded, *, whole_past: bool = True) -> list[TeamSummary]:
    """What was published of teams."""
    return [event for event in folded.events("alignment") if isinstance(event, TeamSummary) and (event.window == -1) == whole_past]


def saying(answer: Entry, team: str) -> Entry:
    """The answer with a team of its operator's own word."""
    event = msgspec.json.decode(answer.value)
    return Entry(answer.topic, answer.key, msgspec.json.encode({**event, "team": team}))


def test_an_answer_counts_as_its_teams_share_says() -> None:
    """Kappa of each answer is multiplied by min(2, n / (T n_team)), and the class counts by team; an outcome is of no team."""
    told = [Told("cpu:up", 1.6, {"ana": LIKE})] * 6 + [Told("cpu:up", 1.6, {"ben": LIKE})]
    settings = in_teams(settings_with(teams="equal", **OPEN_TO_ALL), **ROSTER)
    folded = run(log_of(told, lies=False), settings)
    counted = [judgement.answers[0].counted for judgement in folded.events("judgement")]
    kappas = [float(scoring.cap(number, number)) for number in range(1, 7)]
    assert counted == pytest.approx([*kappas, 2.0])
    assert folded.row(ClassRow, "shop", CLASS).by_team == {"sre": 6, "storage": 1}
    # The seventh of the first team: 8 answers of two teams, 7 of them its own.
    more = run([*log_of([*told, Told("cpu:up", 1.6, {"ana": LIKE})], lies=False)], settings)
    assert more.events("judgement")[-1].answers[0].counted == pytest.approx(float(scoring.cap(8, 7)) * 8 / (2 * 7))


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
@given(told=told_logs)
@hypothesis_settings(max_examples=6, deadline=None)
def test_with_one_team_nothing_is_different(fields: dict[str, object], told: list[Told]) -> None:
    """Where all operators are of one team, or of none, `equal` gives the scores of `volume`."""
    log = log_of(told, lies=True)
    for roster in ({"ana": "sre", "ben": "sre", "cho": "sre", LIAR: "sre"}, {}):
        volume, equal = (
            run(log, in_teams(settings_with(teams=kind, **OPEN_TO_ALL, **fields), **roster), set()) for kind in ("volume", "equal")
        )
        assert scores(equal) == scores(volume)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@given(told=told_logs)
@hypothesis_settings(max_examples=8, deadline=None)
def test_a_revoked_member_was_never_there(settings: Any, told: list[Told]) -> None:  # noqa: ANN401 - settings of the table
    """Revoking one of a team ends in the scores and counts by team of the log without its answers."""
    settings = in_teams(settings, **ROSTER, **{LIAR: "storage"})
    end = entry("scenario", heartbeat(999))
    revoke = entry("control", Control(Command.REVOKE, START_MS, "ana", "shop", LIAR))
    revoked = run([*log_of(told, lies=True), revoke, end], settings, set())
    honest = run([*log_of(told, lies=False), end], settings, set())
    assert scores(revoked) == close_to(scores(honest))
    by_team = [{name: {team: n for team, n in row.by_team.items() if n} for name, row in classes(f).items()} for f in (revoked, honest)]
    assert by_team[0] == by_team[1]


def test_rates_and_conflict_are_those_counted_by_hand() -> None:
    """Each team's overridden decisions over those it answered, the worst team, and the decisions on which two teams differ."""
    told = [
        Told("cpu:up", 1.6, {"ana": OVERRIDE, "ben": LIKE}),
        Told("cpu:up", 1.6, {"ana": LIKE, "ben": LIKE}),
        Told("cpu:up", 1.6, {"ana": LIKE}, lie=OVERRIDE),
        Told("cpu:up", 1.6, {"ana": Answer.NEUTRAL, "ben": OVERRIDE}),
        Told("cpu:up", 1.6, {"ben": OVERRIDE}),
        Told("cpu:up", 1.6, {"ana": LIKE}),
    ]
    folded = run(log_of(told, lies=True), in_teams(settings_with(window_scenarios=3, **OPEN_TO_ALL), **ROSTER))
    first, whole = summaries(folded, whole_past=False)[0], summaries(folded)[-1]
    # Two decisions have closed when the third fills the first window, five when the sixth fills the second.
    assert [(each.team, each.override_given_answered) for each in first.teams] == [("sre", rate(1, 2)), ("storage", rate(0, 2))]
    assert (first.worst, first.conflict) == ("sre", rate(1, 2))
    assert [(each.team, each.override_given_answered) for each in whole.teams] == [("sre", rate(1, 3)), ("storage", rate(2, 4))]
    assert (whole.worst, whole.conflict) == ("storage", rate(1, 2))


def test_a_team_says_what_its_trusted_members_say() -> None:
    """Two unknown members who override do not outweigh a trusted one: the team has not overridden."""
    log = [entry("scenario", scenario("a", 0))]
    answers = {"ana": LIKE, "eve": OVERRIDE, "mal": OVERRIDE}
    log += [entry("feedback", feedback("a", kind, 0, name)) for name, kind in answers.items()]
    settings = in_teams(settings_with(**OPEN_TO_ALL, window_scenarios=2), **ROSTER, eve="sre", mal="sre")
    quarantine = [entry("control", Control(Command.QUARANTINE, START_MS, "ana", "shop", name)) for name in ("eve", "mal")]
    end = [entry("scenario", heartbeat(10)), entry("scenario", scenario("b", 20, entity="web-2"))]
    for commands, overridden in ((quarantine, 0), ([], 1)):
        (whole,) = summaries(run([*log, *commands, *end], settings))
        assert whole.teams[0].override_given_answered == rate(overridden, 1)


def test_nothing_is_published_where_no_team_is_known() -> None:
    """Without a team of anyone no summary of teams is written."""
    folded = run(log_of([Told("cpu:up", 1.6, {"ana": LIKE})] * 4, lies=False), in_teams(settings_with(window_scenarios=2, **OPEN_TO_ALL)))
    assert summaries(folded) == []
    assert len(folded.events("alignment")) > 4


@pytest.mark.parametrize(("roster", "believed"), [({}, "made-up"), ({"ana": "sre"}, None)])
def test_a_team_of_ones_own_word_is_believed_where_there_is_no_roster(roster: dict[str, str], believed: str | None) -> None:
    """With a roster, an account that is not on it is of no team, whatever it says; the judgement lists what it said."""
    log = [entry("scenario", scenario("a", 0)), saying(entry("feedback", feedback("a", LIKE, 0, LIAR)), "made-up")]
    folded = run([*log, entry("scenario", heartbeat(10))], in_teams(settings_with(**OPEN_TO_ALL), **roster))
    assert folded.row(SourceRow, "shop", LIAR).team == believed
    assert list(folded.row(ScopeRow, "shop").total.teams) == ([believed] if believed else [])
    assert folded.events("judgement")[0].answers[0].team == "made-up"


def test_teams_are_bounded() -> None:
    """However many teams are made up, scope and class count by at most TEAMS_MAX names and one for the rest."""
    log = log_of([Told("cpu:up", 1.6, {f"o{number}": LIKE}) for number in range(30)], lies=False)
    log = [saying(each, f"team-{number}") if each.topic == "feedback" else each for number, each in enumerate(log)]
    folded = run(log, in_teams(settings_with(teams="equal", **OPEN_TO_ALL)), set())
    for counted in (folded.row(ScopeRow, "shop").total.teams, folded.row(ClassRow, "shop", CLASS).by_team):
        assert len(counted) == teams.TEAMS_MAX + 1
        assert OTHERS in counted
