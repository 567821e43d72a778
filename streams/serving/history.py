"""The models of each scope in the order in which they came into force, and what came of its retrainings."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec import Struct

from schemas.alignment import RetrainingResult
from schemas.events import INITIAL, Model
from schemas.settings import Deployment, Profile
from schemas.topics import MODEL, RETRAINING_RESULT
from streams.serving.following import follow
from streams.serving.tally import REFUSED


class Arrival(Struct, frozen=True):
    """One record of the model topic: a model that came into force, and why where someone said it."""

    model: Model
    note: str = ""


@dataclass
class History:
    """The models of one scope.

    Attributes:
        arrivals: Records of the model topic, in order: the last is in force. None: the profile's initial model is.
        results: What came of each retraining command, in order.
    """

    arrivals: list[Arrival] = field(default_factory=list)
    results: list[RetrainingResult] = field(default_factory=list)

    @property
    def in_force(self) -> str:
        """The id of the model in force."""
        return self.arrivals[-1].model.id if self.arrivals else INITIAL

    @property
    def refused(self) -> list[RetrainingResult]:
        """The retrainings whose model did not come into force."""
        return [result for result in self.results if result.status == REFUSED]

    def models(self) -> Iterator[Model]:
        """Yield every model that the scope has had or was offered, as it first came; one that came back comes once."""
        seen = set()
        candidates = [*(arrival.model for arrival in self.arrivals), *(result.model for result in self.results if result.model)]
        for model in sorted(candidates, key=lambda each: each.origin == "rollback"):
            if model.id not in seen:
                seen.add(model.id)
                yield model

    def before(self) -> str | None:
        """Return the id of the model that the one in force replaced when it was new; None where that is not known.

        Going back twice therefore goes two models back, never to what has just been taken out of force.
        """
        ids = [INITIAL, *(arrival.model.id for arrival in self.arrivals)]
        came = [index for index, arrival in enumerate(self.arrivals) if arrival.model.id == ids[-1] and arrival.model.origin != "rollback"]
        return next((name for name in reversed(ids[: came[-1] + 1]) if name != ids[-1]), None) if came else None


async def read_histories(deployment: Deployment) -> dict[str, History]:
    """Read the histories of all scopes from the model and retraining-result topics.

    Raises:
        TopologyError: one of the topics does not exist.
    """
    histories: dict[str, History] = {}
    async for batch in follow(deployment, (MODEL.name, RETRAINING_RESULT.name)):
        for told in batch:
            history = histories.setdefault(told.event.scope, History())
            if isinstance(told.event, Model):
                history.arrivals.append(Arrival(told.event, told.note))
            else:
                history.results.append(told.event)
    return histories


def initial_model(profile: Profile, scope: str) -> Model:
    """Return the model under which a profile lets every scope begin."""
    return Model(INITIAL, scope, 0, profile.initial_intercept, dict(profile.initial_weights))
