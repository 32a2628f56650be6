# SPDX-License-Identifier: Apache-2.0
"""A private MariaDB on loopback, from Debian's package."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path

import pymysql

from tests.lab.owned import OwnedDirectory, server_user
from tests.lab.ports import free_port
from tests.lab.processes import ManagedProcess, wait_for

_DAEMON = shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


class MariaDB:
    """User ``lab`` owns everything; its password is made up for each start of the tests."""

    scheme = "mysql+pymysql"

    def __init__(self, log: Path, *, address: str) -> None:
        if _DAEMON is None:
            raise RuntimeError("mariadb-server is not installed; run tools/bootstrap.sh test")
        user = server_user("mysql")
        self._directory = OwnedDirectory("mariadb", user)
        self._data = self._directory.make("data")
        self.address, self.port = address, free_port(address)
        self.password = secrets.token_hex(16)
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
            ],
            log=log,
            cwd=home,
            user=user,
        )  # fmt: skip

    def start(self) -> None:
        """Start, where need be with empty system tables, and wait until it takes connections."""
        if not (self._data / "mysql").exists():
            self._install()
        self.process.start()

        def ready() -> bool:
            self.process.check_alive()
            try:
                self._connect().close()
            except pymysql.MySQLError:
                return False
            return True

        wait_for(ready, deadline=90, what="MariaDB", interval=0.2)

    def _install(self) -> None:
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

    def url(self, database: str, *, password: str | None = None) -> str:
        """Return the SQLAlchemy URL of a database."""
        secret = password or self.password
        return f"{self.scheme}://lab:{secret}@{self.address}:{self.port}/{database}"

    def stop(self) -> None:
        """End it and remove its data."""
        self.process.stop(30)
        self._directory.remove()
