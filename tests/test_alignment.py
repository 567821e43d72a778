"""Alignment loss: its intervals hold at every moment, and its numbers are those computed by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln

from agents import alignment
from agents.alignment import MISCOVERAGE, alignment_loss, beta_binomial_interval, override_rates, paper_loss, rate
from agents.thresholds import ARMS
from schemas.alignment import Rate

COUNTS = st.tuples(st.integers(0, 20_000), st.integers(0, 20_000))
SHARES = st.floats(0, 0.5)
COSTS = st.floats(0.01, 100)
CONFIDENCES = st.lists(st.one_of(st.floats(0, 1), st.sampled_from(ARMS)), max_size=30)


def excess(hits: int, others: int, p: float) -> float:
    """Return log(B(1 + s, 1 + f) / (p^s (1 - p)^f)) - log(1/miscoverage), of which the interval is where it is negative."""
    ratio = betaln(1 + hits, 1 + others) + math.log(MISCOVERAGE)
    return float(ratio - (hits * math.log(p) if hits else 0.0) - (others * math.log1p(-p) if others else 0.0))


def test_interval_holds_at_every_moment() -> None:
    """Over 10,000 answers at most 5 % of chains are ever outside, where the interval of each moment alone (Wald) fails in most."""
    chains, answers = 240, 10_000
    random = np.random.default_rng(20_200_101)
    truth = np.repeat([0.01, 0.05, 0.2, 0.5, 0.8, 0.99], chains // 6)[:, np.newaxis]
    hits = np.cumsum(random.random((chains, answers)) < truth, axis=1)
    trials = np.arange(1, answers + 1)
    missed = np.zeros(chains, dtype=bool)
    for start in range(0, chains, 40):
        rows = slice(start, start + 40)
        low, high = beta_binomial_interval(hits[rows], trials)
        missed[rows] = np.any((truth[rows] < low) | (high < truth[rows]), axis=1)
    estimate = hits / trials
    wald = np.abs(estimate - truth) > 1.96 * np.sqrt(estimate * (1 - estimate) / trials)
    assert 0 < missed.mean() <= 0.05
    assert wald[:, 30:].any(axis=1).mean() > 0.5


@given(COUNTS)
def test_interval_is_the_set(counts: tuple[int, int]) -> None:
    """Just inside each end the mixture's ratio is under its bound, just outside over it; the observed rate is always inside."""
    hits, others = counts
    low, high = (float(end) for end in beta_binomial_interval(hits, hits + others))
    assert 0 <= low <= (hits / (hits + others) if hits + others else 0.5) <= high <= 1
    # The high end is the low end of the mirrored counts.
    for end, counted, rest in ((low, hits, others), (1 - high, others, hits)):
        assert (end == 0) == (counted == 0)
        if counted:
            assert excess(counted, rest, end * (1 + 1e-6)) < 0 < excess(counted, rest, end * (1 - 1e-6))


@pytest.mark.parametrize(
    ("events", "trials", "low", "high"),
    [
        (0, 0, 0.0, 1.0),
        (0, 1, 0.0, 1 - MISCOVERAGE / 2),  # 1/2 / (1 - p) = 1/miscoverage
        (1, 1, MISCOVERAGE / 2, 1.0),
        (0, 10, 0.0, 1 - (MISCOVERAGE / 11) ** 0.1),  # B(1, 11) = 1/11
        (10, 10, (MISCOVERAGE / 11) ** 0.1, 1.0),
        (1, 2, (1 - math.sqrt(1 - 4 * MISCOVERAGE / 6)) / 2, (1 + math.sqrt(1 - 4 * MISCOVERAGE / 6)) / 2),  # B(2, 2) = 1/6
    ],
)
def test_interval_by_hand(events: int, trials: int, low: float, high: float) -> None:
    """Where the ends have a closed form, they are it; nothing tried gives exactly 0 and 1."""
    measured = rate(events, trials)
    assert (measured.events, measured.trials) == (events, trials)
    assert [measured.low, measured.high] == pytest.approx([low, high], abs=1e-14)
    assert (measured.low == 0, measured.high == 1) == (low == 0, high == 1)


