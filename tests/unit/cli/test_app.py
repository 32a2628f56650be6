# SPDX-License-Identifier: Apache-2.0
"""Commands, exit codes, errors."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import NoReturn

import pytest

from magnetodb_backup.cli.app import NAMESPACE
from magnetodb_backup.cli.services import Services
from magnetodb_backup.errors import (
    AccessDenied,
    BackupError,
    Conflict,
    DatabaseUnavailable,
    InvalidValue,
    NotFound,
    StorageUnavailable,
)
from tests.lab.catalogue import MISSING
from tests.unit.cli.conftest import Shell

COMMANDS = [
    "backup cancel", "backup create", "backup delete", "backup files", "backup keep", "backup list",
    "backup show", "backup undelete", "backup unkeep", "backup verify", "catalogue rebuild",
    "db sync", "db version", "node forget", "node list", "repository collect",
    "repository findings", "repository show", "restore cancel", "restore create", "restore list",
    "restore show", "retention apply", "retention clear", "retention set", "retention show",
    "schedule create", "schedule delete", "schedule list", "schedule pause", "schedule resume",
    "schedule run", "schedule set", "schedule show", "status check",
]  # fmt: skip


def failing(error: BaseException) -> Services:
    """Return services that nobody reaches."""

    def fail(*_: object) -> NoReturn:
        raise error

    return Services(fail, fail, fail, fail, fail)


def test_the_commands_are_these() -> None:
    names = [entry.name.replace("_", " ") for entry in entry_points(group=NAMESPACE)]
    assert sorted(names) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(shell: Shell, command: str) -> None:
    services = failing(AssertionError("help needs no service"))
    outcome = shell(*command.split(), "--help", services=services)
    assert (outcome.code, outcome.err) == (0, "")
    usage, _, text = outcome.out.partition("\n\n")
    assert usage.startswith(f"usage: magnetodb-backup-manage {command} ")
    assert text[0].isupper()
    assert shell("help", *command.split(), services=services).out == outcome.out


def test_overview_lists_all_commands(shell: Shell) -> None:
    outcome = shell("--help")
    assert outcome.code == 0
    assert all(f"  {command}  " in outcome.out for command in COMMANDS)
    assert "--config-file" in outcome.out


def test_version(shell: Shell) -> None:
    assert shell("--version").out == "magnetodb-backup-manage 0.1.0\n"


@pytest.mark.parametrize("words", ["nothing", "backup", "backup lst", "backup de", "create backup"])
def test_wrong_command_is_named(shell: Shell, words: str) -> None:
    message = shell.refused(2, *words.split(), "--name", "x")
    assert message == f"{words!r} is not a command; see magnetodb-backup-manage --help"


def test_no_command_starts_no_shell(shell: Shell) -> None:
    outcome = shell()
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[-1].endswith("error: name a command; --help lists them")


def test_a_column_that_does_not_exist_is_named(shell: Shell) -> None:
    outcome = shell("db", "version", "-f", "json", "-c", "colour")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: No recognized column names in ['colour']. Recognized")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("backup list --limit ten", "--limit: invalid int value: 'ten'"),
        ("backup show", "required: backup"),
        ("backup create", "--all-keyspaces --keyspace --table --scope is required"),
        ("backup create --all-keyspaces --keyspace k", "not allowed with"),
        ("backup create --all-keyspaces --type half", "invalid choice: 'half'"),
        ("backup create --all-keyspaces --timeout soon", "--timeout: invalid float"),
        ("schedule create n --all-keyspaces", "required: --cron"),
        ("schedule create n --cron x --action restore", "invalid choice: 'restore'"),
        ("schedule set n --overlap never", "invalid choice: 'never'"),
        ("db sync --now", "unrecognized arguments: --now"),
        ("backup list --log-file x", "unrecognized arguments: --log-file"),
    ],
)
def test_wrong_arguments(shell: Shell, arguments: str, named: str) -> None:
    outcome = shell(*arguments.split())
    assert (outcome.code, outcome.out) == (2, "")
    last = outcome.err.splitlines()[-1]
    command = " ".join(arguments.split()[:2])
    assert last.startswith(f"magnetodb-backup-manage {command}: error: ")
    assert named in last


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidValue("why"), 2),
        (NotFound("why"), 4),
        (Conflict("why"), 5),
        (DatabaseUnavailable("why"), 1),
        (StorageUnavailable("why"), 1),
        (AccessDenied("why"), 1),
    ],
)
@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "status check"])
def test_error_is_one_line_and_a_code(
    shell: Shell, command: str, error: BackupError, code: int
) -> None:
    alone = command.startswith(("db", "catalogue")) or command.endswith("list")
    usual = [] if alone else ["x"]
    more = {
        "backup create": ["--all-keyspaces"],
        "backup keep": ["x", "--reason", "audit"],
        "retention apply": [],
        "retention clear": [],
        "retention set": ["--redundancy", "1"],
        "retention show": [],
        "repository collect": [],
        "repository findings": [],
        "repository show": [],
        "schedule create": ["x", "--all-keyspaces", "--cron", "0 2 * * *"],
        "schedule set": ["x", "--jitter", "1"],
    }.get(command, usual)
    assert shell.refused(code, *command.split(), *more, services=failing(error)) == "why"


def test_status_needs_a_right_configuration(shell: Shell) -> None:
    assert shell.refused(2, "status", "check", services=failing(InvalidValue("why"))) == "why"


def test_debug_shows_where(shell: Shell) -> None:
    with pytest.raises(NotFound):
        shell("--debug", "backup", "show", MISSING)


def test_interrupt(shell: Shell) -> None:
    outcome = shell("backup", "list", services=failing(KeyboardInterrupt()))
    assert (outcome.code, outcome.out, outcome.err) == (1, "", "interrupted\n")
