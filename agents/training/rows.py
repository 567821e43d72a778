"""The rows of the training task: one msgpack struct a row, a key says its kind."""

from typing import ClassVar

import msgspec
from msgspec import Struct

from agents.state import Row
from schemas.events import JudgedAnswer


class FreezeRow(Row):
    """Whether learning is frozen in all scopes; every partition holds one."""

    kind: ClassVar[str] = "freeze"
    frozen: bool = False


class Sums(Struct, array_like=True):
    """What has been charged in the window so far, for surfaced and for withheld decisions."""

    surfaced: float = 0.0
    withheld: float = 0.0


class TrainingRow(Row):
    """One scope: the model in force, the latest challenger, and the window in progress.

    `scored_*` count the scope's decisions by score at the window's start. `judged_*` are judgements of the window that told
    a cost; `as_it_was` is what the model in force at each of them cost, `sums` each candidate's cost. `held` are the windows whose
    examples are kept, `adopted` is a model that was published and has not come back yet.
    """

    kind: ClassVar[str] = "training"
    frozen: bool = False
    in_force: str = ""
    challenger: str | None = None
    adopted: str | None = None
    window: int = 0
    scored_surfaced: int = 0
    scored_withheld: int = 0
    judged_surfaced: int = 0
    judged_withheld: int = 0
    as_it_was: Sums = msgspec.field(default_factory=Sums)
    sums: dict[str, Sums] = msgspec.field(default_factory=dict)
    held: list[int] = msgspec.field(default_factory=list)


class CommandsRow(Row):
    """The last commands of one scope that were carried out, so that one delivered twice is carried out once."""

    kind: ClassVar[str] = "training_commands"
    names: list[str] = msgspec.field(default_factory=list)


class KnownClassesRow(Row):
    """The classes of one scope that have offsets under some candidate."""

    kind: ClassVar[str] = "training_classes"
    names: list[str] = msgspec.field(default_factory=list)


class Candidate(Struct, array_like=True):
    """One model that is, was or may be in force, the window after which it came, and the last in which it was in force or came."""

    id: str
    window: int
    intercept: float
    weights: dict[str, float]
    last: int = -1


class CandidatesRow(Row):
    """The candidates of one scope, oldest first."""

    kind: ClassVar[str] = "candidates"
    models: list[Candidate] = msgspec.field(default_factory=list)


class OwnOffset(Struct, array_like=True):
    """One class's offset under one candidate (logit), its information, and its two sums for forgetting."""

    offset: float
    information: float
    rising: float
    falling: float


class OffsetsRow(Row):
    """One class: its offset under each candidate, by model id."""

    kind: ClassVar[str] = "offsets"
    by_model: dict[str, OwnOffset] = msgspec.field(default_factory=dict)


class ExamplesRow(Row):
    """The decisions whose first judgement came in one window, in the order in which they came; and the window's decisions by score."""

    kind: ClassVar[str] = "examples"
    decisions: list[str] = msgspec.field(default_factory=list)
    surfaced: int = 0
    withheld: int = 0


class ExampleRow(Row):
    """One decision as its judgements have told it.

    `window` is the one in which its target became known, -1 before; `confidences` what each candidate of then made of it before it
    learned from it. Decisions that no score made (`scored` false) are fitted on and not compared on.
    """

    kind: ClassVar[str] = "example"
    scenario_class: str = ""
    features: dict[str, float] = msgspec.field(default_factory=dict)
    surfaced: bool = False
    scored: bool = False
    propensity: float = 0.0
    target: float | None = None
    weight: float = 0.0
    answers: tuple[JudgedAnswer, ...] = ()
    window: int = -1
    confidences: dict[str, float] = msgspec.field(default_factory=dict)