@given(st.lists(COUNTS, min_size=1, max_size=20))
def test_interval_is_the_same_one_at_a_time(counts: list[tuple[int, int]]) -> None:
    """An array of counts gives the same bytes as each count alone, in any order."""
    hits, others = np.array(counts).T
    low, high = beta_binomial_interval(hits, hits + others)
    alone = [beta_binomial_interval(int(s), int(s + f)) for s, f in counts]
    assert low.tolist() == [float(one[0]) for one in alone]
    assert high.tolist() == [float(one[1]) for one in alone]
    reverse = beta_binomial_interval(hits[::-1], (hits + others)[::-1])
    assert (reverse[0][::-1].tolist(), reverse[1][::-1].tolist()) == (low.tolist(), high.tolist())


@given(COUNTS)
def test_interval_mirrors_and_moves(counts: tuple[int, int]) -> None:
    """Events and others exchanged mirror the interval; one more event moves no end down."""
    hits, others = counts
    low, high = beta_binomial_interval([hits, others, hits + 1], [hits + others, hits + others, hits + others + 1])
    assert low[0] == pytest.approx(1 - high[1], abs=1e-12)
    assert high[0] == pytest.approx(1 - low[1], abs=1e-12)
    assert low[2] >= low[0]
    assert high[2] >= high[0] - 1e-12


@given(st.integers(0, 50), st.integers(1, 50), st.floats(0.001, 0.2))
def test_narrower_with_more_and_with_more_risk(hits: int, others: int, miscoverage: float) -> None:
    """The same share of ten times the answers, or a larger risk of missing, gives a narrower interval."""
    low, high = beta_binomial_interval([hits, 10 * hits], [hits + others, 10 * (hits + others)], miscoverage)
    assert high[1] - low[1] < high[0] - low[0]
    riskier_low, riskier_high = beta_binomial_interval(hits, hits + others, 2 * miscoverage)
    assert riskier_high - riskier_low < high[0] - low[0]


def test_loss_by_hand() -> None:
    """L = k P(surfaced) override + m P(withheld) miss: 4 x .25 x .1 + 1 x .5 x .2, and the same of the ends."""
    override, miss = Rate(events=1, trials=10, low=0.05, high=0.4), Rate(events=1, trials=5, low=0.1, high=0.6)
    loss = alignment_loss(override, miss, 0.25, 0.5, k=4, m=1)
    assert list(loss) == pytest.approx([0.2, 0.1, 0.7])


@given(COUNTS, COUNTS, SHARES, SHARES, COSTS, COSTS)
def test_loss_lies_between_its_ends(
    override: tuple[int, int], miss: tuple[int, int], surfaced: float, withheld: float, k: float, m: float
) -> None:
    """The ends enclose the point and stay within 0 and the worst possible; the point is missing only where a rate it needs is."""
    rates = rate(override[0], sum(override)), rate(miss[0], sum(miss))
    loss = alignment_loss(*rates, surfaced, withheld, k, m)
    worst = k * surfaced + m * withheld
    assert 0 <= loss.low <= loss.high <= worst
    unknown = (surfaced > 0 and sum(override) == 0) or (withheld > 0 and sum(miss) == 0)
    assert (loss.point is None) == unknown
    if loss.point is not None:
        assert loss.low - 1e-12 <= loss.point <= loss.high + 1e-12


@given(st.integers(0, 99), st.integers(0, 99))
def test_loss_grows_with_overrides_and_misses(overrides: int, misses: int) -> None:
    """One more override, or one more miss, of the same number of answers and outcomes costs more in point and ends."""
    here = alignment_loss(rate(overrides, 100), rate(misses, 100), 0.4, 0.6, k=4, m=1)
    for worse in (
        alignment_loss(rate(overrides + 1, 100), rate(misses, 100), 0.4, 0.6, k=4, m=1),
        alignment_loss(rate(overrides, 100), rate(misses + 1, 100), 0.4, 0.6, k=4, m=1),
    ):
        assert worse.point is not None
        assert here.point is not None
        assert worse.point > here.point
        assert worse.low > here.low
        assert worse.high > here.high


def test_nothing_known_is_the_whole_range() -> None:
    """Without an answer and an outcome the loss has no point; with neither it lies anywhere between nothing and all wrong."""
    assert alignment_loss(rate(0, 0), rate(0, 0), 0.25, 0.75, k=4, m=1) == (None, 0.0, 1.75)
    assert alignment_loss(rate(1, 4), rate(0, 0), 0.25, 0.75, k=4, m=1).point is None
    assert alignment_loss(rate(0, 0), rate(1, 4), 0.25, 0.75, k=4, m=1).point is None


