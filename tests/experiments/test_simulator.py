"""The simulator's worlds are drawn as declared, and its people say what they should."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from experiments.simulator.people import COLLUSION_SHARE, HONEST, Group, People, Replies, replies
from experiments.simulator.run import scope_names
from experiments.simulator.world import Truth, World, shortened, truth
from experiments.simulator.worlds import WORLDS
from schemas.events import Answer

LIKE, OVERRIDE = Answer.LIKE.value, Answer.OVERRIDE.value


def near(share: float, expected: float, count: int) -> bool:
    """Tell whether a share of so many draws is within five standard errors of what it should be."""
    return bool(abs(share - expected) <= 5 * (max(expected * (1 - expected), 1e-4) / count) ** 0.5)


@cache
def drawn() -> tuple[Truth, Replies]:
    """Return a large world's scenarios and what would be said of them."""
    world = World(name="large", scenarios=200_000, classes=200)
    known = truth(world, 3)
    return known, replies(world.people, 3, world.name, known.classes, known.wanted, world.delay, world.outcomes)


def says(people: People, *, count: int = 50_000) -> tuple[Replies, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what people say of scenarios of 50 classes, half of which are wanted, where it is a like, and what is wanted."""
    random = np.random.default_rng(1)
    wanted = random.random((count, len(people.teams))) < 0.5
    said = replies(people, 1, "x", random.integers(50, size=count), wanted, 50.0, 0.1)
    return said, np.array(said.kind) == LIKE, wanted[:, 0]


def alone(**fields: Any) -> People:  # noqa: ANN401 - the fields of a group
    """Return people of one group that answers always and errs never."""
    exact: dict[str, Any] = {"accounts": 3, "error": (0.0, 0.0)}
    return People((Group(name="x", **exact | fields),), skipped=0.0, neutral=0.0)


def test_classes_arrive_by_zipf_and_are_good_bad_or_mixed() -> None:
    """Arrivals fall as rank^-0.8; the shares of good, bad and mixed classes, and what is wanted of each, are as declared."""
    known, _ = drawn()
    shares = np.bincount(known.classes, minlength=200) / len(known.classes)
    ranks = np.arange(1, 201) ** -0.8
    assert all(near(share, expected, len(known.classes)) for share, expected in zip(shares, ranks / ranks.sum(), strict=True))
    many = truth(World(name="many", scenarios=40_000, classes=5_000, zipf=0.0, mixed_share=0.25), 0)
    by_class = many.probability[np.unique(many.classes, return_index=True)[1]]
    assert near(float((by_class > 0.9).mean()), 0.55 * 0.75 + 0.25 * 0.05 / 0.9, len(by_class))
    assert near(float((by_class > 0.3).mean()), 0.55 * 0.75 + 0.25 * 0.65 / 0.9, len(by_class))
    assert abs(by_class[by_class > 0.95].mean() - 0.99) < 0.002


def test_people_are_silent_neutral_and_late_as_declared() -> None:
    """Silence, neutral answers, outcomes and their delays have the declared shares and mean, whatever is wanted."""
    known, said = drawn()
    kinds, count = np.array(said.kind), len(said.kind)
    for mask in (known.wanted[:, 0], ~known.wanted[:, 0]):
        assert near(float((kinds[mask] == "").mean()), 0.4, int(mask.sum()))
        assert near(float((kinds[mask] == Answer.NEUTRAL.value).mean()), 0.1, int(mask.sum()))
    assert near(float((said.outcome > 0).mean()), 0.1, count)
    for delays in (said.delay, said.outcome[said.outcome > 0]):
        assert delays.min() >= 1
        assert abs(delays.mean() / 50.5 - 1) < 5 / len(delays) ** 0.5
    wrong = (kinds == LIKE) != known.wanted[:, 0]
    assert near(float(wrong[np.isin(kinds, [LIKE, OVERRIDE])].mean()), 0.01, 12)
    assert wrong[np.isin(kinds, [LIKE, OVERRIDE])].any()


def test_outcomes_tell_what_is_wanted_but_for_their_error() -> None:
    """Outcomes of a world of one team are what it wants; of a declared share, the opposite."""
    assert np.array_equal(drawn()[0].incident, drawn()[0].wanted[:, 0])
    known = truth(World(name="wrong", outcome_error=0.1), 0)
    assert near(float((known.incident != known.wanted[:, 0]).mean()), 0.1, len(known.incident))


def test_features_tell_what_they_should() -> None:
    """`between` is half the class's logit and noise, the nuisance tells nothing, the others move the logit with the declared deviation."""
    world = World(name="features", within=1.5)
    known = truth(world, 0)
    logits = np.log(known.probability / (1 - known.probability))
    constant = np.array([logits[known.classes == place].mean() for place in range(world.classes)])[known.classes]
    assert 0.45 < np.polyfit(constant, known.features[:, 0], 1)[0] < 0.55
    inside = known.features[:, 2:] - known.features[:, 2:].mean(axis=0)
    theta = np.linalg.lstsq(inside, logits - constant, rcond=None)[0]
    assert abs(np.linalg.norm(theta) - 1.5) < 0.05
    assert abs(np.corrcoef(logits, known.features[:, 1])[0, 1]) < 0.03
    # Without `within` all scenarios of a class are as likely to be wanted.
    assert len(np.unique(drawn()[0].probability)) == 200


def direction(known: Truth, part: slice) -> NDArray[np.float64]:
    """Return the unit vector along which the features move the logit in part of a run."""
    classes = known.classes[part]
    columns = np.column_stack([np.log(known.probability / (1 - known.probability)), known.features[:, 2:]])[part]
    means = np.stack([columns[classes == place].mean(axis=0) for place in range(classes.max() + 1)])
    inside = columns - means[classes]
    theta = np.linalg.lstsq(inside[:, 1:], inside[:, 0], rcond=None)[0]
    vector: NDArray[np.float64] = theta / np.linalg.norm(theta)
    return vector


def level(known: Truth, part: slice, count: int) -> NDArray[np.float64]:
    """Return each class's logit in part of a run without features."""
    logits = np.log(known.probability / (1 - known.probability))[part]
    return np.array([logits[known.classes[part] == place].mean() for place in range(count)])


PARTS = {"first": slice(0, 5000), "second": slice(5000, 10_000), "third": slice(10_000, 15_000), "last": slice(19_000, 20_000)}
DRIFTS = {
    # The share of the classes whose sign differs from that of the first part, and the angle to it, in degrees.
    "none": {"second": (0.0, 0), "last": (0.0, 0)},
    "abrupt": {"second": (0.25, 80), "third": (0.25, 80), "last": (0.25, 80)},
    "features": {"second": (0.0, 80), "last": (0.0, 80)},
    "gradual": {"last": (0.25, 78)},
    "recurring": {"second": (0.25, 80), "third": (0.0, 0), "last": (0.25, 80)},
}


@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_turns_what_it_should(drift: Any) -> None:  # noqa: ANN401 - a literal
    """Some quarter of the classes change sign and the features' vector turns by 80 degrees: at once, bit by bit, or there and back."""
    plain = World(name="drift", scenarios=20_000, classes=40, zipf=0.0, drift=drift, drift_at=5000)
    known, turning = truth(plain, 0), truth(replace(plain, within=0.5), 0)
    before = level(known, PARTS["first"], 40)
    for part, (share, degrees) in DRIFTS[drift].items():
        flipped = np.sign(level(known, PARTS[part], 40)) != np.sign(before)
        assert flipped.any() == (share > 0)
        assert near(float(flipped.mean()), share, 40)
        cosine = float(direction(turning, PARTS["first"]) @ direction(turning, PARTS[part]))
        angle = np.degrees(np.arccos(min(1.0, cosine)))
        assert abs(angle - degrees) < (12 if drift == "gradual" else 3)


def test_gradual_drift_passes_through_the_middle() -> None:
    """Half way, a class that turns is as often wanted as not."""
    known = truth(World(name="drift", scenarios=20_000, classes=40, zipf=0.0, drift="gradual", drift_at=0), 0)
    logits = np.log(known.probability / (1 - known.probability))
    middle = np.array([logits[9_900:10_100][known.classes[9_900:10_100] == place].mean() for place in range(40)])
    flipped = np.sign(level(known, slice(19_000, 20_000), 40)) != np.sign(level(known, slice(0, 1000), 40))
    assert np.abs(middle[flipped]).max() < 0.1 < np.abs(middle[~flipped]).max()


@pytest.mark.parametrize(
    ("fields", "liked_wanted", "liked_unwanted"),
    [
        ({}, 1.0, 0.0),
        ({"error": (0.2, 0.2)}, 0.8, 0.2),
        ({"bias": 0.3}, 0.7, 0.0),
        ({"bias": -0.3}, 1.0, 0.3),
        ({"manner": "inverts"}, 0.0, 1.0),
        ({"manner": "likes"}, 1.0, 1.0),
        ({"manner": "overrides"}, 0.0, 0.0),
        ({"manner": "likes", "honest_until": 50_000}, 1.0, 0.0),
    ],
)
def test_people_say_what_their_manner_is(fields: dict[str, Any], liked_wanted: float, liked_unwanted: float) -> None:
    """How often something wanted, and something unwanted, is liked."""
    _, liked, wanted = says(alone(**fields))
    assert near(float(liked[wanted].mean()), liked_wanted, int(wanted.sum()))
    assert near(float(liked[~wanted].mean()), liked_unwanted, int((~wanted).sum()))


def test_colluders_lie_about_the_same_classes() -> None:
    """All colluders say the opposite of the same classes, of about a fifth of them, and the truth of all others."""
    people = alone(manner="colludes")
    random = np.random.default_rng(1)
    wanted = random.random((50_000, 1)) < 0.5
    classes = random.integers(200, size=50_000)
    said = replies(people, 1, "x", classes, wanted, 50.0, 0.1)
    lied = (np.array(said.kind) == LIKE) != wanted[:, 0]
    by_class = np.array([lied[classes == place].mean() for place in range(200)])
    assert set(by_class) == {0.0, 1.0}
    assert near(float(by_class.mean()), COLLUSION_SHARE, 200)


def test_a_sleeper_turns_when_it_is_trusted() -> None:
    """An account is honest until its scenario and what it is afterwards."""
    _, liked, wanted = says(alone(manner="inverts", honest_until=20_000))
    assert np.array_equal(liked[:20_000], wanted[:20_000])
    assert np.array_equal(liked[20_000:], ~wanted[20_000:])


def test_groups_have_their_share_and_roster() -> None:
    """Accounts give their group's share of the answers evenly; those that are unknown are on no roster, those that lie are not honest."""
    others = (Group(name="sybil", accounts=10, share=0.3, manner="inverts", known=False), Group(name="loud", accounts=1, share=0.5))
    said, _, _ = says(People((Group(name="operator", accounts=4, share=0.2), *others)))
    shares = np.bincount(said.account) / len(said.account)
    assert [name.partition("-")[0] for name in said.names] == ["operator"] * 4 + ["sybil"] * 10 + ["loud"]
    assert all(near(share, expected, 50_000) for share, expected in zip(shares, [0.05] * 4 + [0.03] * 10 + [0.5], strict=True))
    assert said.known == said.honest == [name for name in said.names if not name.startswith("sybil")]


def test_teams_want_different_things_of_a_share_of_the_classes() -> None:
    """In the declared share of the classes each team's wish is drawn apart, in the others they want the same of every scenario."""
    world = World(name="teams", scenarios=40_000, classes=1_000, zipf=0.0, conflict=0.2, people=WORLDS["teams"].people)
    known = truth(world, 0)
    differing = np.unique(known.classes[(known.by_team[:, 0] != known.by_team[:, 1])])
    assert near(len(differing) / 1_000, 0.2, 1_000)
    same = ~np.isin(known.classes, differing)
    assert (known.wanted[same] == known.wanted[same, :1]).all()
    assert np.allclose(known.probability, known.by_team @ [0.6, 0.3, 0.1])


def test_scopes_have_classes_of_their_own() -> None:
    """Each scope has as many scenarios, and wants different things of classes of the same names."""
    world = World(name="scopes", scenarios=3_000, scopes=3, classes=20)
    known = truth(world, 0)
    assert all(near(float((known.classes // 20 == scope).mean()), 1 / 3, 3_000) for scope in range(3))
    assert len(np.unique(known.probability)) == 60
    assert scope_names(world) == ["sim-0", "sim-1", "sim-2"]


def test_a_shortened_world_turns_at_the_same_share() -> None:
    """Drift and sleepers turn at the same share of a run however short."""
    short = shortened(WORLDS["liar-turning-at-drift"], 450)
    assert (short.scenarios, short.drift_at, [group.honest_until for group in short.people.groups]) == (450, 180, [0, 180])


@pytest.mark.parametrize("name", WORLDS)
def test_the_shares_of_a_world_add_up(name: str) -> None:
    """Groups give all answers together, teams too, and the world is named as it is listed."""
    world = WORLDS[name]
    assert sum(group.share for group in world.people.groups) == pytest.approx(1.0)
    assert sum(team.share for team in world.people.teams) == pytest.approx(1.0)
    assert world.name == name
    assert HONEST.skipped + HONEST.neutral <= 1
