"""During which rows a recommendation stood: never before it was surfaced, never long after the last word of it."""

from hypothesis import given
from hypothesis import strategies as st

from experiments.evaluation_alerts import STANDS_MS, Alert, Alerts
from schemas.events import Action, Life, Recommendation

MINUTE_MS = 60_000
OPENED_MS = 1_577_836_800_000


def moment(life: Life, time_ms: int) -> Recommendation:
    """One moment of the one recommendation."""
    return Recommendation(
        id="r", life=life, scope="web", entity="web/one", scenario_class="c", time_ms=time_ms, scenario_ms=OPENED_MS, opened_ms=OPENED_MS,
        deadline_ms=OPENED_MS + 240 * MINUTE_MS, summary="", action=Action("inspect", 0, reversible=True), symptoms=(), confidence=0.9,
        threshold=0.8, repeats=0, peers_alike=0, answers=(), positions={},
    )  # fmt: skip


lives = st.lists(st.tuples(st.sampled_from([Life.UPDATED, Life.ANSWERED, Life.CLEARED, Life.EXPIRED]), st.integers(1, 50)), max_size=8)


def follow(told: list[Recommendation]) -> Alert:
    """Follow a recommendation over its life."""
    alerts = Alerts()
    for event in told:
        alerts.add(event)
    return alerts.by_id["r"]


def life(steps: list[tuple[Life, int]]) -> list[Recommendation]:
    """Return a life in order: kinds, and minutes since the one before."""
    told = [moment(Life.OPENED, OPENED_MS)]
    for kind, minutes in steps:
        told.append(moment(kind, told[-1].time_ms + minutes * MINUTE_MS))
    return told


@given(lives)
def test_an_alert_stands_by_what_was_said_before(steps: list[tuple[Life, int]]) -> None:
    """At each minute it stands or not by what had been said until then: what is said later changes nothing of it."""
    told = life(steps)
    whole = follow(told)
    for minute in range(0, 460, 3):
        now_ms = OPENED_MS + minute * MINUTE_MS + 1
        known = follow([event for event in told if event.time_ms <= now_ms])
        assert stands(whole, now_ms) == stands(known, now_ms)


@given(lives)
def test_an_alert_needs_a_word_of_it_in_the_last_half_hour(steps: list[tuple[Life, int]]) -> None:
    """It stands only within 30 minutes of the last `opened` or `updated`, and never after its answer."""
    told = life(steps)
    alert = follow(told)
    words = [event.time_ms for event in told if event.life in {Life.OPENED, Life.UPDATED}]
    answered_ms = min((event.time_ms for event in told if event.life is Life.ANSWERED), default=None)
    assert stands(alert, OPENED_MS)
    assert not stands(alert, OPENED_MS - 1)
    for minute in range(460):
        now_ms = OPENED_MS + minute * MINUTE_MS + 1
        if stands(alert, now_ms):
            assert any(0 <= now_ms - word < STANDS_MS for word in words)
            assert answered_ms is None or now_ms <= answered_ms


def test_what_is_updated_in_time_stands_on() -> None:
    """An update within the half hour prolongs, a later one does not bring it back, and `cleared` ends at its own moment."""
    for steps, minutes in (
        ([(Life.UPDATED, 30), (Life.UPDATED, 45), (Life.CLEARED, 10)], 60),
        ([(Life.UPDATED, 30), (Life.CLEARED, 10)], 40),
        ([(Life.UPDATED, 10), (Life.ANSWERED, 5), (Life.UPDATED, 5)], 15),
    ):
        alert = follow(life(steps))
        assert alert.start_ms == OPENED_MS
        assert (alert.end_ms - OPENED_MS) // MINUTE_MS == minutes


def stands(alert: Alert, time_ms: int) -> bool:
    """Tell whether it stood at a moment."""
    return alert.start_ms <= time_ms < alert.end_ms