def test_a_rate_without_a_share_is_not_needed() -> None:
    """Where nothing is withheld the loss needs no outcome, and where all is blocked it is 0."""
    assert alignment_loss(rate(1, 4), rate(0, 0), 1.0, 0.0, k=4, m=1).point == 1.0
    assert alignment_loss(rate(0, 0), rate(0, 0), 0.0, 0.0, k=4, m=1) == (0.0, 0.0, 0.0)


def test_paper_loss_by_hand() -> None:
    """Of ten decisions, 1 override, 3 likes, 2 neutrals, 4 skipped with a target of .3: mean y .32, of which .22 is the floor."""
    assert list(paper_loss({"override": 1, "like": 3, "neutral": 2, "skipped": 4}, 0.3)) == pytest.approx([0.32, 0.22])
    assert paper_loss({}, 0.3) == (None, None)


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any), st.floats(0.2, 0.4))
def test_paper_loss_is_the_mean_target(counts: list[int], silence_target: float) -> None:
    """The paper's loss is the mean of the targets one by one, and lies above its floor by the share of overrides."""
    override, like, neutral, skipped = counts
    targets = [1.0] * override + [0.0] * like + [0.5] * neutral + [silence_target] * skipped
    loss, floor = paper_loss({"override": override, "like": like, "neutral": neutral, "skipped": skipped}, silence_target)
    assert loss is not None
    assert floor is not None
    assert loss == pytest.approx(math.fsum(targets) / len(targets))
    assert loss - floor == pytest.approx(override / len(targets), abs=1e-12)


def test_override_rates_by_hand() -> None:
    """Two overrides of 5 answered, 10 surfaced, 40 scenarios are .2, .4 and .05; a denominator of 0 gives no number."""
    assert override_rates(2, surfaced=10, answered=5, scenarios=40) == (0.2, 0.4, 0.05)
    assert override_rates(0, surfaced=0, answered=0, scenarios=7) == (None, None, 0.0)


def test_threshold_counts_by_hand() -> None:
    """Confidences .55, .8, .95, the last two known, as unwanted and wanted: what each arm would have had."""
    counts = alignment.count_scenarios(alignment.empty_counts(), np.array([0.55, 0.8, 0.95]))
    counts = alignment.count_known(counts, np.array([0.8, 0.95]), np.array([False, True]))
    assert counts.tolist() == [[3, 2, 1, 0], [2, 2, 1, 0], [2, 2, 1, 0], [2, 2, 1, 0], [1, 1, 0, 0]]
    below = alignment.count_known(alignment.empty_counts(), np.array([0.55]), np.array([True]))
    assert below[:, alignment.MISSES].tolist() == [0, 1, 1, 1, 1]


@given(CONFIDENCES, st.data())
def test_threshold_counts_are_blind_to_cuts(confidences: list[float], data: st.DataObject) -> None:
    """Counting one by one, in any order, gives the counts of all at once; each known decision is right or wrong at each arm once."""
    wanted = data.draw(st.lists(st.booleans(), min_size=len(confidences), max_size=len(confidences)))
    scores, likes = np.array(confidences, dtype=np.float64), np.array(wanted, dtype=np.bool_)
    whole = alignment.count_known(alignment.count_scenarios(alignment.empty_counts(), scores), scores, likes)
    parts = alignment.empty_counts()
    for index in data.draw(st.permutations(range(len(confidences)))):
        one = slice(index, index + 1)
        parts = alignment.count_scenarios(alignment.count_known(parts, scores[one], likes[one]), scores[one])
    assert parts.tolist() == whole.tolist()
    for arm, row in zip(ARMS, whole.tolist(), strict=True):
        pairs = list(zip(confidences, wanted, strict=True))
        assert row == [
            sum(score >= arm for score in confidences),
            sum(score >= arm for score in confidences),
            sum(score >= arm and not like for score, like in pairs),
            sum(score < arm and like for score, like in pairs),
        ]
    # A higher threshold never surfaces more, overrides more, or misses less.
    assert (np.diff(whole[:, :3], axis=0) <= 0).all()
    assert (np.diff(whole[:, alignment.MISSES]) >= 0).all()


def test_counting_leaves_its_input_alone() -> None:
    """Counts are values: adding to them makes new ones."""
    counts = alignment.empty_counts()
    alignment.count_scenarios(counts, np.ones(3))
    alignment.count_known(counts, np.ones(3), np.ones(3, dtype=np.bool_))
    assert not counts.any()
