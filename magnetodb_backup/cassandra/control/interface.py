# SPDX-License-Identifier: Apache-2.0
"""How Cassandra is told: the interface of the ``magnetodb_backup.node_control`` plugins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from magnetodb_backup.domain.tables import TableName


class NodeControl(Protocol):
    """Commands to one Cassandra node.

    Every method may raise CassandraUnavailable (Transient), AccessDenied or CommandFailed.
    """

    def host_id(self) -> str:
        """Return the host ID of the node that answers."""

    def operation_mode(self) -> str:
        """Return NORMAL, JOINING, DRAINED … of the node that answers."""

    def flush(self, tables: Sequence[TableName]) -> None:
        """Write the tables' memtables to disk."""

    def take_snapshot(
        self, tag: str, tables: Sequence[TableName], *, ttl_seconds: int | None
    ) -> None:
        """Make hard links of the tables' SSTables under ``tag``, without flushing again.

        Cassandra itself removes them after ``ttl_seconds``; None: it does not.
        """

    def clear_snapshot(self, tag: str) -> None:
        """Remove the tag's hard links of all tables; a tag that does not exist is no error.

        Cassandra may answer well without having done it: look at the directories afterwards.
        """

    def import_sstables(self, table: TableName, directories: Sequence[str]) -> None:
        """Move the directories' SSTables into the table, whoever's tokens they have.

        Cassandra verifies them, takes their level and repaired time away, and builds secondary
        indexes, but not materialized views. The whole may be repeated.

        :raises SSTableRefused: naming the directories that Cassandra refuses; nothing of those
            was moved, and all of the others was. The reason is in Cassandra's log alone.
        :raises UnknownTable: if there is no such table.
        """

    def repair(
        self, keyspace: str, tables: Sequence[str], check: Callable[[], None] = lambda: None
    ) -> None:
        """Repair the tables in full, in all ranges that the node has a replica of.

        ``check`` is called now and then; when it raises, nobody waits for the repair any more. It
        goes on in Cassandra, where it does no harm: ending it would end other people's repairs.

        :raises CommandFailed: if it fails, or is not done in time; then it goes on in Cassandra.
        """

    def drain(self) -> None:
        """Flush everything and stop accepting writes, as before a stop."""

    def truncate_hints(self) -> None:
        """Forget the hints that this node keeps for others."""

    def listens(self) -> bool:
        """Tell whether anything takes connections where the node is controlled; asks nothing.

        A node that is too busy to answer still does, one that is stopped does not.
        """

    def disable_clients(self) -> None:
        """Take no more requests over CQL; the node stays in the ring."""

    def enable_clients(self) -> None:
        """Take requests over CQL again."""

    def replay_batches(self) -> None:
        """Finish the logged batches that this node keeps, and wait until that is done."""

    def rebuild_indexes(self, table: TableName, indexes: Sequence[str]) -> None:
        """Build secondary indexes of a table anew from its rows, and wait until that is done.

        :raises CommandFailed: if it fails, or is not done in time; then it goes on in Cassandra.
        """

    def close(self) -> None:
        """Release connections."""
