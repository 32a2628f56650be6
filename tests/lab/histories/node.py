# SPDX-License-Identifier: Apache-2.0
"""Executes the commands of histories on a real node, and reads its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cassandra.cluster import Session

from tests.lab.cassandra import CassandraCluster
from tests.lab.histories.commands import Action, Command
from tests.lab.histories.model import REPLICATION, Keyspace
from tests.lab.histories.rows import Shown, as_shown
from tests.lab.histories.values import plain
from tests.lab.processes import wait_for

_COMPACT = "forceKeyspaceCompaction(boolean,java.lang.String,[Ljava.lang.String;)"
_SHOWN = 2000  # characters of rows in a message


class HistoryNode:
    """The only node of a cluster."""

    def __init__(self, cluster: CassandraCluster, session: Session) -> None:
        self._cluster, (self._node,), self._session = cluster, cluster.nodes, session
        self._session.execute(
            f"CREATE KEYSPACE IF NOT EXISTS watch WITH replication = {REPLICATION}"
        )
        self._session.execute("CREATE TABLE IF NOT EXISTS watch.expiry (id int PRIMARY KEY)")

    @classmethod
    @contextmanager
    def connected(cls, cluster: CassandraCluster) -> Iterator[HistoryNode]:
        """Yield the node with a session."""
        with cluster.session() as session:
            yield cls(cluster, session)

    def execute(self, commands: Sequence[Command]) -> None:
        """Execute commands one after another."""
        for command in commands:
            keyspace, _, table = command.table.partition(".")
            match command.text:
                case Action.FLUSH:
                    self._node.flush(keyspace, table)
                case Action.COMPACT:
                    self._node.jolokia(
                        type="exec", operation=_COMPACT, arguments=[False, keyspace, [table]]
                    )
                case Action.DROP_LEAVING_FILES:
                    self._drop_leaving_files(keyspace, table)
                case statement:
                    self._session.execute(statement)

    def _drop_leaving_files(self, keyspace: str, table: str) -> None:
        """Drop a table so that its SSTables stay, as after a crash."""
        self._node.flush(keyspace, table)
        id_ = self.table_ids()[keyspace, table].replace("-", "")
        directories = [d / keyspace / f"{table}-{id_}" for d in self._node.data_directories]

        def files() -> list[Path]:
            return [path for d in directories for path in d.glob("*-big-*")]

        left = {path: path.read_bytes() for path in files()}
        self._session.execute(f"DROP TABLE {keyspace}.{table}")
        wait_for(lambda: not files(), deadline=60, what=f"no files of {keyspace}.{table}")
        for path, content in left.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def wait_expired(self) -> None:
        """Wait until everything short-lived that was written so far has expired."""
        self._session.execute("INSERT INTO watch.expiry (id) VALUES (0) USING TTL 1")
        wait_for(
            lambda: not self._session.execute("SELECT id FROM watch.expiry").all(),
            deadline=60,
            what="the end of a TTL",
        )

    def table_ids(self) -> dict[tuple[str, str], str]:
        """Return the ID of each table, by keyspace and name."""
        query = "SELECT keyspace_name, table_name, id FROM system_schema.tables"
        found = self._session.execute(query)
        return {(row.keyspace_name, row.table_name): str(row.id) for row in found}

    def differences(self, expected: Sequence[Keyspace]) -> str:
        """Return how keyspaces differ from what is expected; empty if they do not."""
        known = self.table_ids()
        lines = []
        for keyspace in expected:
            tables = sorted(table for name, table in known if name == keyspace.name)
            if tables != sorted(keyspace.tables):
                lines.append(
                    f"{keyspace.name} has the tables {tables}, not {sorted(keyspace.tables)}"
                )
                continue
            for table, rows in keyspace.read().items():
                found = self._rows(keyspace.name, table)
                if found != rows:
                    lines.append(f"{keyspace.name}.{table} has {_compared(found, rows)}")
        return "\n".join(lines)

    def _rows(self, keyspace: str, table: str) -> list[Shown]:
        found = self._session.execute(f"SELECT * FROM {keyspace}.{table}")
        rows = ({name: plain(value) for name, value in row._asdict().items()} for row in found)
        return sorted((as_shown(row) for row in rows), key=repr)

    def drop(self, keyspaces: Sequence[str]) -> None:
        """Drop keyspaces."""
        for name in keyspaces:
            self._session.execute(f"DROP KEYSPACE IF EXISTS {name}")


def _compared(found: Sequence[Shown], expected: Sequence[Shown]) -> str:
    more = [_without_nulls(row) for row in found if row not in expected]
    fewer = [_without_nulls(row) for row in expected if row not in found]
    return f"the rows {more} instead of {fewer}"[:_SHOWN]


def _without_nulls(row: Shown) -> dict[str, object]:
    return {name: value for name, value in row if value is not None}
