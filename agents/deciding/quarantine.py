"""Quarantine: a source that says otherwise than the others, again and again, is silenced without waiting for a person.

When a decision closes, each like and override on it that may teach is held against the latest answers of the three others who spoke
last in the class, before it moves anything (`agents.trust.disagree`). The answer with which a source's sum passes the bound is the
first that counts for nothing; the source is in the scope's quarantine as by command, and only a command lets it out, with a sum of 0.

A class remembers one answer a source, of the last `REMEMBERED` sources: however loud one is, it is one voice. A source of little trust
(`VOICE_WEIGHT`) is none. Late answers are neither accused nor held against others: they move no score, and who comes late has seen what
the others said. Nor are outcomes. Sources that share a row (beyond `SOURCES_MAX`) are one voice together and are not accused.

A revocation sets the source's sum to 0 and begins the voices, and the sums of the others, anew with the answers that are kept;
quarantines stay as they happened.
"""

from agents import scoring, trust
from agents.deciding import budget, plain
from agents.deciding.rows import ClassRow, DecisionRow, Recent, SourceRow
from agents.deciding.turn import OTHERS, Turn, coins_of

ALARM = "source_quarantined"
REMEMBERED = 8
VOICE_WEIGHT = 0.2  # a voice weighs more: twice what an unknown account starts with, else fresh accounts push out who is trusted


def watch(turn: Turn, row: ClassRow, decision: DecisionRow, name: str, wanted: float, *, liked: bool) -> None:
    """Hold an answer that is about to be applied against those of others; put its source in quarantine, or remember what it says.

    Args:
        turn: the decision's.
        row: its class.
        decision: what was answered.
        name: of the source.
        wanted: q, the class's R before the answer.
        liked: z.
    """
    if not turn.settings.profile.trust or turn.quarantined(name):
        return
    source = turn.source(name)
    hold(turn, row, name, source, wanted, liked=liked)
    if source.disagreement > trust.QUARANTINE_BOUND:
        silence(turn, row, decision, name, source)
    else:
        remember(turn, row, name, source, wanted, liked=liked)


def hear_again(turn: Turn, row: ClassRow, name: str, source: SourceRow, wanted: float, *, liked: bool) -> None:
    """Move sum and voice of an answer that is folded again as `watch` does; nobody is put in quarantine by it."""
    if turn.settings.profile.trust:
        hold(turn, row, name, source, wanted, liked=liked)
        source.disagreement = min(source.disagreement, trust.QUARANTINE_BOUND)
        remember(turn, row, name, source, wanted, liked=liked)


def hold(turn: Turn, row: ClassRow, name: str, source: SourceRow, wanted: float, *, liked: bool) -> None:
    """Hold an answer against those of others; sources that share a row are not accused."""
    if row_name(turn, name) == name:
        error = float(trust.mean_error(turn.row.trusted, turn.row.erring))
        source.disagreement = plain.disagree(source.disagreement, float(liked), others_of(turn, row, name), wanted, error)


def remember(turn: Turn, row: ClassRow, name: str, source: SourceRow, wanted: float, *, liked: bool) -> None:
    """Remember what a source says in a class, where it has the weight of a voice."""
    known_as, channel = row_name(turn, name), turn.channel(source)
    forget(row, known_as)
    if (weight := plain.weight(channel)) > VOICE_WEIGHT:
        row.recent.append(Recent(known_as, liked, float(scoring.predicted_like(channel, wanted)), weight))
        del row.recent[:-REMEMBERED]


def row_name(turn: Turn, name: str) -> str:
    """Return the name of the row that a source has, or shares."""
    return OTHERS if turn.state.find(SourceRow, turn.scope, name) is None else name


def others_of(turn: Turn, row: ClassRow, name: str) -> list[Recent]:
    """Return the latest answers of the three others who spoke last in a class and are not in quarantine, the latest first."""
    others = [each for each in reversed(row.recent) if each.source != name and not turn.quarantined(each.source)]
    return others[: trust.VOICES]


def silence(turn: Turn, row: ClassRow, decision: DecisionRow, name: str, source: SourceRow) -> None:
    """Put a source in its scope's quarantine, let budget and trusted mean error follow, and say so with the numbers."""
    turn.row.quarantined = [*turn.row.quarantined, name]
    budget.rebook(turn, name, source)
    weigh(turn, name, source)
    against = ", ".join(f"{each.source} {'like' if each.liked else 'override'}" for each in others_of(turn, row, name))
    detail = (
        f"{name}: disagreement {source.disagreement:.2f} passed {trust.QUARANTINE_BOUND:g} with the answer to decision {decision.id} of "
        f"class {decision.scenario_class} (others last: {against}), {source.answered} answers, {source.overridden} overrides, "
        f"weight {plain.weight(turn.channel(source)):.2f} until now; it counts for nothing until `release`"
    )
    turn.alarm(ALARM, raised=True, detail=detail)


def weigh(turn: Turn, name: str, source: SourceRow) -> None:
    """Replace what a source adds to the scope's trusted mean error by what it adds as of now: nothing in quarantine."""
    trusted, erring = (0.0, 0.0) if turn.quarantined(name) else plain.standing(coins_of(source))
    turn.row.trusted += trusted - source.trusted
    turn.row.erring += erring - source.erring
    source.trusted, source.erring = trusted, erring


def acquit(turn: Turn, name: str, source: SourceRow) -> None:
    """Start a source's sum anew; with the last source that was silenced by its sum the alarm is taken back."""
    accused, source.disagreement = source.disagreement > trust.QUARANTINE_BOUND, 0.0
    if not accused:
        return
    others = [turn.state.find(SourceRow, turn.scope, other) for other in turn.row.quarantined]
    if not any(other is not None and other.disagreement > trust.QUARANTINE_BOUND for other in others):
        turn.alarm(ALARM, raised=False, detail=f"{name} was released or revoked; no source is silenced by its disagreement any more")


def forget(row: ClassRow, name: str) -> None:
    """Drop a source's voice from a class."""
    row.recent = [each for each in row.recent if each.source != name]
