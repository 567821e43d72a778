"""The rows of the training task: one msgpack struct a row, a key says its kind."""

from typing import ClassVar

import msgspec
from msgspec import Struct

from agents.state import Row
from schemas.events import JudgedAnswer


class FreezeRow(Row):
    """Whether learning is frozen in all scopes, and when sources were released in all (ms); every partition holds one."""

    kind: ClassVar[str] = "freeze"
    frozen: bool = False
    released: dict[str, int] = msgspec.field(default_factory=dict)


class TrainingRow(Row):
    """One scope: the model in force, the latest challenger, and the window in progress.

    `scored_*` count the scope's decisions by score at the window's start. `judged_*` are judgements of the window that told
    a cost; `costs_*` what the model in force at each of them cost, and after it each candidate that came before the window;
    `squares_*` add up the squares of what the challenger saved. `held` are the windows whose examples are kept, `adopted` is a model
    that was published and has not come back yet, `released` says when sources were let out of quarantine (ms).
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
    costs_surfaced: list[float] = msgspec.field(default_factory=list)
    costs_withheld: list[float] = msgspec.field(default_factory=list)
    squares_surfaced: float = 0.0
    squares_withheld: float = 0.0
    held: list[int] = msgspec.field(default_factory=list)
    released: dict[str, int] = msgspec.field(default_factory=dict)


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


class OffsetsRow(Row):
    """One class: its offset (logit), information, rising and falling sum under each candidate, in their order.

    What is shorter than the candidates are many is at the prior under those that it lacks.
    """

    kind: ClassVar[str] = "offsets"
    own: list[list[float]] = msgspec.field(default_factory=lambda: [[], [], [], []])


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
