"""The explanation of one decision as a struct: what `npo why` prints, and what a page shows."""

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct
from scipy.special import expit, logit

from agents.scoring import Channel
from agents.trust import weight
from schemas.events import (
    INITIAL,
    Action,
    BudgetState,
    ClassHistory,
    Decision,
    JudgedAnswer,
    Judgement,
    Model,
    PolicyVerdict,
    Positions,
    Reason,
    Recommendation,
    Scenario,
    Status,
    Symptom,
)  # fmt: skip
from schemas.settings import Settings
from streams.explaining import words

INTERCEPT = "intercept"
# A `logit` score gives its confidence to within rounding; the mean of a class has nothing to do with f(x) + b.
SAME_CONFIDENCE = 1e-6


class Contribution(Struct, frozen=True):
    """What one feature added to the model's output, in logit."""

    feature: str
    value: float | None
    contribution: float


class Score(Struct, frozen=True):
    """How the confidence came about: logit(confidence) = intercept + contributions + offset with `logit`, the class's mean with `mean`.

    Attributes:
        kind: `logit` or `mean`.
        confidence: R.
        intercept: Of the model, in logit.
        contributions: By feature, the largest first.
        unweighted: Features to which the model gives no weight.
        offset: The class's, in logit.
        offset_deviation: Standard deviation of the offset by the information behind it; None where there is none.
        total: Intercept, contributions and offset together, in logit.
    """

    kind: str
    confidence: float
    intercept: float
    contributions: tuple[Contribution, ...]
    unweighted: dict[str, float]
    offset: float
    offset_deviation: float | None
    total: float


class Source(Struct, frozen=True):
    """A source of the class's answers: its coins, J = alpha + beta - 1, and weight clip(J / .6, 0, 1)."""

    source: str
    alpha: float
    beta: float
    youden: float
    weight: float


class Moment(Struct, frozen=True):
    """One moment of a recommendation's life."""

    time_ms: int
    life: str
    says: str


class Judged(Struct, frozen=True):
    """What answers and outcomes came to, by the last revision of the judgement.

    `moved` is the sum over its answers: in logit with the `logit` score, in R with `mean`. `alone` is the decision's confidence as these
    answers by themselves would have left it.
    """

    time_ms: int
    revision: int
    closed_by: str
    target: float | None
    weight: float
    moved: float
    alone: float
    answers: tuple[JudgedAnswer, ...]
    says: str


class Explanation(Struct, frozen=True):
    """Everything that led to a decision, and what came of it; fields that end in `says`, and `happened` and `why`, are sentences."""

    decision: str
    scenario: str
    scope: str
    entity: str
    scenario_class: str
    time_ms: int
    decided_ms: int
    window: int
    happened: str
    symptoms: tuple[Symptom, ...]
    excerpt: dict[str, list[float | None]]
    excerpt_times_ms: list[int]
    action: Action
    action_says: str
    status: Status
    status_says: str
    reason: Reason
    why: str
    score: Score
    history: ClassHistory
    history_says: str
    selector: str
    draw: float | None
    threshold: float
    propensity: float
    draw_says: str
    model: str
    model_record: Model | None
    model_says: str
    budget: BudgetState
    budget_says: str
    verdict: PolicyVerdict
    sources: tuple[Source, ...]
    versions: dict[str, str]
    positions: Positions
    life: tuple[Moment, ...]
    judged: Judged | None
    came_of_it: str


def explain(
    decision: Decision,
    scenario: Scenario | None = None,
    lives: Sequence[Recommendation] = (),
    judgements: Sequence[Judgement] = (),
    model: Model | None = None,
    settings: Settings | None = None,
) -> Explanation:
    """Explain one decision from the records about it.

    Args:
        decision: What is explained.
        scenario: What was decided, where it is still held.
        lives: Its recommendation's records, in their order.
        judgements: Its judgements, in their order.
        model: The record of the model it was scored by, where there is one.
        settings: Of the deployment; used only if the decision was made under exactly these.
    """
    made_under = settings if settings is not None and settings.digest == decision.versions.get("settings") else None
    peers = (None, None) if scenario is None else (scenario.peers_alike, scenario.peers_seen)
    score = score_of(decision)
    judged = judged_of(decision, score.kind, judgements[-1]) if judgements else None
    identity = decision.versions.get("model", INITIAL)
    return Explanation(
        decision=decision.id,
        scenario=decision.scenario,
        scope=decision.scope,
        entity=decision.entity,
        scenario_class=decision.scenario_class,
        time_ms=decision.time_ms,
        decided_ms=decision.decided_ms,
        window=decision.window,
        happened=words.happened(decision.entity, decision.symptoms, *peers),
        symptoms=decision.symptoms,
        excerpt={} if scenario is None else scenario.excerpt,
        excerpt_times_ms=[] if scenario is None else scenario.excerpt_times_ms,
        action=decision.action,
        action_says=words.proposed(decision.action),
        status=decision.status,
        status_says=words.STATUSES[decision.status],
        reason=decision.reason,
        why=words.why(decision, made_under),
        score=score,
        history=decision.history,
        history_says=history_in_words(decision.history),
        selector=decision.selector,
        draw=decision.draw,
        threshold=decision.threshold,
        propensity=decision.propensity,
        draw_says=words.drawn(decision),
        model=identity,
        model_record=model,
        model_says=words.modelled(identity, model),
        budget=decision.budget,
        budget_says=words.budgeted(decision.budget, made_under),
        verdict=decision.verdict,
        sources=sources_of(decision),
        versions=decision.versions,
        positions=decision.positions,
        life=tuple(
            Moment(moment.time_ms, moment.life.value, words.lived(moment, before)) for before, moment in pairwise((None, *lives)) if moment
        ),
        judged=judged,
        came_of_it=came_of_it(decision, lives, judged),
    )


