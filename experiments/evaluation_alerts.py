"""During which rows a recommendation stood, as known at each of them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct, field

from experiments.evaluation_data import Course, Rows
from schemas.events import Life, Recommendation

STANDS_MS = 30 * 60_000
"""How long a recommendation stands after it was opened or updated, unless it ends sooner: 30 minutes.

Nobody says every minute that a symptom goes on, and `cleared` comes an hour after its last moment. But one that goes on as strong
as it was makes a scenario again after 60 log2(1.4) = 29.1 min, which is when 1.4 times the strength of the last one, halved every
hour, is as much as it was then (`agents.encoding.candidates`); that writes `updated`. In samples five minutes apart it is seen at
30 min. So after 30 min without a word there is no evidence any more that what was surfaced still is.
"""


class Alert(Struct):
    """One surfaced recommendation: when it stood, as spans [start, end) in ms; the last may still be cut short, or prolonged."""

    id: str
    entity: str
    spans: list[list[int]] = field(default_factory=list)
    answered: bool = False

    def stand(self, time_ms: int) -> None:
        """Stand from a moment on; again, if it no longer did."""
        if self.spans and time_ms <= self.spans[-1][1]:
            self.spans[-1][1] = time_ms + STANDS_MS
        else:
            self.spans.append([time_ms, time_ms + STANDS_MS])

    def end(self, time_ms: int) -> None:
        """Stand no longer."""
        self.spans[-1][1] = min(self.spans[-1][1], time_ms)


class Alerts:
    """All that was surfaced, in the order in which it was; told by the recommendation topic alone."""

    def __init__(self) -> None:
        """Start with nothing surfaced."""
        self.by_id: dict[str, Alert] = {}

    def add(self, event: Recommendation) -> None:
        """Follow one moment of a recommendation's life."""
        if event.life is Life.OPENED:
            self.by_id[event.id] = Alert(event.id, event.entity)
        alert = self.by_id[event.id]
        match event.life:
            case Life.OPENED | Life.UPDATED if not alert.answered:
                alert.stand(event.time_ms)
            case Life.ANSWERED:
                # Nothing comes after its time: the answer came when all up to then had been seen.
                alert.answered = True
                alert.end(event.time_ms + 1)
            case Life.CLEARED | Life.EXPIRED:
                alert.end(event.time_ms)
            case _:
                pass

    def rows(self, alert: Alert, course: Course, now_ms: int) -> list[Rows]:
        """Return the rows of the test part during which a recommendation had stood by `now_ms`."""
        spans = (course.rows(start, min(end, now_ms + 1)) for start, end in alert.spans)
        return [(start, end) for start, end in spans if start < end]

    def table(self, courses: dict[str, Course]) -> pa.Table:
        """Return one row for each time a recommendation stood: a second one only where it came back after it no longer did."""
        found = [
            (courses[alert.entity].dataset, courses[alert.entity].entity, start, end, alert.id)
            for alert in self.by_id.values()
            for start, end in self.rows(alert, courses[alert.entity], int(courses[alert.entity].clock_ms[-1]))
        ]
        columns = list(zip(*found, strict=True)) or [()] * len(SCHEMA)
        return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), SCHEMA)


SCHEMA = pa.schema(
    [("dataset", pa.string()), ("entity", pa.string()), ("start", pa.int64()), ("end", pa.int64()), ("recommendation", pa.string())]
)


def write(table: pa.Table, path: Path) -> None:
    """Write alerts; the same alerts give the same bytes."""
    pq.write_table(table, path)
