# SPDX-License-Identifier: Apache-2.0
"""A scratch Cassandra with a program in the place of Java."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magnetodb_backup.cassandra.scratch.node import ScratchSettings
from magnetodb_backup.cassandra.scratch.scratch import ScratchCassandra
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CassandraUnavailable, CommandFailed
from tests.unit.cassandra.scratch.fake_java import FakeJava
from tests.unit.worker.fake_node import member

TABLE = TableName("ks", "t")


def never() -> None:
    """Nobody cancels."""


def runs(pid: int) -> bool:
    """Return whether a process runs; one that has ended may still wait for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Cql:
    """A connection that refuses what it is told to refuse."""

    def __init__(self, address: str, port: int, refused: dict[str, str]) -> None:
        self._where, self.refused = f"{address}:{port}", refused

    def execute(self, statement: str) -> None:
        if statement == "hang up":
            raise CassandraUnavailable("no answer")
        if statement in self.refused:
            raise CommandFailed(f"Cassandra at {self._where}: {self.refused[statement]}")

    def local(self) -> RingMember:
        return member(1)

    def close(self) -> None:
        """Do nothing."""


class Scratching:
    """A scratch Cassandra with a program in the place of Java."""

    def __init__(self, root: Path) -> None:
        self.java = FakeJava(root)
        self.node_yaml = root / "cassandra.yaml"
        self.node_yaml.write_text("partitioner: P\nsasi_indexes_enabled: true\nrpc_port: 9160\n")
        self.path = root / "scratch"
        self.connects: list[int] = []
        self.unready = 0
        self.refused: dict[str, str] = {}
        self.verify_timeout = 30.0

    def scratch(self, **values: Any) -> ScratchCassandra:
        settings = {
            "installation": self.java.installation(),
            "configuration": str(self.node_yaml),
            "address": "127.0.0.1",
            "start_timeout": 30.0,
            "verify_timeout": self.verify_timeout,
            **values,
        }
        return ScratchCassandra(self.path, ScratchSettings(**settings), self.connect)

    def connect(self, address: str, port: int) -> Cql:
        self.connects.append(port)
        if len(self.connects) <= self.unready:
            raise CassandraUnavailable("not yet")
        return Cql(address, port, self.refused)

    def left(self) -> list[str]:
        return sorted(p.name for p in self.path.iterdir() if p.name != "lock")
