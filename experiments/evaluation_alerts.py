"""During which rows a recommendation stood, as known at each of them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

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
    """One surfaced recommendation and the span [start, end) during which it stood, in ms; the end may still be moved."""

    id: str
    entity: str
    start_ms: int
    end_ms: int
    answered: bool = False

    def prolong(self, time_ms: int) -> None:
        """Stand on, unless it no longer did: it has one row, and does not come back."""
        if time_ms <= self.end_ms:
            self.end_ms = time_ms + STANDS_MS

    def end(self, time_ms: int) -> None:
        """Stand no longer."""
        self.end_ms = min(self.end_ms, time_ms)


class Alerts:
    """All that was surfaced, in the order in which it was; told by the recommendation topic alone."""

    def __init__(self) -> None:
        """Start with nothing surfaced."""
        self.by_id: dict[str, Alert] = {}

    def add(self, event: Recommendation) -> None:
        """Follow one moment of a recommendation's life."""
        if event.life is Life.OPENED:
            self.by_id[event.id] = Alert(event.id, event.entity, event.time_ms, event.time_ms + STANDS_MS)
        alert = self.by_id[event.id]
        match event.life:
            case Life.UPDATED if not alert.answered:
                alert.prolong(event.time_ms)
            case Life.ANSWERED:
                # Nothing comes after its time: the answer came when all up to then had been seen.
                alert.answered = True
                alert.end(event.time_ms + 1)
            case Life.CLEARED | Life.EXPIRED:
                alert.end(event.time_ms)
            case _:
                pass

    def rows(self, alert: Alert, course: Course, now_ms: int) -> Rows:
        """Return the rows of the test part during which a recommendation had stood by `now_ms`; it may be none."""
        return course.rows(alert.start_ms, min(alert.end_ms, now_ms + 1))

    def table(self, courses: dict[str, Course]) -> pa.Table:
        """Return one row for each recommendation that stood in the test part."""
        stood = [(alert, courses[alert.entity]) for alert in self.by_id.values()]
        spans = [(alert, course, *self.rows(alert, course, int(course.clock_ms[-1]))) for alert, course in stood]
        found = [(course.dataset, course.entity, start, end, alert.id) for alert, course, start, end in spans if start < end]
        columns = list(zip(*found, strict=True)) or [()] * len(SCHEMA)
        return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), SCHEMA)


SCHEMA = pa.schema(
    [("dataset", pa.string()), ("entity", pa.string()), ("start", pa.int64()), ("end", pa.int64()), ("recommendation", pa.string())]
)


def write(table: pa.Table, path: Path) -> None:
    """Write alerts; the same alerts give the same bytes."""
    pq.write_table(table, path)
