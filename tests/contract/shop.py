# SPDX-License-Identifier: Apache-2.0
"""A node with one table, whose rows can be taken out of it, and all that a restore asks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from magnetodb_backup.cassandra.control.interface import NodeControl
from magnetodb_backup.cassandra.control.jolokia import JolokiaControl
from magnetodb_backup.cassandra.control.nodetool import NodetoolControl
from magnetodb_backup.cassandra.control.sstableloader import BulkLoader
from magnetodb_backup.cassandra.cql.node import CqlNode
from magnetodb_backup.cassandra.cql.session import CqlAccess
from magnetodb_backup.domain.tables import TableName
from tests.lab.artifacts import CASSANDRA_4_1, CASSANDRA_5_0
from tests.lab.cassandra import CassandraCluster, CassandraNode
from tests.lab.cassandra_flags import Shape
from tests.lab.ports import LoopbackBlock

VERSIONS = [CASSANDRA_5_0, CASSANDRA_4_1]
ROWS = set(range(40))
TABLE = TableName("Shop", "order")  # capitals, and a reserved word
SAI = f"CREATE INDEX by_word ON {TABLE} (colour) USING 'sai'"
_COUNT = 0


@dataclass(frozen=True)
class Running:
    """A node, CQL to it, and its version."""

    node: CassandraNode
    cql: CqlNode
    version: str
    table: TableName = TABLE

    def rows(self) -> set[int]:
        return self.ids()

    def control(self, kind: str) -> NodeControl:
        if kind == "jolokia":
            return JolokiaControl(self.node.jolokia_url, timeout=60)
        return NodetoolControl(
            self.node.nodetool_command(), host="127.0.0.1", port=self.node.jmx_port, timeout=60
        )

    def loader(self, **more: float) -> BulkLoader:
        values = {"native_port": self.node.native_port, "timeout": 120, **more}
        return BulkLoader(self.node.sstableloader_command(), **values)  # type: ignore[arg-type]

    def ids(self, where: str = "") -> set[int]:
        rows = self.cql._session.rows(f"SELECT id FROM {TABLE} {where}")
        return {r.id for r in rows}

    def saved(self, to: Path) -> list[Path]:
        """Write the rows, flush, snapshot, copy the files away, and empty the table.

        Returns a directory ``…/<keyspace>/<table>`` for each data directory.
        """
        global _COUNT
        _COUNT += 1
        tag = f"saved-{_COUNT}"
        for number in ROWS:
            self.cql._session.rows(
                f"INSERT INTO {TABLE} (id, colour, size) VALUES (%s, %s, %s)",
                (number, f"colour {number % 4}", number % 5),
            )
        self.node.flush(TABLE.keyspace, TABLE.table)
        self.node.snapshot(tag, [f"{TABLE.keyspace}.{TABLE.table}"])
        directories = []
        for disk in self.node.data_directories:
            (snapshot,) = disk.glob(f"{TABLE.keyspace}/{TABLE.table}-*/snapshots/{tag}")
            target = to / disk.name / TABLE.keyspace / TABLE.table
            target.mkdir(parents=True)
            for file in snapshot.iterdir():
                if file.is_file() and file.suffix not in (".json", ".cql"):
                    shutil.copy(file, target)
            directories.append(target)
        self.cql.execute(f"TRUNCATE TABLE {TABLE}")
        assert self.ids() == set()
        return directories


@contextmanager
def run_shop(
    directory: Path, version: str, first_host: int, block: LoopbackBlock
) -> Iterator[Running]:
    """Run a node with the table and its indexes."""
    cluster = CassandraCluster(directory, Shape(1, version, first_host=first_host), block=block)
    try:
        cluster.start()
        (node,) = cluster.nodes
        cql = CqlNode(CqlAccess(node.address, node.native_port))
        cql.execute(
            'CREATE KEYSPACE "Shop" WITH replication = '
            "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        cql.execute(f"CREATE TABLE {TABLE} (id int PRIMARY KEY, colour text, size int)")
        cql.execute(f"CREATE INDEX by_size ON {TABLE} (size)")
        if version == CASSANDRA_5_0:
            cql.execute(SAI)
        yield Running(node, cql, version)
        cql.close()
    finally:
        cluster.stop()
