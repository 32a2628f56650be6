# SPDX-License-Identifier: Apache-2.0
"""The API behind real servers: its own program, and gunicorn with the WSGI callable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.database import Database, connect
from tests.lab.deployment import write_configuration
from tests.lab.ports import LoopbackBlock, free_port
from tests.lab.processes import ManagedProcess, wait_for
from tests.unit.domain.samples import REPORT

_BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Server:
    """A server that runs, and the catalogue that it serves."""

    url: str
    process: ManagedProcess
    database: Database

    def call(self, path: str, body: Any = None) -> tuple[int, bytes]:
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()

    def processes(self) -> list[Path]:
        """Return the directories in /proc of the server and its children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [Path("/proc") / pid for pid in (str(self.process.pid), *children.split())]


def _command(config: Path, address: str, port: int, program: str, *options: str) -> list[str]:
    if program == "magnetodb-backup-api":
        return [str(_BIN / program), "--config-file", str(config), *options]
    application = "magnetodb_backup.cmd.wsgi:application"
    return [str(_BIN / program), "--bind", f"{address}:{port}", *options, application]


def _configuration(tmp_path: Path, address: str, port: int) -> Path:
    return write_configuration(
        tmp_path / "service.conf",
        {
            "DEFAULT": {"state_dir": tmp_path, "transport_url": "fake://"},
            "database": {"connection": f"sqlite:///{tmp_path / 'catalogue.sqlite'}"},
            "api": {"host": address, "port": port},
        },
    )


def _environment(config: Path) -> dict[str, str]:
    return {"OS_MAGNETODB_BACKUP_CONFIG_FILES": str(config)}


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path, loopback: LoopbackBlock) -> Iterator[Start]:
    started: list[Server] = []

    def start(program: str, *options: str) -> Server:
        address = loopback.address(20)
        port = free_port(address)
        config = _configuration(tmp_path, address, port)
        database = connect(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
        database.sync()
        process = ManagedProcess(
            program,
            _command(config, address, port, program, *options),
            log=tmp_path / f"{program}.log",
            env=_environment(config),
        )
        server = Server(f"http://{address}:{port}", process, database)
        started.append(server)
        process.start()

        def answers() -> bool:
            process.check_alive()
            try:
                return server.call("/healthcheck")[0] == 200
            except OSError:
                return False

        wait_for(answers, deadline=60, what=program)
        return server

    yield start
    for server in started:
        server.process.stop()
        server.database.close()


@pytest.mark.parametrize("command", [["magnetodb-backup-api"], ["gunicorn", "--threads", "4"]])
def test_requests_are_served(start: Start, command: list[str]) -> None:
    server = start(*command)
    assert json.loads(server.call("/")[1])["name"] == "magnetodb-backup"
    assert json.loads(server.call("/v1/backups")[1]) == {"backups": [], "links": []}
    server.database.nodes.report(REPORT)
    status, body = server.call("/v1/backups", {"scope": {"type": "all"}, "name": "nightly ß"})
    assert status == 202
    assert server.database.backups.find("nightly ß").id == json.loads(body)["id"]
    (listed,) = json.loads(server.call("/v1/backups?limit=5")[1])["backups"]
    assert listed == json.loads(body)
    server.process.stop()
    assert "Traceback" not in server.process.tail(1000)


def test_no_connection_is_shared_by_forked_workers(start: Start) -> None:
    server = start("gunicorn", "--preload", "--workers", "2")
    wait_for(lambda: len(server.processes()) == 3, deadline=30, what="two workers")
    opened = [
        os.path.realpath(link) for process in server.processes() for link in process.glob("fd/*")
    ]
    assert [name for name in opened if "catalogue.sqlite" in name] == []
    assert json.loads(server.call("/v1/backups")[1]) == {"backups": [], "links": []}


@pytest.mark.parametrize("program", ["magnetodb-backup-api", "gunicorn"])
def test_database_without_a_schema_is_named(
    tmp_path: Path, loopback: LoopbackBlock, program: str
) -> None:
    address = loopback.address(20)
    port = free_port(address)
    config = _configuration(tmp_path, address, port)
    outcome = subprocess.run(
        _command(config, address, port, program),
        env={**os.environ, **_environment(config)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome.returncode != 0
    assert "run magnetodb-backup-manage db sync" in outcome.stderr


def test_address_in_use_is_named(start: Start) -> None:
    first = start("magnetodb-backup-api")
    outcome = subprocess.run(first.process.argv, capture_output=True, text=True, timeout=60)
    assert outcome.returncode == 2
    error = outcome.stderr.splitlines()[-1]
    assert error.startswith(f"error: cannot listen on {first.url.removeprefix('http://')} (")
    assert error.endswith("set [api] host and port")
