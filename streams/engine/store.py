"""The state of a task group: one Faust table, one RocksDB database and one changelog partition per task.

Rows reach a database only after the transaction that carries them is committed, in one batch with their changelog
offset: a crash at any moment leaves the database behind the changelog, never ahead, and recovery reads on from there.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import rocksdict
from faust.stores.rocksdb import Store as RocksStore
from faust.tables import Table
from faust.types import TP
from faust.types.stores import StoreT
from faust.types.tables import CollectionT

from agents.step import Block
from schemas.errors import StateError

URL = "rocksdb://?driver=rocksdict"
ROWS_AND_BYTES = ("estimate-num-keys", "live-sst-files-size", "cur-size-all-mem-tables")


class StoreFacts(NamedTuple):
    """One task's database: about how many rows and bytes, and the changelog offset that it stands for, None before its first row."""

    rows: int
    bytes: int
    offset: int | None


class Store(RocksStore):
    """Faust's RocksDB store, written by transactions and by recovery, and by nobody else."""

    def reader(self, partition: int) -> Callable[[bytes], bytes | None]:
        """Return what reads a row of one task."""
        get: Callable[[bytes], bytes | None] = self._db_for_partition(partition).get
        return get

    def write(self, partition: int, rows: Iterable[tuple[bytes, bytes | None]], offset: int) -> None:
        """Write rows (None deletes) and the changelog offset of the last of them, all or nothing.

        Raises:
            StateError: the database cannot be written.
        """
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, row in rows:
            if row is None:
                batch.delete(key)
            else:
                batch.put(key, row)
        batch.put(self.offset_key, str(offset).encode())
        try:
            self._db_for_partition(partition).write(batch)
        except Exception as error:
            raise StateError(f"cannot write {self.partition_path(partition)}: {error}; make room or give NPO_HOME another disk") from error

    def restore(self, block: Block) -> None:
        """Write what recovery read from the changelog."""
        self.write(block.partition, ((key or b"", row) for key, row in zip(block.keys, block.values, strict=True)), block.offsets[-1])

    def look(self, partition: int) -> StoreFacts:
        """Read from one task's database what tells that it can be read.

        Raises:
            StateError: it is not open, or cannot be read.
        """
        # Not opened for this: another worker's it may be by now.
        database = self._dbs.get(partition)
        if database is None:
            raise StateError(f"the store of task {partition} is not open")
        try:
            offset = database.get(self.offset_key)
            sizes = [database.property_int_value(f"rocksdb.{name}") or 0 for name in ROWS_AND_BYTES]
        except Exception as error:
            raise StateError(f"cannot read {self.partition_path(partition)}: {error}; if it stays so, delete it: it is rebuilt") from error
        return StoreFacts(sizes[0], sum(sizes[1:]), None if offset is None else int(offset))

    def revoke_partitions(self, table: CollectionT, tps: set[TP]) -> None:
        """Close the databases of tasks that go elsewhere, at once, so that a new owner on this machine can open them."""
        for tp in tps:
            if tp.topic in table.changelog_topic.topics and (database := self._dbs.pop(tp.partition, None)) is not None:
                database.close()

    async def stop(self) -> None:
        """Close all databases."""
        for database in self._dbs.values():
            database.close()
        self._dbs.clear()


class StateTable(Table[bytes, bytes]):
    """The Faust table of a group; only its store, its changelog and its place in the assignment are used."""

    data: Store

    def _new_store(self) -> StoreT[bytes, bytes]:
        return Store(URL, self.app, self, table_name=self.name, options={})
