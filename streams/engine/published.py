"""What the scopes of a worker's tasks last published of themselves, as gauges: what was decided, answered, lost, and left of the budget.

They are of the whole past, as of the end of a scope's latest window, and told by the process that wrote them: one that has just
taken a task over tells nothing of its scopes until their next window ends.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

from prometheus_client.core import GaugeMetricFamily, Metric

from schemas import codecs
from schemas.alignment import LossWindow, TrustSummary
from schemas.errors import DecodeError
from schemas.settings import Profile
from schemas.topics import ALIGNMENT
from streams.engine.produce import Record
from streams.serving.tally import WHOLE_PAST, loss_target

# By name without `npo_scope_`: what it is, and the label beside group and scope.
GAUGES = {
    "decisions": ("Decisions of a scope so far.", "status"),
    "answers": ("Answers so far, each operator's for itself, and decisions that nobody answered.", "answer"),
    "judged": ("Surfaced decisions so far that were liked or overridden, and of these the overridden.", "as"),
    "outcomes": ("Withheld decisions so far that an outcome tells of, and of these the missed incidents.", "as"),
    "alignment_loss": ("Alignment loss per scenario over the whole past: its estimate, the ends of its interval, and its target.", "end"),
    "override_budget": ("Overrides that are left, and those that open recommendations hold.", "counting"),
    "sources": ("Sources of answers, and of these those in quarantine.", "which"),
}
Numbers = dict[str, dict[str, float]]


class Published:
    """The latest numbers of each scope, by task.

    Args:
        group: The task group's name.
        profile: Whose declared costs and rate make the target of the loss.
    """

    def __init__(self, group: str, profile: Profile) -> None:
        self._group = group
        self._profile = profile
        self._told: dict[tuple[int, str], Numbers] = {}

    def note(self, task: int, outputs: Mapping[tuple[str, int], Sequence[Record]]) -> None:
        """Take what a task's transaction wrote to the alignment topic."""
        for (topic, _), records in outputs.items():
            for record in records if topic == ALIGNMENT.name else ():
                # What is committed is committed: a record that nobody can read must not end the task here.
                with suppress(DecodeError):
                    event = codecs.decode(topic, record.value)
                    place = task, event.scope
                    # Read by another thread: each is another dictionary after a change.
                    self._told = {**self._told, place: {**self._told.get(place, {}), **numbers(event, self._profile)}}

    def gauges(self, tasks: Collection[int]) -> Iterator[Metric]:
        """Give the gauges of those tasks that are still here."""
        here = [(scope, told) for (task, scope), told in self._told.items() if task in tasks]
        for name, (documentation, label) in GAUGES.items():
            family = GaugeMetricFamily(f"npo_scope_{name}", documentation, labels=("group", "scope", label))
            for scope, told in here:
                for which, value in told.get(name, {}).items():
                    family.add_metric((self._group, scope, which), value)
            yield family


def numbers(event: object, profile: Profile) -> Numbers:
    """Return what an event of the alignment topic tells for the gauges, by their names and last label."""
    match event:
        case LossWindow(window=window) if window == WHOLE_PAST:
            rate, miss = event.override_given_answered, event.miss_given_outcome
            target = loss_target(event, profile)
            loss = {"estimate": event.loss, "low": event.loss_low, "high": event.loss_high, "target": target}
            return {
                "decisions": {"surfaced": event.surfaced, "withheld": event.withheld, "blocked": event.blocked},
                "answers": dict(event.answers),
                "judged": {"answered": rate.trials, "overridden": rate.events},
                "outcomes": {"told": miss.trials, "missed": miss.events},
                "alignment_loss": {end: value for end, value in loss.items() if value is not None},
            }
        case TrustSummary():
            budget = event.budget
            quarantined = sum(source.quarantined for source in event.sources)
            return {
                "override_budget": {"trusted": budget.trusted, "raw": budget.raw, "open": budget.open},
                "sources": {"all": len(event.sources), "quarantined": quarantined},
            }
        case _:
            return {}
