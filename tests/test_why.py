"""Why a decision came out as it did: what the words say is what the records hold, wherever they are found."""

import asyncio
import json
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from redis.asyncio import Redis
from rich.console import Console

from agents.guardrails import FACTS_RULE, KILL_RULE
from schemas import codecs
from schemas.errors import UnknownDecisionError
from schemas.events import Answer, Decision, Judgement, Life, Model, Reason, Recommendation, StandingAnswer, Status
from schemas.identity import partition_of
from schemas.settings import Deployment, Rule, Settings
from streams import admin
from streams.cli import main, why
from streams.embedded import Kafka, Valkey
from streams.explaining import Explanation, explain, words
from streams.explaining.finding import MATCHES_MAX, ask_read_model, explain_logged, explain_running
from streams.groups import TopicPlan
from streams.logs.sending import open_sender
from streams.reporting.records import records
from streams.serving.readmodel import Changes, Entry
from streams.topology import TOPOLOGY
from tests.deciding.logs import DEFAULT, PAPER_FIELDS, busy_log, decision_of, run, settings_with
from tests.replay.simulation import Topics, append, empty, memory_log, save, simulate

EXAMPLES = Path(__file__).resolve().parent.parent / "schemas" / "examples"
DECIDING = TOPOLOGY[1]
PARTITIONS = 2
APPENDED_MS = 1_900_000_000_000
HOSTILE = "[red]<b>x\x1b[31m\u202e"


def example(path: str, kind: type[Any], **changes: Any) -> Any:  # noqa: ANN401 - an event of that kind
    """An event of the examples with some fields replaced."""
    return replace(msgspec.json.decode((EXAMPLES / f"{path}.json").read_bytes(), type=kind), **changes)


def decided(reason: str, **changes: Any) -> Decision:  # noqa: ANN401 - fields of a decision
    """A decision of the examples, by its reason."""
    event: Decision = example(f"decision/{reason.replace('_', '-')}", Decision, **changes)
    return event


def printed(explanation: Explanation) -> str:
    """What `npo why` prints, as one line."""
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(why.picture(explanation))
    return " ".join(capture.get().split())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log in which everything meets, of two partitions, as `npo export` writes it."""
    held: Topics = {topic.name: [empty(topic.name, partition) for partition in range(PARTITIONS)] for topic in DECIDING.inputs}
    for record in busy_log(5):
        place = partition_of(record.key or b"", PARTITIONS)
        append(held, record.topic, place, (APPENDED_MS, record.key, record.value, ()))
    directory = tmp_path_factory.mktemp("log")
    save(memory_log(simulate((DECIDING,), held, DEFAULT, seed=5), DEFAULT), directory)
    return directory


def test_every_reason_status_and_origin_has_words() -> None:
    """Whatever a record may say has a sentence: a new kind cannot be forgotten."""
    assert set(words.REASONS) == set(Reason)
    assert set(words.STATUSES) == set(Status)
    assert set(words.ANSWERS) == set(Answer)
    assert set(words.ORIGINS) == set(Model.__annotations__["origin"].__args__)
    assert {Life(life) for life in Life} == set(Life)


@pytest.mark.parametrize("reason", list(Reason))
def test_reason_is_told_with_its_numbers(reason: Reason) -> None:
    """Each reason's sentence is whole, and the explanation survives JSON as it is."""
    event = decided(reason.value)
    explanation = explain(event)
    assert event.reason is reason
    assert explanation.why.endswith(".")
    assert "{" not in explanation.why
    assert explanation.why in printed(explanation)
    assert msgspec.json.decode(msgspec.json.encode(explanation), type=Explanation) == explanation


def test_budget_cooldown_and_shadow_name_what_stopped_it() -> None:
    """Budget and exploration tell wealth and open ones, shadow what the score alone would have done, cooldown its length if known."""
    event = decided("budget")
    assert f"{event.budget.trusted:.1f} overrides were left, and {event.budget.open} open" in explain(event).why
    raw = Settings(replace(DEFAULT.profile, budget="raw"), DEFAULT.policy, DEFAULT.catalogue)
    under = replace(event, versions={**event.versions, "settings": raw.digest})
    assert f"{event.budget.raw:.1f} overrides were left" in explain(under, settings=raw).why
    assert "audited exploration" in explain(decided("exploration")).why
    assert "would have been surfaced" in explain(decided("shadow", draw=0.9)).why
    assert "would have been withheld" in explain(decided("shadow", draw=0.1)).why
    cooling = decided("cooldown")
    assert "within the cooldown" in explain(cooling, settings=DEFAULT).why
    cooling = replace(cooling, versions={**cooling.versions, "settings": DEFAULT.digest})
    assert "within 60 min" in explain(cooling, settings=DEFAULT).why


