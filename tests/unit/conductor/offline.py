# SPDX-License-Identifier: Apache-2.0
"""A cluster of directories whose nodes may be stopped, with a backup of all and newer rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magnetodb_backup.domain.restore.records import Existing, Restore
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.worker.remembered import NodeMemory
from tests.unit.cassandra.tree import table
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring

ROLES = TableName("system_auth", "roles")


class Offline(Restoring):
    """Three nodes with roles and other tables, a backup of all, and newer rows."""

    def __init__(self, cluster: Cluster, **request: Any) -> None:
        for number, node in cluster.nodes.items():
            roles = table(ROLES.keyspace, ROLES.table, 9)
            node.tables.append(roles)
            node.write(roles, "nb-1-big-Data.db", f"{number} roles".encode())
        super().__init__(cluster, scope={"type": "all"}, **request)
        for number, node in cluster.nodes.items():
            for each in node.tables:
                path = node.data.table_directory(0, each) / "nb-1-big-Data.db"
                path.write_bytes(f"{number} newer".encode())
                node.write(each, "nb-50-big-Data.db", f"{number} newest".encode(), 1)
            others = node.data.paths[0].parent
            for name in ("hints", "saved_caches", "commitlog"):
                (others / name).mkdir()
                (others / name / f"{name}-1").write_text("old")
        self.newer = self.rows()
        self.forget()

    def request(self, *args: Any, **values: Any) -> Restore:
        return super().request(
            *args, **{"offline": True, "existing": Existing.REPLACE, "system_auth": True, **values}
        )

    def others(self, number: int) -> set[str]:
        """Return which of a node's other directories have their file."""
        root = self.cluster.nodes[number].data.paths[0].parent
        return {
            name
            for name in ("hints", "saved_caches", "commitlog")
            if (root / name / f"{name}-1").exists()
        }

    def left(self) -> list[Path]:
        return [p for p in self.staged() if p.name.startswith("aside-")]

    def commands(self, number: int) -> list[str]:
        """Return what changed a node's being."""
        words = {
            "disable_clients", "enable_clients", "replay_batches", "truncate_hints", "drain",
            "stop", "start",
        }  # fmt: skip
        return [entry for entry in self.cluster.nodes[number].log if entry in words]

    def runs(self) -> list[bool]:
        return [
            not n.cql_down and not n.control_down and n.mode == "NORMAL"
            for n in self.cluster.nodes.values()
        ]

    def go_down(self, number: int) -> None:
        """Let Cassandra on a node die, after its worker has seen it."""
        node = self.cluster.nodes[number]
        state = self.cluster._root / f"state{number}"
        node.local(memory=NodeMemory(state / "node.json")).known()
        node.cql_down = node.control_down = True
        self.cluster.report(number, problem="Cassandra does not answer CQL", down=True)
        node.log.clear()


STOPPED = ["disable_clients", "replay_batches", "truncate_hints", "drain", "stop"]
