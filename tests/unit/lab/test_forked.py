# SPDX-License-Identifier: Apache-2.0
"""A fork of the imported programs behaves as the installed script does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.deployment import write_configuration
from tests.lab.forked import ForkServer, installed
from tests.lab.processes import wait_for

_MANAGE = installed("magnetodb-backup-manage")


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    made = ForkServer()
    yield made
    made.stop()


@pytest.fixture
def config(tmp_path: Path) -> str:
    database = f"sqlite:///{tmp_path / 'catalogue.sqlite'}"
    options: dict[str, dict[str, Any]] = {
        "DEFAULT": {"state_dir": tmp_path, "transport_url": "fake://"},
        "database": {"connection": database},
        "storage": {"driver": "filesystem"},
        "filesystem": {"path": tmp_path / "store"},
    }
    return str(write_configuration(tmp_path / "x.conf", options))


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["backup", "list", "-f", "json"], ["backup", "show"], ["no", "command"]],
)
def test_same_end_and_output(server: ForkServer, config: str, arguments: list[str]) -> None:
    argv = [_MANAGE, "--config-file", config, *arguments]
    script = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    fork = server.run(argv, os.environ, 60)
    assert (fork.returncode, fork.stdout) == (script.returncode, script.stdout)
    assert fork.stderr == script.stderr


def test_environment_and_directory_of_plugins(server: ForkServer, tmp_path: Path) -> None:
    (tmp_path / "sitecustom.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OSLO_X": "1"}
    assert server.run([_MANAGE, "--version"], environment, 60).returncode == 0


def test_each_command_starts_the_script_first(server: ForkServer) -> None:
    lines = [
        [_MANAGE, "--config-file", "x", "backup", "list"],
        [_MANAGE, "--config-file", "y", "backup", "list", "--limit", "1"],
        [_MANAGE, "backup", "show", "1"],
        ["/usr/bin/true"],
        ["/usr/bin/true"],
    ]
    assert [server.takes(line) for line in lines] == [False, True, False, False, False]


def test_killed_and_too_slow(server: ForkServer, config: str, tmp_path: Path) -> None:
    argv = [installed("magnetodb-backup-conductor"), "--config-file", config]
    server.run([_MANAGE, "--config-file", config, "db", "sync"], os.environ, 60)
    with pytest.raises(subprocess.TimeoutExpired):
        server.run(argv, os.environ, 0.5)
    with (tmp_path / "log").open("w+b") as log:
        process = server.start(argv, os.environ, (log.fileno(), log.fileno()), session=True)
        assert os.getsid(process.pid) == process.pid
        assert process.poll() is None
        wait_for(lambda: b"started" in (tmp_path / "log").read_bytes(), deadline=30, what="start")
        os.killpg(process.pid, 15)
        assert process.wait(20) == 0
        assert process.poll() == 0
        again = server.start(argv, os.environ, (log.fileno(), log.fileno()), session=True)
        os.killpg(again.pid, 9)
        assert again.wait(10) == -9


def test_forks_end_with_their_server(config: str, tmp_path: Path) -> None:
    server = ForkServer()
    argv = [installed("magnetodb-backup-conductor"), "--config-file", config]
    server.run([_MANAGE, "--config-file", config, "db", "sync"], os.environ, 60)
    with (tmp_path / "log").open("w+b") as log:
        process = server.start(argv, os.environ, (log.fileno(), log.fileno()), session=True)
        server.stop()
        wait_for(lambda: not Path(f"/proc/{process.pid}").exists(), deadline=10, what="its end")
    assert process.wait(1) == -9
