"""A simulated run: what is sent, what it comes to, and the same bytes whatever it goes through."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from agents.loop import Loop
from agents.turn import Emitted
from experiments.simulator.measures import costs, measure, oracle
from experiments.simulator.people import Group, People, Team
from experiments.simulator.run import START_MS, Run, prepare, profile_of, run
from experiments.simulator.through import Beside, Sent, Topics, check_through
from experiments.simulator.world import FEATURES, World, shortened, truth
from experiments.simulator.worlds import WORLDS
from schemas.alignment import Alarm
from schemas.errors import StackError
from schemas.events import Answer, Decision, Feedback, Outcome, Scenario, Verdict

PAGE = Path(__file__).resolve().parents[2] / "docs" / "simulator.md"
LIKE, OVERRIDE = Answer.LIKE.value, Answer.OVERRIDE.value
# Everything at once, and so little of it that models are fitted, refused and adopted in some hundred scenarios.
SMALL = World(
    name="small",
    scenarios=240,
    classes=6,
    mixed_share=0.3,
    within=6.0,
    drift="abrupt",
    drift_at=210,
    people=People(
        (
            Group(name="operator", accounts=4, share=0.6),
            Group(name="liar", accounts=1, share=0.4, manner="inverts", known=False, honest_until=120),
        ),
        (Team("web", 0.7), Team("edge", 0.3)),
        skipped=0.2,
    ),
    outcomes=1.0,
    delay=8.0,
    conflict=0.3,
    reward="wanted",
)
PROFILE = profile_of("default", window_scenarios=20, retraining_price=1.0, override_cost=1.0)


def test_one_seed_draws_all() -> None:
    """The same seed gives the same scenarios, answers and derived events; another gives others."""
    first, again, other = (check_through(SMALL, PROFILE, seed, 60, "loop") for seed in (1, 1, 2))
    assert first.digest == again.digest != other.digest
    assert first.run.truth.probability.tobytes() == again.run.truth.probability.tobytes() != other.run.truth.probability.tobytes()


def test_profiles_meet_the_same_scenarios() -> None:
    """Whatever is decided, the scenarios and what people would say of them are the same."""
    first, second = (run(shortened(SMALL, 150), profile, 0) for profile in (PROFILE, profile_of("paper")))
    assert (first.surfaced != second.surfaced).any()
    for one, two in zip((*first.truth, *first.replies), (*second.truth, *second.replies), strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(two))


def test_several_scopes_learn_apart() -> None:
    """Each scope of a run has windows of its own."""
    ran = run(replace(SMALL, scenarios=90, scopes=3), PROFILE, 0)
    assert {event.scope for event in ran.alignment} == {"sim-0", "sim-1", "sim-2"}


class Listening:
    """A loop that keeps what goes in and what was decided."""

    def __init__(self, world: World) -> None:
        self.loop = Loop(prepare(world, PROFILE, 0).settings)
        self.sent: list[Any] = []
        self.decisions: dict[str, Decision] = {}

    def send(self, topic: str, event: msgspec.Struct, *, scope: str | None = None, identity: str = "") -> list[Emitted]:
        """Send, and keep."""
        self.sent.append(event)
        written = self.loop.send(topic, event, scope=scope, identity=identity)
        self.decisions |= {each.event.id: each.event for each in written if isinstance(each.event, Decision)}
        return written


def listened(world: World) -> tuple[Listening, Run]:
    """Run a world and keep what went in."""
    listening = Listening(world)
    return listening, run(world, PROFILE, 0, listening)


def test_what_is_sent_is_what_people_say_when_they_say_it() -> None:
    """Answers are to what was surfaced, by whom and after the delay that were drawn; outcomes tell of all; all comes in time order."""
    listening, ran = listened(SMALL)
    times = [event.time_ms for event in listening.sent]
    assert times == sorted(times)
    decided = list(listening.decisions)
    assert len(decided) == SMALL.scenarios == sum(isinstance(event, Scenario) for event in listening.sent)
    answers = [event for event in listening.sent if isinstance(event, Feedback)]
    assert answers
    for event in answers:
        number = decided.index(event.decision)
        assert ran.surfaced[number]
        assert (event.operator, event.kind.value) == (ran.replies.names[ran.replies.account[number]], ran.replies.kind[number])
        assert event.time_ms == START_MS + 60_000 * (number + int(ran.replies.delay[number]))
    told = [(event.start_ms - START_MS) // 60_000 for event in listening.sent if isinstance(event, Outcome)]
    late = np.arange(SMALL.scenarios) + ran.replies.outcome >= SMALL.scenarios
    assert sorted(told) == np.flatnonzero((ran.replies.outcome > 0) & ~late).tolist()
    assert not ran.surfaced[told].all()


@pytest.mark.parametrize("reward", ["none", "wanted", "surfaced"])
def test_reward_is_apart_from_alignment(reward: Any) -> None:  # noqa: ANN401 - a literal
    """Minutes come of what was surfaced: of what was wanted, or of all of it, so that reward and alignment part."""
    listening, ran = listened(replace(SMALL, reward=reward))
    outcomes = [event for event in listening.sent if isinstance(event, Outcome)]
    surfaced = ran.surfaced[[(event.start_ms - START_MS) // 60_000 for event in outcomes]]
    gained = [event.reward_minutes for event in outcomes]
    incident = np.array([event.verdict is Verdict.INCIDENT for event in outcomes])
    expected = {"none": [None] * len(outcomes), "wanted": (30.0 * (surfaced & incident)).tolist(), "surfaced": (30.0 * surfaced).tolist()}
    assert gained == expected[reward]


def toy() -> Run:
    """A run of six scenarios, of which the last two count as late."""
    blank = run(replace(SMALL, scenarios=6), PROFILE, 0)
    probability = np.array([0.9, 0.9, 0.1, 0.5, 0.9, 0.6])
    said = blank.replies._replace(kind=[LIKE, OVERRIDE, "", LIKE, OVERRIDE, LIKE])
    known = blank.truth._replace(probability=probability)
    return blank._replace(truth=known, replies=said, surfaced=np.array([True, False, True, False, True, True]), alignment=[])


def test_measures_by_hand() -> None:
    """Regret, excess, recall and the three override rates of six scenarios, as they come out on paper."""
    found = measure(toy())
    # The fifth is as the oracle's, .4; the sixth costs 4 * .4 = 1.6 where withholding costs .6.
    assert found["regret"] == pytest.approx((1.6 - 0.6) / 2)
    # The second, withheld, costs .9 for .4; the third, surfaced, 3.6 for .1; the fourth is as the oracle's.
    assert found["excess"] == pytest.approx((0.5 + 3.5 + 1.0) / 6)
    assert found["recall"] == pytest.approx(1.0)
    assert found["relative_recall"] == pytest.approx(1.5 / 0.9)
    assert [found[f"overrides_per_{whole}"] for whole in ("surfaced", "answered", "scenario")] == [0.5, 0.5, 0.5]
    assert "fidelity" not in found


def test_nothing_to_surface_has_no_relative_recall() -> None:
    """Where the oracle surfaces nothing of the last third, relative recall is NaN, without a warning; otherwise it is a number."""
    ran = toy()
    for probability, unknown in ((0.5, True), (0.9, False)):
        late = ran._replace(truth=ran.truth._replace(probability=np.full(6, probability)))
        assert np.isnan(measure(late)["relative_recall"]) == unknown


def test_no_policy_is_cheaper_than_the_oracle() -> None:
    """The oracle's regret is 0, and surfacing otherwise anywhere costs as much or more."""
    probability = truth(World(name="large", scenarios=2_000), 3).probability
    best = costs(probability, oracle(probability))
    assert (best <= costs(probability, np.ones(2_000, dtype=bool))).all()
    assert (best <= costs(probability, np.zeros(2_000, dtype=bool))).all()
    ran = toy()
    found = measure(ran._replace(surfaced=oracle(ran.truth.probability)))
    assert (found["regret"], found["excess"], found["relative_recall"]) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("scopes", [1, 2])
