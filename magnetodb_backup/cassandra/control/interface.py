# SPDX-License-Identifier: Apache-2.0
"""The interface of node controls: plugins of ``magnetodb_backup.node_control``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

    def unsettled_nodes(self) -> Mapping[str, str]:
        """Return the nodes that the answering node sees joining, leaving or moving.

        By address, each with one of these words.
        """

    def flush(self, tables: Sequence[TableName]) -> None:
        """Write the tables' memtables to disk."""

    def take_snapshot(
        self, tag: str, tables: Sequence[TableName], *, ttl_seconds: int | None
    ) -> None:
        """Flush the tables and create hard links of their SSTables under ``tag``.

        Cassandra removes them after ``ttl_seconds``; with None it does not.
        """

    def clear_snapshot(self, tag: str) -> None:
        """Remove the tag's hard links of all tables; a tag that does not exist is no error.

        Cassandra may report success without removing them: check the directories afterwards.
        """

    def import_sstables(
        self,
        table: TableName,
        directories: Sequence[str],
        raise_if_cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        """Move the directories' SSTables into the table, without a check of their tokens.

        Cassandra verifies them, resets their level and repaired time, and builds secondary
        indexes, but not materialized views; that may take hours. Can be repeated. The imports of
        a table follow one another: that of an empty directory returns after the earlier ones.

        ``raise_if_cancelled`` is called regularly; an error that it raises ends the waiting. The
        import continues in Cassandra, which has no command to end it.

        :raises SSTableRefused: naming the directories that Cassandra refuses. It moved nothing
            from these and everything from the others. Only Cassandra's log has the reason.
        :raises UnknownTable: if there is no such table.
        :raises CommandFailed: if it takes too long; then it continues in Cassandra.
        """

    def repair(
        self,
        keyspace: str,
        tables: Sequence[str],
        raise_if_cancelled: Callable[[], None] = lambda: None,
        *,
        primary_ranges: bool = False,
    ) -> None:
        """Repair the tables in full, in all ranges of which the node has a replica.

        With ``primary_ranges`` only in those of which it is the first replica: then every node of
        every data centre has to be repaired so, and no range is repaired more than once.

        ``raise_if_cancelled`` is called regularly; an error that it raises ends the waiting. The
        repair continues in Cassandra and does no harm: stopping it would stop all repairs.

        :raises CommandFailed: if the repair fails, or takes too long; then it continues in
            Cassandra.
        """

    def autocompaction_off(self, tables: Sequence[TableName]) -> list[TableName]:
        """Return those of the tables that the node does not compact by itself."""

    def disable_autocompaction(self, tables: Sequence[TableName]) -> None:
        """Stop compacting these tables automatically, until they are altered or a restart."""

    def drain(self) -> None:
        """Flush everything and stop accepting writes, as before a stop."""

    def truncate_hints(self) -> None:
        """Delete the hints that this node keeps for others."""

    def listens(self) -> bool:
        """Return whether the port of the node control accepts connections; send nothing.

        A node too busy to answer accepts connections, a stopped one does not.
        """

    def disable_clients(self) -> None:
        """Stop serving CQL clients; the node stays in the ring."""

    def enable_clients(self) -> None:
        """Serve CQL clients again."""

    def replay_batches(self) -> None:
        """Replay the logged batches of this node, and wait until it is done."""

    def rebuild_indexes(self, table: TableName, indexes: Sequence[str]) -> None:
        """Rebuild secondary indexes of a table from its rows, and wait until it is done.

        :raises CommandFailed: if it fails, or takes too long; then it continues in Cassandra.
        """

    def close(self) -> None:
        """Release connections."""
