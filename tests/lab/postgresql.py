# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL on loopback, from Debian's package."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg2

from tests.lab.database_server import DatabaseServer
from tests.lab.owned import OwnedDirectory, server_user
from tests.lab.processes import ManagedProcess


def _program(name: str) -> str:
    """Return the path of a server's program; Debian keeps them by version, off the PATH."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: float(p.parts[4])
    )
    found = str(versions[-1]) if versions else shutil.which(name)
    if found is None:
        raise RuntimeError("postgresql is not installed; run tools/bootstrap.sh test")
    return found


class PostgreSQL(DatabaseServer):
    """It does not wait for the disk."""

    scheme = "postgresql+psycopg2"
    not_ready = psycopg2.OperationalError

    def __init__(self, log: Path, *, address: str) -> None:
        super().__init__(address)
        self._user = server_user("postgres")
        self._directory = OwnedDirectory("postgresql", self._user)
        self._data = self._directory.path / "data"
        settings = {
            "listen_addresses": address,
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "32MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.process = ManagedProcess(
            "postgresql",
            [_program("postgres"), "-D", str(self._data), *options],
            log=log,
            cwd=self._directory.path,
            user=self._user,
        )

    def _install(self) -> None:
        if self._data.exists():
            return
        result = subprocess.run(
            [
                _program("initdb"), "-D", str(self._data), "--username=lab", "--no-sync",
                "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
                f"--pwfile={self._directory.write('password', self.password)}",
            ],
            capture_output=True,
            text=True,
            timeout=180,
            cwd=self._directory.path,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            env={"PATH": os.environ.get("PATH", "")},
        )  # fmt: skip
        if result.returncode:
            raise RuntimeError(f"initdb failed:\n{result.stdout}{result.stderr}")

    def _connect(self) -> Any:
        return psycopg2.connect(
            host=self.address,
            port=self.port,
            user="lab",
            password=self.password,
            dbname="postgres",
            connect_timeout=5,
        )

    def create_database(self) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        name = f"lab_{secrets.token_hex(6)}"
        connection = self._connect()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        connection.close()
        return self.url(name)

    def stop(self) -> None:
        """End it and remove its data."""
        self.process.signal(signal.SIGINT)  # "fast": SIGTERM waits for the clients
        self.process.wait(30)
        self._directory.remove()
