# SPDX-License-Identifier: Apache-2.0
"""restore create: what is asked for, and what the end of waiting means."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import pytest

from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.restore.records import (
    Existing,
    Restore,
    RestoreProgress,
    RestoreRequest,
    RestoreStatus,
)
from magnetodb_backup.domain.restore.views import restore_view
from magnetodb_backup.domain.tables import (
    KeyspaceDescription,
    Selection,
    TableDescription,
    TableName,
)
from tests.lab.processes import wait_for
from tests.unit.cli.conftest import CLUSTER, Meanwhile, Shell, Terminal

S, R = BackupStatus, RestoreStatus
SELECTION = Selection(
    (KeyspaceDescription("shop"),),
    tuple(TableDescription(TableName("shop", t), "0" * 32) for t in ("orders", "users")),
)


@pytest.fixture
def backup(shell: Shell) -> Backup:
    """A complete backup with the name nightly."""
    made = shell.backup(S.CREATED, "nightly")
    return shell.database.backups.update(made.id, selection=SELECTION.as_json(), figures=True)


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ([], {}),
        (["--keyspace", "shop"], {"keyspaces": ("shop",)}),
        (
            ["--table", "shop.orders", "--table", "shop.users", "--to-keyspace", "shop2"],
            {"tables": ("shop.orders", "shop.users"), "to_keyspace": "shop2"},
        ),
        (
            ["--table", "shop.orders", "--to-table", "old", "--existing", "replace"],
            {"tables": ("shop.orders",), "to_table": "old", "existing": Existing.REPLACE},
        ),
        (["--offline"], {"offline": True}),
        (
            ["--node", "10.0.0.1", "--offline", "--existing", "replace"],
            {"node": "10.0.0.1", "offline": True, "existing": Existing.REPLACE},
        ),
        (
            ["--node", "10.0.0.1", "--existing", "merge", "--allow-partial"],
            {"node": "10.0.0.1", "existing": Existing.MERGE, "allow_partial": True},
        ),
        (
            ["--cluster", CLUSTER, "--source-replicas", "one"],
            {"cluster": CLUSTER, "source_replicas": "one"},
        ),
        (["--dry-run", "--no-wait"], {"dry_run": True}),
        (["--check"], {"check": True}),
        (
            ["--skip", "view=shop.by_name", "--skip", "index=by_v"],
            {"skip": ("view=shop.by_name", "index=by_v")},
        ),
    ],
)
def test_requests(shell: Shell, backup: Backup, arguments: list[str], asked: Any) -> None:
    outcome = shell("restore", "create", "nightly", *arguments, "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    restore = shell.database.restores.get(outcome.json["id"])
    assert restore.request == RestoreRequest(backup.id, **asked)
    assert restore.status is R.RESTORING
    assert outcome.json == restore_view(restore, [])
    assert shell.woken == 1


@pytest.mark.parametrize(
    ("code", "arguments", "named"),
    [
        (4, ["weekly"], "there is no backup 'weekly'"),
        (5, ["failed"], "is CREATE_FAILED; only CREATED and PARTIAL ones can be restored"),
        (2, ["part"], "is PARTIAL: only a replica of each token range.*--allow-partial"),
        (2, ["nightly", "--table", "orders"], "'orders' is not a table; write keyspace.table"),
        (4, ["nightly", "--table", "shop.nope"], "does not have shop.nope"),
        (4, ["nightly", "--cluster", "other"], f"known: '{CLUSTER}'"),
        (2, ["nightly", "--to-table", "x"], "exactly one table"),
        (2, ["nightly", "--node", "10.0.0.1", "--existing", "replace"], "use merge"),
        (2, ["nightly", "--to-keyspace", "system"], "Cassandra's own"),
        (2, ["nightly", "--check", "--node", "10.0.0.1"], "a single node cannot be checked"),
        (2, ["plain", "--check"], "has no fingerprints.*make the next backup with --fingerprints"),
    ],
)
def test_refusals_record_nothing(
    shell: Shell, backup: Backup, code: int, arguments: list[str], named: str
) -> None:
    shell.backup(S.CREATED, "plain")
    shell.backup(S.CREATE_FAILED, "failed")
    shell.backup(S.PARTIAL, "part")
    message = shell.refused(code, "restore", "create", *arguments)
    assert all(part in message for part in named.split(".*"))
    assert shell.database.restores.list() == ()
    assert shell.woken == 0


# Waiting

Conduct = Callable[[Callable[[Restore], None]], None]


@pytest.fixture
def conduct(shell: Shell, meanwhile: Meanwhile) -> Conduct:
    """Runs a restore as a conductor does, once it is asked for."""

    def conduct(work: Callable[[Restore], None]) -> None:
        def run() -> None:
            (job,) = wait_for(shell.database.jobs.unfinished, deadline=30, what="a job")
            work(shell.database.restores.get(job.id))

        meanwhile(run)

    return conduct


@pytest.mark.parametrize(
    ("end", "code"), [(R.RESTORED, 0), (R.PLANNED, 0), (R.RESTORE_FAILED, 1), (R.CANCELLED, 1)]
)
def test_end_is_the_exit_code(
    shell: Shell, backup: Backup, conduct: Conduct, end: RestoreStatus, code: int
) -> None:
    error = "node 10.0.0.1 has no space" if code else ""

    def finish(restore: Restore) -> None:
        shell.database.restores.set_status(restore.id, end, error)

    conduct(finish)
    outcome = shell("restore", "create", backup.id, "--wait", "--timeout", "30", "-f", "json")
    assert (outcome.code, outcome.json["status"]) == (code, end.value)
    assert outcome.err == (f"error: {end.value}: {error}\n" if code else "")


def test_a_dry_run_waits_and_prints_the_plan(
    shell: Shell, backup: Backup, conduct: Conduct
) -> None:
    plan = {"method_by_keyspace": {"shop": "stream"}, "problems": ["no space on 10.0.0.1"]}

    def work(restore: Restore) -> None:
        shell.database.restores.update(restore.id, plan=plan)
        shell.database.restores.set_status(restore.id, R.PLANNED)

    conduct(work)
    outcome = shell("restore", "create", backup.id, "--dry-run", "--timeout", "30")
    assert outcome.code == 0
    assert outcome.err == "the restore would be refused; see the plan's problems\n"
    assert (
        "How each node gets its files\n  shop: streamed by Cassandra's bulk loader" in outcome.out
    )
    assert outcome.out.endswith("refuse the restore\n  no space on 10.0.0.1\n")


def test_a_restore_ends_with_a_summary(shell: Shell, backup: Backup, conduct: Conduct) -> None:
    database = shell.database

    def work(restore: Restore) -> None:
        database.restores.update(restore.id, phase="download")
        progress = RestoreProgress(
            files_total=7,
            files_done=3,
            bytes_total=100,
            bytes_done=40,
            bytes_downloaded=30,
            bytes_resumed=10,
            sstables_imported=2,
        )
        shell.node_restore(restore.id, address="10.0.0.1", progress=progress)
        shell.wait_told("files")
        database.restores.update(restore.id, tables={"shop.orders": "restored"})
        database.restores.set_status(restore.id, R.RESTORED)

    conduct(work)
    outcome = shell("restore", "create", backup.id, "--wait", "--timeout", "30")
    assert outcome.code == 0
    assert ": download\n" in outcome.err
    line = (
        "10.0.0.1: 3 of 7 files, 40 bytes of 100 bytes, 30 bytes downloaded, 2 SSTables imported, "
        "10 bytes re-used\n"
    )
    assert line in outcome.err
    assert "restored  1 of 1 table restored on 1 node: 3 files, 40 bytes, 2 SSTables" in outcome.out


def test_terminal_shows_a_bar_for_each_node(shell: Shell, backup: Backup, conduct: Conduct) -> None:
    shell.terminal = True

    def work(restore: Restore) -> None:
        shell.database.restores.update(restore.id, phase="download")
        shell.node_restore(restore.id, address="10.0.0.1", phase="failed")
        for text in ("10.0.0.1", "failed", "40/100 bytes"):
            shell.wait_told(text)
        shell.database.restores.set_status(restore.id, R.RESTORED)

    conduct(work)
    assert shell("restore", "create", backup.id, "--wait", "--timeout", "30").code == 0


def test_time_out_ends_only_the_waiting(shell: Shell, backup: Backup) -> None:
    shell.database.nodes.conductor_seen("host:1")
    message = shell.refused(
        1, "restore", "create", backup.id, "--dry-run", "--timeout", "0.2", "-f", "json"
    )
    (restore,) = shell.database.restores.list()
    assert message == f"restore {restore.id} is not finished after 0.2 s; it continues"
    assert restore.status is R.RESTORING


@pytest.mark.parametrize("terminal", [False, True])
def test_warnings_of_the_plan_are_shown_at_once_and_at_the_end(
    shell: Shell, backup: Backup, conduct: Conduct, terminal: bool
) -> None:
    """While the restore downloads, an operator can still cancel it."""
    shell.terminal = terminal
    warning = "the rows of shop.orders have expired"

    def work(restore: Restore) -> None:
        database = shell.database.restores
        database.update(restore.id, phase="download", plan={"warnings": [warning]})
        shell.wait_told(f"warning: {warning}")
        assert database.get(restore.id).status is R.RESTORING
        database.set_status(restore.id, R.RESTORED)

    conduct(work)
    outcome = shell("restore", "create", backup.id, "--wait", "--timeout", "30")
    assert outcome.code == 0
    shown = outcome.err + outcome.out
    assert shown.count(warning) == 2
    assert warning in shown[-200:]


# Confirmation

REPLACE = ("restore", "create", "nightly", "--table", "shop.orders", "--existing", "replace")


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yesterday\n"])
def test_data_is_not_replaced_without_a_yes(
    shell: Shell, backup: Backup, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    outcome = shell(*REPLACE)
    assert outcome.code == 1
    asked = f"replaces the data of shop.orders in cluster {CLUSTER} by that of backup {backup.id}"
    assert asked in outcome.err
    assert outcome.err.endswith("error: not confirmed; nothing was changed\n")
    assert shell.database.restores.list() == ()


@pytest.mark.parametrize(
    ("more", "stdin"),
    [
        ([], Terminal("y\n")),
        (["--yes"], Terminal()),
        (["--dry-run", "--no-wait"], Terminal()),
        ([], io.StringIO()),  # a script
    ],
    ids=["yes", "--yes", "dry run", "script"],
)
def test_confirmed_or_not_asked(
    shell: Shell,
    backup: Backup,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    stdin: io.StringIO,
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    outcome = shell(*REPLACE, *more)
    assert outcome.code == 0
    assert len(shell.database.restores.list()) == 1


def test_offline_restores_replace_too(
    shell: Shell, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    outcome = shell("restore", "create", "nightly", "--offline", "--node", "10.0.0.1")
    assert outcome.code == 1
    assert f"every table of the backup in node 10.0.0.1 of cluster {CLUSTER}" in outcome.err