def test_numbers_that_are_compared_are_told_apart() -> None:
    """A draw just below the threshold is never written as equal to it."""
    told = explain(decided("below_threshold", draw=0.79996, threshold=0.8)).why
    assert "0.79996 did not reach the threshold of 0.80000" in told


def test_policy_is_told_with_rule_reason_and_facts() -> None:
    """Under the policy that refused: the rule's reason and the facts it names; under another: its name alone; kill and errors too."""
    rule = Rule("blast", "action.blast_radius > 0 && !action.reversible", reason="too many")
    settings = Settings(DEFAULT.profile, replace(DEFAULT.policy, rules=(rule,)), DEFAULT.catalogue)
    event = decided("policy")
    facts = {**event.verdict.facts, "action.blast_radius": 12, "action.reversible": False}
    event = replace(event, verdict=replace(event.verdict, rules=("blast",), facts=facts))
    under = replace(event, versions={**event.versions, "settings": settings.digest})
    assert "rule blast: too many (action.blast_radius = 12, action.reversible = False)" in explain(under, settings=settings).why
    assert "rule blast." in explain(event, settings=settings).why
    killed = replace(event, verdict=replace(event.verdict, rules=(KILL_RULE,)))
    assert "the kill switch was on" in explain(killed).why
    broken = replace(event, verdict=replace(event.verdict, rules=(FACTS_RULE,), error="scenario.score is nan"))
    assert "scenario.score is nan" in explain(broken).why


@pytest.mark.parametrize(("profile", "kind"), [({}, "logit"), (PAPER_FIELDS, "mean")], ids=["default", "paper"])
def test_score_adds_up(profile: dict[str, object], kind: str) -> None:
    """Intercept, contributions and offset give the logit of the confidence, of every decision; with `mean` they do not claim to."""
    decisions: Sequence[Decision] = run(busy_log(1), settings_with(**profile)).events("decision")
    assert len(decisions) > 20
    kinds = set()
    for event in decisions:
        score = explain(event).score
        assert score.total == pytest.approx(score.intercept + sum(part.contribution for part in score.contributions) + score.offset)
        sizes = [abs(part.contribution) for part in score.contributions]
        assert sizes == sorted(sizes, reverse=True)
        assert {part.feature for part in score.contributions} | set(score.unweighted) == set(event.features) | set(event.contributions)
        if score.kind == "logit":
            assert score.total == pytest.approx(log(event.confidence / (1 - event.confidence)), abs=1e-4)
        kinds.add(score.kind)
    assert kind in kinds
    assert kinds == {"logit"} or kind == "mean"


def test_class_means_stand_beside_their_features() -> None:
    """A feature and its class's mean are one row or name: both values, what the mean adds, and the sum of what they add."""
    features = {"log_score": 1.25, "class:log_score": 0.9, "share_high": 0.5, "class:share_high": 0.4, "hour": 3.0, "class:hour": 2.0}
    added = {"log_score": 4.0, "class:log_score": -1.5, "class:share_high": 0.25}
    event = decided("passed", features=features, contributions=added, model_output=3.0, offset=0.0, confidence=0.9525741268224334)
    told = printed(explain(event))
    assert "log_score 1.25 (class mean 0.9, which adds -1.500) +2.500" in told
    assert "share_high 0.5 (class mean 0.4, which adds +0.250) +0.250" in told
    assert "without weight in this model: hour 3 (class mean 2)" in told
    assert "class:" not in told


def test_who_was_in_quarantine_is_told() -> None:
    """An answer that counted for nothing although its source knows something is told as one in quarantine; one of a poor source is not."""
    first: Judgement = example("judgement/answer", Judgement)
    silenced = replace(first.answers[0], alpha=0.9, beta=0.8, weight=0.0, team="storage")
    for answer, expected in ((silenced, True), (replace(silenced, beta=0.1), False), (replace(silenced, weight=0.5), False)):
        told = printed(explain(decided("passed"), judgements=[replace(first, answers=(answer,))]))
        assert ("(in quarantine)" in told) == expected
        assert "storage" in told