def test_the_real_topics_come_to_the_same_bytes(scopes: int) -> None:
    """A run in which models are adopted and refused, and the budget closes and opens, is the same through topics and plain calls."""
    world, profile = replace(SMALL, scopes=scopes, scenarios=240 * scopes), replace(PROFILE, budget_start=8.0)
    check = check_through(world, profile, 1, world.scenarios, "memory")
    assert {result.status for result in check.run.results} == {"adopted", "refused"}
    alarms = {(event.name, event.raised) for event in check.run.alignment if isinstance(event, Alarm)}
    assert {("override_budget", True), ("override_budget", False)} <= alarms
    assert check.events > 2 * world.scenarios
    assert check.digest == check_through(world, profile, 1, world.scenarios, "loop").digest


def test_a_quarantine_comes_to_the_same_bytes() -> None:
    """A run in which an account that inverts what it thinks is put in quarantine is the same through topics and plain calls."""
    world = replace(SMALL, scenarios=480, people=WORLDS["liar"].people)
    check = check_through(world, PROFILE, 1, world.scenarios, "memory")
    assert any(isinstance(event, Alarm) and event.name == "source_quarantined" and event.raised for event in check.run.alignment)
    assert check.digest == check_through(world, PROFILE, 1, world.scenarios, "loop").digest


class Differing(Topics):
    """Topics that lose a byte on the way."""

    def __init__(self) -> None:
        pass

    def take(self, topic: str, sent: Sequence[Sent]) -> list[Emitted]:
        """Take, and write nothing."""
        assert topic
        assert sent
        return []


def test_topics_that_differ_are_found() -> None:
    """A pipeline that writes something else stops the run with what each of the two wrote."""
    settings = prepare(SMALL, PROFILE, 0).settings
    with pytest.raises(StackError, match=r"scenario-0 to scenario-\d+ led to different events(.|\n)*the topics alone: nothing"):
        run(SMALL, PROFILE, 0, Beside(Loop(settings), Differing()))


@pytest.mark.timeout(400)  # a stack of every group on a machine that may be busy
def test_a_broker_comes_to_the_same_bytes() -> None:
    """Through Kafka, with every worker a process of its own, a run in which a model is adopted writes the same derived events."""
    short = replace(SMALL, scenarios=200, drift_at=185)
    check = check_through(short, PROFILE, 1, 200, "kafka")
    assert any(result.status == "adopted" for result in check.run.results)
    assert check.digest == check_through(short, PROFILE, 1, 200, "loop").digest


def test_the_page_lists_the_worlds() -> None:
    """docs/simulator.md has a row for each world of the table, in its order, and no other."""
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name in rows if name in WORLDS] == list(WORLDS)
    assert set(rows) - WORLDS.keys() <= set(World.__struct_fields__) | set(FEATURES)


def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of docs/simulator.md runs as it stands, of fewer scenarios, and prints recall beside regret."""
    ((text),) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert "3_000" in text
    exec(text.replace("3_000", "90"), {})  # noqa: S102 - it is the page's own
    assert {"regret", "relative_recall"} <= set(re.findall(r"'(\w+)':", capsys.readouterr().out))
