# SPDX-License-Identifier: Apache-2.0
"""The configuration's arguments are found wherever they stand among the command's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from magnetodb_backup.cli.app import ManageApp
from magnetodb_backup.cli.services import Services
from magnetodb_backup.cmd.manage import split_arguments


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
    app = ManageApp(Services(_touched, _touched, _touched, _touched))
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
        argv = [program, "db", "sync", "--config-file", file]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60)

    refused = run()
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert str(file) in refused.stderr
    file.write_text(f"[DEFAULT]\nstate_dir = {tmp_path}/state\n[storage]\ndriver = filesystem\n")
    assert run().returncode == 0
    assert (tmp_path / "state" / "magnetodb-backup.sqlite").stat().st_mode & 0o077 == 0