def test_life_is_told_moment_by_moment() -> None:
    """Who answered what and why, who took it back, what came late; nothing twice."""
    opened: Recommendation = example("recommendation/opened", Recommendation)
    ana = StandingAnswer("ana", Answer.OVERRIDE, 1, opened.time_ms, team="sre", reason="noise", note="planned", counter_proposal="wait")
    ben = StandingAnswer("ben", Answer.LIKE, 1, opened.time_ms)
    lives = [
        opened,
        replace(opened, life=Life.UPDATED, repeats=1),
        replace(opened, life=Life.ANSWERED, answers=(ana,)),
        replace(opened, life=Life.ANSWERED, answers=(ana, ben)),
        replace(opened, life=Life.ANSWERED, answers=(ben,)),
        replace(opened, life=Life.CLEARED, answers=(ben,)),
        replace(opened, life=Life.ANSWERED, answers=(ben, replace(ana, revision=2)), late=True),
    ]
    told = [moment.says for moment in explain(decided("passed", id=opened.id), lives=lives).life]
    assert len(told) == len(lives)
    assert "wanted by 2020-01-01 05:35:00 UTC" in told[0]
    assert "1 repeat so far" in told[1]
    assert told[2] == "ana (sre) overrode it, reason noise, note: planned, proposes wait instead"
    assert told[3] == "ben liked it"
    assert told[4] == "ana took the answer back"
    assert "nothing unusual any more" in told[5]
    assert told[6].startswith("ana (sre) overrode it")
    assert "late" in told[6]


def test_judgement_tells_how_far_its_answers_moved_the_class() -> None:
    """The sum of its answers' moves, and where they alone would have brought the confidence; of the last revision only."""
    event = decided("passed")
    first: Judgement = example("judgement/answer", Judgement, decision=event.id)
    answer = replace(first.answers[0], moved=-1.5)
    last = replace(first, revision=2, closed_by="outcome", answers=(answer, replace(answer, source="tickets", kind="none", moved=0.5)))
    judged = explain(event, judgements=[first, last]).judged
    assert judged is not None
    assert judged.revision == 2
    assert judged.moved == pytest.approx(-1.0)
    odds = event.confidence / (1 - event.confidence) / 2.718281828459045
    assert judged.alone == pytest.approx(odds / (1 + odds))
    told = printed(explain(event, judgements=[first, last]))
    assert "moved the class by -1.000 (logit)" in told
    assert "tickets" in told


@pytest.mark.parametrize("path", ["model/model", "model/trained", "model/rollback", "model/without-parent"])
def test_model_is_told_with_where_it_came_from(path: str) -> None:
    """Origin, who brought it, what was in force before, and its evaluation; without a record that is said."""
    model: Model = example(path, Model)
    event = decided("passed", versions={"model": model.id})
    told = explain(event, model=model).model_says
    assert words.ORIGINS[model.origin] in told
    assert model.by in told
    assert (model.parent or "") in told
    assert all(name in told for name in model.evaluation)
    assert "no record" in explain(event).model_says
    assert "the profile's own" in explain(decided("passed", versions={"model": "initial"})).model_says


def test_nothing_from_outside_steers_the_terminal() -> None:
    """Names, notes and reasons are shown as text: no markup, no escape sequence, no turned direction."""
    event = decided(
        "policy", entity=HOSTILE, scope=HOSTILE, scenario_class=HOSTILE, features={HOSTILE: 1.0}, versions={HOSTILE: HOSTILE},
    )  # fmt: skip
    opened: Recommendation = example("recommendation/opened", Recommendation)
    lives = [replace(opened, life=Life.ANSWERED, answers=(StandingAnswer(HOSTILE, Answer.LIKE, 1, 0, note=HOSTILE),))]
    told = printed(explain(event, lives=lives))
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert told.count("[red]<b>x") >= 6


def test_log_explains_every_decision_of_it(exported: Path) -> None:
    """By its whole id each decision of a log is found, with the scenario, the life and the judgement that the log holds of it."""
    events = {topic: events_of(exported, topic) for topic in ("decision", "recommendation", "judgement")}
    assert len(events["decision"]) > 20
    statuses = set()
    for event in events["decision"]:
        told = asyncio.run(explain_logged(exported, event.id))
        assert told.decision == event.id
        assert "0 of 3 peers looked alike" in told.happened, "the scenario was found"
        assert len(told.life) == sum(each.id == event.id for each in events["recommendation"])
        revisions = [each.revision for each in events["judgement"] if each.decision == event.id]
        assert (None if told.judged is None else told.judged.revision) == (revisions[-1] if revisions else None)
        statuses.add(told.status)
    assert {Status.SURFACED, Status.WITHHELD} <= statuses


