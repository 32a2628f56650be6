# SPDX-License-Identifier: Apache-2.0
"""A private MariaDB on loopback, from Debian's package."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path

import pymysql

from tests.lab.database_server import DatabaseServer
from tests.lab.owned import OwnedDirectory, server_user
from tests.lab.processes import ManagedProcess

_DAEMON = shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


class MariaDB(DatabaseServer):
    """It runs in the laxest SQL mode."""

    scheme = "mysql+pymysql"
    not_ready = pymysql.MySQLError

    def __init__(self, log: Path, *, address: str) -> None:
        if _DAEMON is None:
            raise RuntimeError("mariadb-server is not installed; run tools/bootstrap.sh test")
        super().__init__(address)
        user = server_user("mysql")
        self._directory = OwnedDirectory("mariadb", user)
        self._data = self._directory.make("data")
        accounts = self._directory.write(
            "accounts.sql",
            f"CREATE OR REPLACE USER 'lab'@'%' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL ON *.* TO 'lab'@'%';\n",
        )
        home = self._directory.path
        self.process = ManagedProcess(
            "mariadb",
            [
                _DAEMON, "--no-defaults", f"--datadir={self._data}", f"--tmpdir={home}",
                f"--bind-address={address}", f"--port={self.port}", f"--socket={home / 'socket'}",
                f"--pid-file={home / 'pid'}", f"--init-file={accounts}", "--skip-name-resolve",
                "--sql-mode=",  # the laxest: cuts what is too long unless a client says otherwise
                "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M",
                "--innodb-flush-log-at-trx-commit=2", "--performance-schema=OFF",
                "--debug-no-sync", "--skip-innodb-doublewrite",
            ],
            log=log,
            cwd=home,
            user=user,
        )  # fmt: skip

    def _install(self) -> None:
        if (self._data / "mysql").exists():
            return
        as_root = server_user("mysql")
        command = [
            "mariadb-install-db", "--no-defaults", f"--datadir={self._data}", "--skip-test-db",
            *([f"--user={as_root}"] if as_root else []),
        ]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, timeout=180)
        if result.returncode:
            raise RuntimeError(f"mariadb-install-db failed:\n{result.stdout}{result.stderr}")

    def _connect(self) -> pymysql.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(
            host=self.address, port=self.port, user="lab", password=self.password, connect_timeout=5
        )

    def create_database(self) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        name = f"lab_{secrets.token_hex(6)}"
        with self._connect() as connection:
            connection.cursor().execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def stop(self) -> None:
        """End it and remove its data."""
        self.process.stop(30)
        self._directory.remove()
