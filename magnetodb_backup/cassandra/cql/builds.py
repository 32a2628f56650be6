# SPDX-License-Identifier: Apache-2.0
"""Reads how far a node is with building views and indexes, and with the writes that follow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timezone

from magnetodb_backup.cassandra.cql.session import PinnedSession, time_of
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CommandFailed


class Builds:
    """The builds of one node over CQL."""

    def __init__(self, session: PinnedSession) -> None:
        self._session = session
        self._without_pending_hints = False

    def is_view_built(self, view: TableName) -> bool:
        """Return whether this node has built its part of a materialized view."""
        return bool(
            self._session.rows(
                "SELECT view_name FROM system.built_views "
                "WHERE keyspace_name = %s AND view_name = %s",
                (view.keyspace, view.table),
            )
        )

    def is_index_built(self, keyspace: str, index: str) -> bool:
        """Return whether this node has built its part of an index, legacy or storage-attached."""
        return bool(
            self._session.rows(
                'SELECT index_name FROM system."IndexInfo" '
                "WHERE table_name = %s AND index_name = %s",  # this column holds the keyspace
                (keyspace, index),
            )
        )

    def build_progress(self) -> Mapping[str, int]:
        """Return how far the builds of views and indexes on this node are, by a name of the work.

        Cassandra repeats the build of a view that has failed every 5 minutes, by tasks with new
        IDs, each from the last saved position of its token range. Between two positions, how far
        its tasks are in sum shows the progress. Builds of indexes are not repeated.
        """
        views = self._session.rows(
            "SELECT keyspace_name, view_name, start_token, keys_built "
            "FROM system.view_builds_in_progress"
        )
        found = {
            f"{r.keyspace_name}.{r.view_name} {r.start_token}": int(r.keys_built or 0)
            for r in views
        }
        saved = sum(found.values())
        tasks = self._session.rows(
            "SELECT keyspace_name, table_name, task_id, kind, progress "
            "FROM system_views.sstable_tasks"
        )
        for task in tasks:
            kind = (task.kind or "").lower()
            name = str(task.task_id)
            if "view build" in kind:
                name = f"views of {task.keyspace_name}.{task.table_name} after {saved} rows"
            if "build" in kind:
                found[name] = found.get(name, 0) + int(task.progress)
        return found

    def clock(self) -> float:
        """Return the node's time, in seconds since the epoch."""
        rows = self._session.rows("SELECT now() AS now FROM system.local")
        return time_of(rows[0].now)

    def oldest_batch(self) -> float | None:
        """Return the time of the oldest batch in this node's batch log; None if it is empty.

        Cassandra keeps the batches of ``system.batches`` in the order of their time.
        """
        rows = self._session.rows("SELECT id FROM system.batches LIMIT 1")
        return time_of(rows[0].id) if rows else None

    def oldest_hint(self) -> float | None:
        """Return the time of the oldest hint that this node keeps for a member of the ring.

        None if it has none, or if Cassandra has no ``system_views.pending_hints`` (before 4.1).
        """
        if self._without_pending_hints:
            return None
        try:
            rows = self._session.rows("SELECT address, oldest FROM system_views.pending_hints")
        except CommandFailed:
            self._without_pending_hints = True
            return None
        # Hints for a node that was removed have no address, and no end.
        times = [r.oldest for r in rows if r.address is not None and r.oldest is not None]
        return min(times).replace(tzinfo=timezone.utc).timestamp() if times else None
