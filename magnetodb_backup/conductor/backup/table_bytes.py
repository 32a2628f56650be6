# SPDX-License-Identifier: Apache-2.0
"""Records what a backup has of each table, and how much of it is new in the store."""

from __future__ import annotations

from collections.abc import Mapping

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.growth import TableBytes
from magnetodb_backup.tasks.backup import Uploaded


def record_tables(database: Database, backup_id: str, uploads: Mapping[str, Uploaded]) -> None:
    """Record the sums over all nodes; nothing if a worker of an older release took part."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for uploaded in uploads.values():
        if uploaded.tables is None:
            return
        for each in uploaded.tables:
            size, new = sums.get((each.keyspace, each.table), (0, 0))
            sums[each.keyspace, each.table] = (size + each.bytes, new + each.new)
    database.growth.record(backup_id, [TableBytes(*name, *found) for name, found in sums.items()])
