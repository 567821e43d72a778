"""Recovery: read a task's changelog from where its database stands to the last stable offset, in whole batches."""

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from faust.tables.manager import TableManager as FaustTableManager
from faust.tables.recovery import Recovery as FaustRecovery
from faust.types import TP
from mode import Service

from streams.engine.fetch import Delivery
from streams.engine.store import StateTable

if TYPE_CHECKING:
    from streams.engine.app import GroupApp


class Recovery(FaustRecovery):
    """Faust's recovery, fed with whole batches, and ended by fetch positions.

    Faust ends it by the offset of the last record it got; markers take offsets and are never delivered.

    Attributes:
        recovered: whether the tasks of the present assignment are at work on stores that are complete.
    """

    app: "GroupApp"

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - Faust's
        super().__init__(*args, **options)
        self.recovered = False
        self._started_s = time.monotonic()
        self._positions: dict[TP, int] = {}

    async def on_rebalance(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - Faust's
        """Start anew for a new assignment."""
        self.recovered = False
        self._started_s = time.monotonic()
        self.app.metrics.rebalances.inc()
        self._positions.clear()
        self.signal_recovery_end.clear()
        await super().on_rebalance(*args, **options)

    def restore(self, tp: TP, deliveries: list[Delivery]) -> None:
        """Write what was fetched from a changelog into the database; end the recovery where that was the last of it."""
        table = self.tp_to_table.get(tp)
        if not self.in_recovery or tp not in self.active_tps or not isinstance(table, StateTable):
            return
        for delivery in deliveries:
            if delivery.block.offsets:
                table.data.restore(delivery.block)
                self.app.metrics.recovered_records.inc(len(delivery.block.offsets))
                self.active_offsets[tp] = delivery.block.offsets[-1]
            self._positions[tp] = delivery.next
        if not self.need_recovery():
            self._set_recovery_ended()
            self.signal_recovery_end.set()

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Let the tasks begin, unless the next rebalance is under way."""
        await super().on_recovery_completed(generation_id)
        self.recovered = self.app.consumer_generation_id == generation_id
        self.app.metrics.recovery_seconds.set(time.monotonic() - self._started_s)

    def active_remaining(self) -> Counter[TP]:
        """Return how many offsets each changelog partition is from its last stable offset."""
        remaining: Counter[TP] = Counter()
        # A copy: health asks from another thread.
        for tp, last in list(self.active_highwaters.items()):
            # Nothing stored is None to Faust, whatever its annotations say.
            stored: int | None = self.active_offsets[tp]
            following = self._positions.get(tp, 0 if stored is None else stored + 1)
            remaining[tp] = max(0, last + 1 - following)
        return remaining

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Do nothing: Faust would read records one by one from a queue that stays empty here."""


class TableManager(FaustTableManager):
    """Faust's table manager with the recovery above."""

    @property
    def recovery(self) -> Recovery:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        assert isinstance(self._recovery, Recovery)
        return self._recovery

    async def on_start(self) -> None:
        """Start at once: the table is known, where Faust waits a second for more to come."""
        await self._update_channels()
        await self.recovery.start()
