# SPDX-License-Identifier: Apache-2.0
"""How Cassandra is told: the interface of the ``magnetodb_backup.node_control`` plugins."""

from __future__ import annotations

from collections.abc import Sequence
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

    def close(self) -> None:
        """Release connections."""
