# SPDX-License-Identifier: Apache-2.0
"""Which libraries a process imports: imports are most of the time that a command takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Each of these takes 0.05 s or more to import.
HEAVY = {
    "alembic", "cassandra", "eventlet", "futurist", "keystoneauth1", "kombu", "oslo_concurrency",
    "oslo_config", "oslo_db", "oslo_log", "oslo_messaging", "oslo_policy", "oslo_service",
    "requests", "sqlalchemy", "swiftclient", "tooz",
}  # fmt: skip
# Reading the database takes its library and the configuration's; keystoneauth1 has options.
READING = {"keystoneauth1", "oslo_config", "oslo_db", "oslo_log", "requests", "sqlalchemy"}
PROGRAM = Path(sys.executable).with_name("magnetodb-backup-manage")


def imported(*arguments: str | Path) -> set[str]:
    """Run Python in a process of its own; return the names of the modules that it imported."""
    command = [sys.executable, "-X", "importtime", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def heavy(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names} & HEAVY


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The configuration of a deployment whose database is in place."""
    directory = tmp_path_factory.mktemp("imports")
    file = directory / "x.conf"
    file.write_text(
        f"[DEFAULT]\nstate_dir = {directory}\n[storage]\ndriver = filesystem\n"
        f"[filesystem]\npath = {directory}\n"
    )
    subprocess.run([PROGRAM, "--config-file", file, "db", "sync"], timeout=60, check=True)
    return f"--config-file={file}"


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_an_answer_without_services_imports_no_heavy_library(option: str) -> None:
    names = imported(PROGRAM, option)
    assert "magnetodb_backup.cli.app" in names
    assert heavy(names) == set()
    if option == "--version":
        assert not {"rich", "magnetodb_backup.cli.waiting"} & names
        assert len(names) < 400


@pytest.mark.parametrize("command", ["backup list", "restore list", "node list", "db version"])
def test_a_reading_command_imports_no_bus_and_no_storage_driver(config: str, command: str) -> None:
    assert heavy(imported(PROGRAM, config, *command.split())) <= READING


_WATCH = """
import importlib.abc, sys
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "oslo_messaging":
            from oslo_service import backend
            print(backend.get_backend_type().name)
sys.meta_path.insert(0, Watch())
"""


@pytest.mark.parametrize("name", ["api", "conductor", "worker", "standalone", "wsgi"])
def test_processes_choose_the_threading_backend_before_the_bus(config: str, name: str) -> None:
    """oslo.messaging selects eventlet, where it is installed, unless the backend is chosen."""
    code = f"{_WATCH}\nimport magnetodb_backup.cmd.{name}"
    files = {"OS_MAGNETODB_BACKUP_CONFIG_FILES": config.partition("=")[2]}  # for wsgi
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(
        command, env={**os.environ, **files}, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout) == (0, "THREADING\n"), result.stderr[-2000:]


def test_a_command_that_sends_a_message_chooses_the_threading_backend(config: str) -> None:
    code = (
        f"{_WATCH}\nfrom magnetodb_backup.cmd.manage import make_services\n"
        f"make_services([{config!r}]).requests()"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "THREADING\n"
