"""What is known of the answers on the log: nothing of a log that is gone."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import TopicPartition

from agents.step import Block
from schemas.codecs import encode
from schemas.events import Answer, Feedback
from streams.serving.answering import AnswerLog


class Log:
    """One partition of the feedback topic, as a consumer tells of it."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where it ends."""
        return dict.fromkeys(places, len(self.values))

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where it begins."""
        return dict.fromkeys(places, 0)

    async def blocks(self, name: str, _: TopicPartition, start: int, end: int) -> AsyncIterator[Block]:
        """Read it."""
        values: list[Any] = self.values[start:end]
        if values:
            nothing: list[Any] = [None] * len(values)
            yield Block(name, 0, list(range(start, end)), [0] * len(values), nothing, values, [()] * len(values))


def answered(decision: str) -> bytes:
    """Return one answer as it is on the log."""
    return encode(Feedback(decision, "emma", Answer.LIKE, 0))


@pytest.mark.parametrize("anew", ["shorter", "epoch"])
async def test_answers_of_a_log_that_is_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch, anew: str) -> None:
    """Once the topic was made anew, be it shorter or be it noticed by the hub, an answer that only the old one had is news again."""
    log: Any = Log()
    answers = AnswerLog(log, "npo.")
    monkeypatch.setattr(answers, "_blocks", log.blocks)
    log.values = [answered("before"), answered("d1"), answered("d2")]
    answers.begin(1)
    assert [each.offset for each in await answers.of("d2", "emma", 0, 1)] == [2]
    log.values = [] if anew == "shorter" else [answered("other")] * 3
    answers.begin(1 if anew == "shorter" else 2)
    assert await answers.of("d2", "emma", 0, 0) == []
