"""A record's turn in the training task: the scope's row, its candidates, and their offsets."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from agents import turn
from agents.scoring import Array
from agents.training.offsets import PRIOR, fold
from agents.training.rows import (
    Candidate,
    CandidatesRow,
    ExampleRow,
    ExamplesRow,
    FreezeRow,
    KnownClassesRow,
    OffsetsRow,
    TrainingRow,
)
from schemas.events import INITIAL

HISTORY_WINDOWS = 8  # that a challenger is fitted on; DESIGN section 7
CANDIDATE_WINDOWS = 50  # for which a candidate is held against the others: the horizon of hindsight


@dataclass
class Turn(turn.Turn):
    """One record's turn in its scope."""

    group: ClassVar[str] = "training"

    @cached_property
    def row(self) -> TrainingRow:
        """The scope's row; a new scope is under the profile's initial model."""
        row = self.state.find(TrainingRow, self.scope)
        if row is None:
            profile = self.settings.profile
            row = TrainingRow(in_force=INITIAL)
            self.state.put(row, self.scope)
            initial = Candidate(INITIAL, -1, profile.initial_intercept, dict(profile.initial_weights))
            self.state.put(CandidatesRow(models=[initial]), self.scope)
        return row

    @property
    def models(self) -> list[Candidate]:
        """The candidates, oldest first; the model in force is among them."""
        self.row  # noqa: B018 - makes the candidates of a new scope
        return self.state.get(CandidatesRow, self.scope).models

    def model(self, name: str | None) -> Candidate | None:
        """Return a candidate by its id."""
        return next((model for model in self.models if model.id == name), None)

    def frozen(self) -> bool:
        """Tell whether learning is frozen, for the scope or for all."""
        return self.row.frozen or self.state.get(FreezeRow).frozen

    def released(self) -> dict[str, int]:
        """The sources that have been let out of quarantine, in the scope or everywhere, with the time of the latest release (ms)."""
        here, everywhere = self.row.released, self.state.get(FreezeRow).released
        return everywhere | {name: max(time_ms, everywhere.get(name, time_ms)) for name, time_ms in here.items()}

    def examples(self) -> list[ExampleRow]:
        """Return the decisions of the windows at hand, in the order in which they were first judged."""
        names = [name for window in self.row.held for name in self.examples_of(window).decisions]
        found = (self.state.find(ExampleRow, self.scope, name) for name in names)
        return [example for example in found if example is not None]

    def examples_of(self, window: int) -> ExamplesRow:
        """Return the list of the decisions first judged in a window, an empty one where there is none."""
        return self.state.find(ExamplesRow, self.scope, str(window)) or ExamplesRow()

    def offsets(self, scenario_class: str) -> OffsetsRow:
        """Return a class's offsets under the candidates, to be changed."""
        row = self.state.find(OffsetsRow, self.scope, scenario_class)
        if row is None:
            self.state.get(KnownClassesRow, self.scope).names.append(scenario_class)
            row = self.state.get(OffsetsRow, self.scope, scenario_class)
        return row

    def own(self, scenario_class: str) -> Array:
        """Return a class's numbers under each candidate, in the order of `models`: shape (4, candidates)."""
        own = self.offsets(scenario_class).own
        pad(own, len(self.models))
        return np.array(own)

    def add(self, model: Candidate) -> None:
        """Add a candidate, with the offsets that it would have had over the windows at hand; one of the same content stays as it is."""
        known = self.model(model.id)
        if known is not None and (known.intercept, known.weights) == (model.intercept, model.weights):
            return
        if known is not None:
            self.keep([other for other in self.models if other is not known])
        place = len(self.models)
        self.models.append(model)
        for scenario_class, numbers in fold(model, self.examples()).items():
            own = self.offsets(scenario_class).own
            pad(own, place)
            for values, number in zip(own, numbers, strict=True):
                values.append(number)

    def keep(self, kept: list[Candidate]) -> None:
        """Forget all candidates but those, and classes that are known under none of them."""
        names = {model.id for model in kept}
        places = [place for place, model in enumerate(self.models) if model.id in names]
        charged = [0, *(place + 1 for place in places)]
        self.row.costs_surfaced = among(self.row.costs_surfaced, charged)
        self.row.costs_withheld = among(self.row.costs_withheld, charged)
        self.state.get(CandidatesRow, self.scope).models = kept
        classes = self.state.get(KnownClassesRow, self.scope)
        for scenario_class in list(classes.names):
            offsets = self.offsets(scenario_class)
            offsets.own = [among(values, places) for values in offsets.own]
            if not offsets.own[0]:
                self.state.delete(OffsetsRow, self.scope, scenario_class)
                classes.names.remove(scenario_class)


def pad(own: list[list[float]], candidates: int) -> None:
    """Bring a class's numbers to the prior under the candidates that they lack."""
    for values, prior in zip(own, PRIOR, strict=True):
        values.extend([prior] * (candidates - len(values)))


def among(values: list[float], places: list[int]) -> list[float]:
    """Return what stands at some places, as far as the values go."""
    return [values[place] for place in places if place < len(values)]
