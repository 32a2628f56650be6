# SPDX-License-Identifier: Apache-2.0
"""A node of directories as nodetool or Jolokia see it: snapshots are real hard links."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CassandraUnavailable, CommandFailed
from tests.unit.worker import fake_changes

if TYPE_CHECKING:
    from tests.unit.worker.fake_node import FakeNode


class FakeControl:
    """The node as nodetool or Jolokia see it."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node

    def _do(self, what: str) -> FakeNode:
        if self._node.control_down:
            raise CassandraUnavailable("JMX does not answer; is Cassandra running?")
        self._node.log.append(what)
        return self._node

    def host_id(self) -> str:
        return self._do("host_id").controlled_host_id

    def operation_mode(self) -> str:
        return self._do("operation_mode").mode

    def unsettled_nodes(self) -> Mapping[str, str]:
        return dict(self._do("unsettled").unsettled)

    def _known(self, tables: Sequence[TableName]) -> None:
        unknown = set(tables) - {t.name for t in self._node.tables}
        if unknown:
            raise CommandFailed(f"Unknown keyspace/cf pair ({unknown.pop()})")

    def flush(self, tables: Sequence[TableName]) -> None:
        node = self._do("flush " + ",".join(str(t) for t in tables))
        self._known(tables)
        self._write_memtables(tables)
        node.on_flush()

    def _write_memtables(self, tables: Sequence[TableName]) -> None:
        node = self._node
        for each in [t for t in node.unflushed if t.name in tables]:
            node.unflushed.remove(each)
            node.generation += 1
            node.write(each, f"nb-{node.generation}-big-Data.db", f"row {node.generation}".encode())

    def take_snapshot(
        self, tag: str, tables: Sequence[TableName], *, ttl_seconds: int | None
    ) -> None:
        node = self._do(f"snapshot {tag} {ttl_seconds}")
        if node.snapshots(tag):
            raise CommandFailed(f"snapshot {tag} already exists")
        self._known(tables)
        self._write_memtables(tables)
        for each in node.tables:
            if each.name in tables:
                for number in range(len(node.data.paths)):
                    self._link(node.data.table_directory(number, each), tag)
        node.on_snapshot()

    def _link(self, directory: Path, tag: str) -> None:
        if not directory.is_dir():
            return
        target = directory / "snapshots" / tag
        target.mkdir(parents=True)
        for path in directory.iterdir():
            if path.is_file():
                os.link(path, target / path.name)

    def clear_snapshot(self, tag: str) -> None:
        """Clear what Cassandra finds: it does not follow symbolic links of keyspaces."""
        node = self._do(f"clear {tag}")
        node.on_clear()
        for path in node.snapshots(tag):
            if node.clears_nothing:
                fake_changes.protect(path)
            elif not path.parents[2].is_symlink():
                fake_changes.unprotect(path)
                shutil.rmtree(path)

    def import_sstables(
        self,
        table: TableName,
        directories: Sequence[str],
        raise_if_cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        if table.keyspace == "system_traces":  # Cassandra's own
            fake_changes.import_nothing(self._do("rehearse"), directories)
            return
        if directories and all(os.path.isdir(d) and not os.listdir(d) for d in directories):
            self._do(f"await {table}")
            self._wait_for_import(table, raise_if_cancelled)
            fake_changes.import_sstables(self._node, table, directories)
            return
        node = self._do(f"import {table} {len(directories)}")
        self._wait_for_import(table, raise_if_cancelled)  # one at a time
        if table in node.slow_imports:
            node.importing[table] = list(directories)
            self._wait_for_import(table, raise_if_cancelled)
            return
        node.on_import(table)
        fake_changes.import_sstables(node, table, directories)

    def _wait_for_import(self, table: TableName, raise_if_cancelled: Callable[[], None]) -> None:
        while table in self._node.importing:
            self._node.on_wait(table)
            raise_if_cancelled()

    def repair(
        self,
        keyspace: str,
        tables: Sequence[str],
        raise_if_cancelled: Callable[[], None] = lambda: None,
        *,
        primary_ranges: bool = False,
    ) -> None:
        self._do(f"repair {'-pr ' if primary_ranges else ''}{keyspace} {' '.join(tables)}")
        self._known([TableName(keyspace, table) for table in tables])

    def autocompaction_off(self, tables: Sequence[TableName]) -> list[TableName]:
        node = self._do("autocompaction_off")
        self._known(tables)
        altered = {t for t, o in node.compaction.items() if o.get("enabled") == "false"}
        return [t for t in tables if t in node.not_compacted | altered]

    def disable_autocompaction(self, tables: Sequence[TableName]) -> None:
        self._do(f"disable_autocompaction {' '.join(map(str, tables))}")
        self._node.not_compacted |= set(tables)

    def drain(self) -> None:
        self._do("drain")

        self._node.mode = "DRAINED"

    def truncate_hints(self) -> None:
        self._do("truncate_hints")

    def listens(self) -> bool:
        return not self._node.control_down

    def disable_clients(self) -> None:
        self._do("disable_clients").cql_down = True

    def enable_clients(self) -> None:
        if self._do("enable_clients").starting:
            raise CommandFailed("setup() must be called first for CassandraDaemon")
        self._node.cql_down = False

    def replay_batches(self) -> None:
        self._do("replay_batches")

    def rebuild_indexes(self, table: TableName, indexes: Sequence[str]) -> None:
        self._do(f"rebuild {table} {' '.join(indexes)}")

    def close(self) -> None:
        pass
