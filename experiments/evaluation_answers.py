"""An operator who answers from labels: late, at times wrongly, at times not at all; and only what was surfaced."""

import heapq
from math import inf

from experiments.evaluation_alerts import Alerts
from experiments.evaluation_data import Course, Rows
from experiments.lockstep import Record
from experiments.operators import Behaviour
from schemas.codecs import encode
from schemas.events import Answer, Feedback, Life, Recommendation
from schemas.identity import generator

OPERATOR, TEAM = "evaluation-operator", "evaluation"
MINUTE_MS = 60_000


class Operator:
    """One operator: whether, when and how well is drawn from seed and recommendation; of labels, the past alone is known.

    Args:
        behaviour: shares of errors and of silence, and how long an answer takes.
        seed: of all draws.
        courses: the entities.
        faults: labelled rows of the test part by entity.
    """

    def __init__(self, behaviour: Behaviour, seed: int, courses: dict[str, Course], faults: dict[str, list[Rows]]) -> None:
        self._behaviour, self._seed = behaviour, seed
        self._courses, self._faults = courses, faults
        self._due: list[tuple[int, str, bool]] = []
        self.said: dict[str, Answer] = {}

    @property
    def due_ms(self) -> float:
        """When the next answer is due, infinity where none is."""
        return self._due[0][0] if self._due else inf

    def hear(self, event: Recommendation) -> None:
        """Read one record of the recommendation topic; history is not answered."""
        if event.life is not Life.OPENED or event.time_ms < self._courses[event.entity].tested_ms:
            return
        draw = generator(self._seed, event.id, "evaluation")
        speaks, errs = draw.random(2)
        minutes = self._behaviour.delay_minutes_median * draw.lognormal(0.0, self._behaviour.delay_spread)
        if speaks >= self._behaviour.silence:
            heapq.heappush(self._due, (event.opened_ms + round(minutes * MINUTE_MS), event.id, bool(errs < self._behaviour.error)))

    def say(self, before_ms: int, alerts: Alerts) -> list[Record]:
        """Give the answers that are due before a time, in the order of time."""
        records = []
        while self._due and self._due[0][0] < before_ms:
            time_ms, name, errs = heapq.heappop(self._due)
            alert = alerts.by_id[name]
            course = self._courses[alert.entity]
            first, last = alerts.rows(alert, course, time_ms)
            right = first < last and any(start < last and first < end for start, end in self._faults.get(course.key, ()))
            kind = self.said[name] = Answer.LIKE if right != errs else Answer.OVERRIDE
            answer = Feedback(name, OPERATOR, kind, time_ms, team=TEAM)
            records.append(Record(course.dataset.encode(), encode(answer), (("ce_id", f"{name}-{OPERATOR}".encode()),)))
        return records