def events_of(directory: Path, topic: str) -> Sequence[Any]:
    """The events of a topic of an exported log."""
    return [codecs.decode(topic, record.value) for record in records(directory, topic)]


def test_command_takes_any_unique_beginning(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A beginning that one decision has finds it; one that several have names them, one that none has says what to do: exit code 1."""
    names = sorted(event.id for event in events_of(exported, "decision"))
    name = names[3]
    length = next(length for length in range(1, 17) if sum(other.startswith(name[:length]) for other in names) == 1)
    assert main(["why", name[:length], "--log", str(exported), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decision"] == name
    assert main(["why", name[:length], "--log", str(exported)]) == 0
    assert name in capsys.readouterr().out
    assert main(["why", "", "--log", str(exported)]) == 1
    assert f"more than {MATCHES_MAX} decisions begin with" in " ".join(capsys.readouterr().err.split())
    assert main(["why", "nobody", "--log", str(exported)]) == 1
    assert "npo watch" in " ".join(capsys.readouterr().err.split())
    assert main(["why", name, "--log", str(exported / "absent")]) == 1


@pytest.fixture
def deployment(kafka: Kafka, valkey: Valkey, unique_name: str, tmp_path: Path) -> Deployment:
    """A deployment of one partition on the shared broker, with a read model of its own."""
    return Deployment(
        broker=kafka.bootstrap, redis=valkey.url, home=tmp_path, partitions=1, topic_prefix=f"{unique_name}.", application=unique_name
    )


async def publish(deployment: Deployment, held: dict[str, list[tuple[bytes, bytes]]]) -> None:
    """Write records to topics of one partition, and fold those of the read model into Redis."""
    prefix = deployment.topic_prefix
    await admin.ensure(deployment, [TopicPlan(f"{prefix}{name}.v1", 1, {}) for name in held])
    async with open_sender(deployment) as sender:
        for topic, of_topic in held.items():
            for key, value in of_topic:
                await sender.send(topic, 0, key, value, ())
    changes = Changes(deployment.application)
    entries = [
        Entry(topic, 0, offset, value, codecs.decode(topic, value))
        for topic in ("decision", "recommendation", "judgement")
        for offset, (_, value) in enumerate(held[topic])
    ]
    async with Redis.from_url(str(deployment.redis)) as redis:
        await changes.read(redis, entries)
        for each in entries:
            changes.fold(each)
        async with redis.pipeline(transaction=True) as pipe:
            changes.write(pipe)
            await pipe.execute()


async def test_running_stack_tells_the_same_with_and_without_its_read_model(deployment: Deployment) -> None:
    """The same explanation from the read model's short cut, from a scan of the topics, and where Redis does not answer."""
    inputs = busy_log(2)
    folded = run(inputs)
    held: dict[str, list[tuple[bytes, bytes]]] = {
        topic: [(output.key, output.value or b"") for output in folded.outputs if output.topic == topic]
        for topic in ("decision", "recommendation", "judgement")
    }
    for topic in ("scenario", "model"):
        held[topic] = [(record.key or b"", record.value) for record in inputs if record.topic == topic]
    await publish(deployment, held)
    decisions: list[Decision] = folded.events("decision")
    judged = {event.decision for event in folded.events("judgement")}
    event = next(event for event in decisions if event.status is Status.SURFACED and event.id in judged)
    short_cut = await ask_read_model(deployment, event.id)
    assert short_cut is not None
    assert (short_cut.decision, short_cut.recommendation > 0 or short_cut.judgement > 0) == (event, True)
    told = await explain_running(deployment, event.id)
    assert told.life
    assert told.judged is not None
    assert "0 of 3 peers" in told.happened
    assert await explain_running(deployment.model_copy(update={"redis": None}), event.id) == told
    assert await explain_running(deployment.model_copy(update={"redis": "redis://127.0.0.1:1/0"}), event.id) == told
    names = [other.id for other in decisions]
    length = next(length for length in range(1, 17) if sum(other.startswith(event.id[:length]) for other in names) == 1)
    assert await explain_running(deployment, event.id[:length]) == told
    for beginning in ("", "nobody", decision_of("never decided")):
        with pytest.raises(UnknownDecisionError):
            await explain_running(deployment, beginning)
