# SPDX-License-Identifier: Apache-2.0
"""The whole service in one process, for one node, with its backups in Swift or in a directory."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.lab.cassandra import CassandraNode
from tests.lab.deployment import Options, write_configuration
from tests.lab.processes import ManagedProcess, wait_for
from tests.lab.swift import Swift

_BIN = Path(sys.executable).parent


class Standalone:
    """magnetodb-backup-standalone; ``options`` are written over what it needs.

    Without a Swift the backups are in a directory.
    """

    manage = _BIN / "magnetodb-backup-manage"

    def __init__(
        self, directory: Path, node: CassandraNode, swift: Swift | None, options: Options
    ) -> None:
        self.state_directory = directory / "state"
        self.config = write_configuration(
            directory / "magnetodb-backup.conf",
            {
                "DEFAULT": {"state_dir": self.state_directory, "transport_url": "fake://"},
                "cassandra": {"address": node.address, "node_control": "nodetool"},
                "nodetool": {"command": ",".join(node.nodetool_command()), "port": node.jmx_port},
            },
            _store(swift, directory),
            options,
        )
        self.process = ManagedProcess(
            "the service",
            [str(_BIN / "magnetodb-backup-standalone"), "--config-file", str(self.config)],
            log=directory / "service.log",
        )

    def command(self, *arguments: str) -> list[str]:
        """Return a command line of magnetodb-backup-manage."""
        return [str(self.manage), "--config-file", str(self.config), *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run magnetodb-backup-manage and keep its output."""
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=1800
        )

    def wait_ready(self) -> None:
        """Wait until the service sees its node."""

        def reported() -> bool:
            self.process.check_alive()
            return self._has_a_node()

        def ready() -> bool:
            self.process.check_alive()
            return self.run("status", "check").returncode == 0

        what = f"the service; see {self.process.log}"
        wait_for(reported, deadline=120, what=what)  # a start of the command costs more
        wait_for(ready, deadline=120, what=what, interval=0.5)

    def _has_a_node(self) -> bool:
        path = self.state_directory / "magnetodb-backup.sqlite"
        with (
            contextlib.suppress(sqlite3.OperationalError),  # it is being made
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database,
        ):
            return bool(database.execute("SELECT 1 FROM nodes").fetchone())
        return False


def _store(swift: Swift | None, directory: Path) -> Options:
    if swift is None:
        root = directory / "store"
        root.mkdir(parents=True)
        return {"storage": {"driver": "filesystem"}, "filesystem": {"path": root}}
    return {
        "storage": {"driver": "swift"},
        "swift": {
            "auth_type": "v1password",
            "auth_url": swift.auth_v1_url,
            "username": "test:tester",
            "password": "testing",
        },
    }
