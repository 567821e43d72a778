"""What folds a log of one scope through a step, each record a block of its own or in blocks cut at some places."""

from collections.abc import Sequence
from typing import Any, Self

from msgspec import Struct

from agents.step import Block, Context, Output, Step
from schemas import codecs
from schemas.settings import Settings

# Long after all that the logs of tests tell of.
APPENDED_MS = 1_900_000_000_000
Entry = tuple[str, Struct | bytes]


class Folding:
    """What a log came to."""

    def __init__(self, step: Step, topics: Sequence[str], scope: str, settings: Settings) -> None:
        self.step, self.scope, self.settings = step, scope, settings
        self.outputs: list[Output] = []
        self.rows: dict[bytes, bytes] = {}
        self.positions = dict.fromkeys(topics, 0)

    def run(self, log: Sequence[Entry], cuts: set[int] | None = None) -> Self:
        """Fold a log; where `cuts` is None, one block a record, else new blocks at these places and where the topic changes."""
        start = 0
        for end in range(1, len(log) + 1):
            if end < len(log) and log[end][0] == log[start][0] and cuts is not None and end not in cuts:
                continue
            self._block(log[start][0], [event for _, event in log[start:end]])
            start = end
        return self

    def _block(self, topic: str, events: Sequence[Struct | bytes]) -> None:
        first, count = self.positions[topic], len(events)
        values: list[bytes | None] = [event if isinstance(event, bytes) else codecs.encode(event) for event in events]
        headers: list[Any] = [(("ce_id", f"{topic}-{first + place}".encode()),) for place in range(count)]
        keys: list[bytes | None] = [self.scope.encode()] * count
        block = Block(topic, 0, list(range(first, first + count)), [APPENDED_MS] * count, keys, values, headers)
        result = self.step(self.rows, block, Context(self.settings, self.positions.copy(), 1))
        self.outputs += result.outputs
        for key, row in result.rows.items():
            if row is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = row
        self.positions[topic] = first + count

    def events(self, topic: str, kind: type[Struct] | None = None) -> list[Any]:
        """The events written to a topic, of one kind if one is given, in order."""
        events = [codecs.decode(topic, output.value) for output in self.outputs if output.topic == topic]
        return [event for event in events if kind is None or isinstance(event, kind)]

    def dead(self) -> list[str]:
        """The reasons of the dead letters."""
        return [dict(output.headers)["npo_reason"].decode() for output in self.outputs if output.topic.endswith(".dlq")]
