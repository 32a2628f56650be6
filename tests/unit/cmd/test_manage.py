# SPDX-License-Identifier: Apache-2.0
"""The configuration's arguments are found wherever they stand among the command's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from magnetodb_backup.cli.app import ManageApp
from magnetodb_backup.cli.services import Services
from magnetodb_backup.cmd.manage import split_arguments
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.storage.filesystem import FilesystemDriver
from tests.unit.domain.backup.test_manifest import BACKUP_MANIFEST


@pytest.mark.parametrize(
    ("arguments", "ours", "rest"),
    [
        ("", [], []),
        ("backup list", [], ["backup", "list"]),
        ("--config-file x db sync", ["--config-file", "x"], ["db", "sync"]),
        ("db sync --config-file x", ["--config-file", "x"], ["db", "sync"]),
        ("db --config-file=x sync", ["--config-file=x"], ["db", "sync"]),
        (
            "--config-file a --config-dir=b db --config-file c sync",
            ["--config-file", "a", "--config-dir=b", "--config-file", "c"],
            ["db", "sync"],
        ),
        ("--config-files x", [], ["--config-files", "x"]),
        ("backup create --name=--config-file", [], ["backup", "create", "--name=--config-file"]),
        ("db sync --config-file", [], ["db", "sync", "--config-file"]),
        ("--debug -f json", [], ["--debug", "-f", "json"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arguments_are_split(arguments: str, ours: list[str], rest: list[str]) -> None:
    assert split_arguments(arguments.split()) == (ours, rest)


def exit_code_of(run: Callable[[], int]) -> object:
    """Return what the process would end with."""
    try:
        return run()
    except SystemExit as error:
        return error.code


def _touched(*arguments: object) -> NoReturn:
    raise AssertionError("a command ran")


@pytest.mark.parametrize(
    "arguments",
    ["db sync --config-file", "--config-file", "--config-fil x db sync", "db sync --config-fil x"],
)
def test_no_command_runs_with_another_configuration_than_was_meant(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app = ManageApp(Services(_touched, _touched, _touched, _touched, _touched))
    assert exit_code_of(lambda: app.run(arguments.split())) == 2
    assert "--config-fil" in capsys.readouterr().err


def test_what_is_logged_does_not_get_into_a_commands_output(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text(f"[DEFAULT]\nstate_dir = {tmp_path}\n[storage]\ndriver = filesystem\n")
    code = (
        "import logging; from magnetodb_backup.cmd.manage import make_services\n"
        f"make_services(['--config-file={file}']).unchecked_database()\n"
        "logging.getLogger('library').error('told by a library')"
    )
    argv = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == ""
    assert "told by a library" in result.stderr


def test_the_named_file_is_the_one_that_is_used(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("magnetodb-backup-manage")
    file = tmp_path / "x.conf"

    def run() -> subprocess.CompletedProcess[str]:
        argv = [str(program), "db", "sync", "--config-file", str(file)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60)

    refused = run()
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert str(file) in refused.stderr
    file.write_text(f"[DEFAULT]\nstate_dir = {tmp_path}/state\n[storage]\ndriver = filesystem\n")
    assert run().returncode == 0
    assert (tmp_path / "state" / "magnetodb-backup.sqlite").stat().st_mode & 0o077 == 0


def test_a_fresh_deployment_finds_its_backups_in_the_store(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("magnetodb-backup-manage")
    file, store = tmp_path / "x.conf", tmp_path / "store"
    store.mkdir()
    file.write_text(
        f"[DEFAULT]\nstate_dir = {tmp_path}/state\n[filesystem]\npath = {store}\n"
        "[storage]\ndriver = filesystem\nprefix = mine\nretry_deadline = 0.1\n"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [str(program), "--config-file", str(file), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60)

    assert run("db", "sync").returncode == 0
    unused = run("catalogue", "rebuild")
    assert (unused.returncode, unused.stdout) == (1, "")
    again, error = unused.stderr.splitlines()[-2:]
    assert again.endswith("mount it; trying again")
    assert error.startswith(f"error: {store} has no .magnetodb-backup")
    repository = ClusterRepository(FilesystemDriver(store), "mine", BACKUP_MANIFEST.cluster)
    repository.ensure()
    repository.commit(BACKUP_MANIFEST)
    found = run("catalogue", "rebuild", "-f", "json")
    assert (found.returncode, found.stderr) == (0, "")
    assert [row["result"] for row in json.loads(found.stdout)] == ["added"]
    shown = run("backup", "show", BACKUP_MANIFEST.name, "-f", "json")
    assert json.loads(shown.stdout)["id"] == BACKUP_MANIFEST.backup_id