def score_of(decision: Decision) -> Score:
    """Take the confidence apart."""
    parts = {name: value for name, value in decision.contributions.items() if name != INTERCEPT}
    ordered = sorted(parts.items(), key=lambda part: (-abs(part[1]), part[0]))
    total = decision.model_output + decision.offset
    return Score(
        kind="logit" if abs(float(expit(total)) - decision.confidence) <= SAME_CONFIDENCE else "mean",
        confidence=decision.confidence,
        intercept=decision.model_output - sum(parts.values()),
        contributions=tuple(Contribution(name, decision.features.get(name), value) for name, value in ordered),
        unweighted={name: value for name, value in sorted(decision.features.items()) if name not in parts},
        offset=decision.offset,
        offset_deviation=float(decision.information**-0.5) if decision.information > 0 else None,
        total=total,
    )


def sources_of(decision: Decision) -> tuple[Source, ...]:
    """Return the sources that had answered the class, the most trusted first."""
    sources = []
    for name, heard in decision.channels.items():
        channel = Channel(heard.alpha, heard.beta)
        sources.append(Source(name, heard.alpha, heard.beta, float(channel.youden), float(weight(channel))))
    return tuple(sorted(sources, key=lambda source: (-source.weight, -source.youden, source.source)))


def history_in_words(history: ClassHistory) -> str:
    """Say what the class had heard before."""
    if not (history.answers or history.likes or history.overrides or history.outcomes):
        return "Nobody had answered this class before: it stood where the model alone puts it."
    return (
        f"Before, the class had {history.likes} likes and {history.overrides} overrides from operators, and {history.outcomes} outcomes; "
        f"{history.answers} answers had moved it."
    )


def judged_of(decision: Decision, kind: str, judgement: Judgement) -> Judged:
    """Say what the answers came to and how far they moved the class."""
    moved = sum(answer.moved for answer in judgement.answers)
    alone = float(expit(logit(decision.confidence) + moved)) if kind == "logit" else decision.confidence + moved
    unit = " (logit)" if kind == "logit" else ""
    closed = {"answer": "closed by its answers", "silence": "closed without an answer", "outcome": "judged again by an outcome"}
    target = (
        "no target: nothing was said that counts" if judgement.target is None else f"target {judgement.target:.2f} (0 wanted, 1 unwanted)"
    )
    says = (
        f"{closed[judgement.closed_by]} at {words.utc(judgement.time_ms)}, revision {judgement.revision}: {target}, "
        f"weight {judgement.weight:.2f}. Its answers moved the class by {moved:+.3f}{unit}: "
        f"by themselves from {decision.confidence:.3f} to {alone:.3f}."
    )
    return Judged(
        judgement.time_ms,
        judgement.revision,
        judgement.closed_by,
        judgement.target,
        judgement.weight,
        moved,
        alone,
        judgement.answers,
        says[0].upper() + says[1:],
    )


def came_of_it(decision: Decision, lives: Sequence[Recommendation], judged: Judged | None) -> str:
    """Say in a sentence what came of a decision."""
    if judged is not None:
        return judged.says
    if decision.status is Status.BLOCKED:
        return "Nothing: blocked decisions move neither scores nor budget, whatever is said later."
    if decision.status is Status.WITHHELD:
        return "Nothing so far: nobody was shown it; an outcome on the entity at that time would still tell whether it was missed."
    if not lives:
        return "Nothing of its recommendation is left on the topics."
    if lives[-1].answers:
        return "Answered; the answers are applied when they have stood for the undo window."
    return f"It is open: no answer yet, wanted by {words.utc(lives[-1].deadline_ms)} (`npo answer {decision.id} like|override`)."
