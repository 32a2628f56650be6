# SPDX-License-Identifier: Apache-2.0
"""The summaries at the end of a backup and of a restore."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest

from magnetodb_backup.cli.summary import Summary, backup_summary, restore_summary
from magnetodb_backup.domain.backup.records import Backup, Progress
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.fingerprints import TableCheck
from magnetodb_backup.domain.restore.records import Restore, RestoreProgress, RestoreStatus
from tests.unit.cli.conftest import Terminal
from tests.unit.domain.samples import BACKUP, NODE_BACKUP, NODE_RESTORE, RESTORE, TIME

COMMAND = "magnetodb-backup-manage --config-file /etc/x.conf"
MADE = replace(
    BACKUP,
    name="nightly",
    status=BackupStatus.CREATED,
    created_at=TIME,
    finished_at=TIME + timedelta(seconds=83),
    phase="commit",
    error="",
    selection={"keyspaces": [{}, {}], "tables": [{}, {}, {}]},
    coverage={"shop": {"status": "complete"}, "log": {"status": "complete"}},
    skew_ms=165,
    files=1234,
    bytes=10**10,
    bytes_uploaded=3 * 10**8,
    bytes_reused=97 * 10**8,
)
DONE = replace(
    RESTORE,
    status=RestoreStatus.RESTORED,
    created_at=TIME,
    finished_at=TIME + timedelta(hours=2, minutes=5),
    phase="cleanup",
    error="",
    plan={"warnings": ["run nodetool repair"]},
    tables={"shop.orders": "restored", "shop.users": "truncated"},
    checks=None,
)


def text_of(summary: Summary) -> str:
    out = io.StringIO()
    summary.write(out)
    return out.getvalue()


def of_backup(backup: Backup, nodes: int = 3) -> str:
    node = replace(NODE_BACKUP, phase="done", progress=Progress())
    return text_of(backup_summary(backup, [node] * nodes, COMMAND))


def of_restore(restore: Restore) -> str:
    progress = RestoreProgress(
        files_done=4,
        bytes_done=1_500_000,
        bytes_downloaded=1_000_000,
        bytes_resumed=500_000,
        sstables_imported=3,
    )
    node = replace(NODE_RESTORE, progress=progress)
    return text_of(restore_summary(restore, [node, node], COMMAND))


def test_a_backup() -> None:
    assert of_backup(MADE) == (
        f"Backup {MADE.id} 'nightly' is CREATED\n"
        "  saved      3 tables of 2 keyspaces on 3 nodes: 1,234 files, 10.0 GB\n"
        "  new        300.0 MB uploaded; 9.7 GB re-used, already in the store (97 %)\n"
        "  time       1 min 23 s (2024-05-06 05:30:00 UTC to 2024-05-06 05:31:23 UTC)\n"
        "  snapshots  taken within 165 ms\n"
        "  restores   every row, from all its replicas\n"
        "Next\n"
        f"  verify it       {COMMAND} backup verify {MADE.id}\n"
        f"  plan a restore  {COMMAND} restore create {MADE.id} --dry-run\n"
        f"  restore it      {COMMAND} restore create {MADE.id} --wait\n"
    )


def test_a_partial_backup_says_how_it_is_restored() -> None:
    coverage = {"shop": {"status": "complete"}, "log": {"status": "partial"}}
    out = of_backup(replace(MADE, status=BackupStatus.PARTIAL, coverage=coverage))
    assert "  restores   shop: every row, from all its replicas\n" in out
    assert "\n             log: every row, some from fewer replicas than the cluster has\n" in out
    assert f"  see its nodes   {COMMAND} backup show {MADE.id}\n" in out
    assert f"restore create {MADE.id} --allow-partial --wait\n" in out


@pytest.mark.parametrize("status", [BackupStatus.CREATE_FAILED, BackupStatus.CANCELLED])
def test_a_backup_that_ended_otherwise(status: BackupStatus) -> None:
    out = of_backup(replace(MADE, status=status, phase="upload"))
    assert out.startswith(f"Backup {MADE.id} 'nightly' is {status.value}\n  time  1 min 23 s (")
    assert ", in step upload\n" in out
    assert f"backup show {MADE.id}\n" in out
    assert "restore create" not in out


def test_a_restore() -> None:
    assert of_restore(DONE) == (
        f"Restore {DONE.id} is RESTORED\n"
        "  restored  1 of 2 tables restored on 2 nodes: 8 files, 3.0 MB, 6 SSTables imported\n"
        "  fetched   2.0 MB from the store; 1.0 MB re-used, staged by an earlier attempt\n"
        "  time      2 h 5 min (2024-05-06 05:30:00 UTC to 2024-05-06 07:35:00 UTC)\n"
        "Next\n"
        f"  see its tables and nodes  {COMMAND} restore show {DONE.id}\n"
        "Warnings\n"
        "  run nodetool repair\n"
    )


def test_a_restore_whose_rows_were_compared() -> None:
    check = TableCheck(equal=60, changing=4, rows_expected=300, rows_found=300).as_json()
    assert (
        "  rows compared  k.t: 60 of 60 token ranges equal, 300 rows; 4 ranges changed while the "
        "backup was made: not compared\n"
    ) in of_restore(replace(DONE, checks={"k.t": check}))


def test_a_restore_that_failed() -> None:
    out = of_restore(replace(DONE, status=RestoreStatus.RESTORE_FAILED, phase="import"))
    assert "  tables  1 of 2 tables restored\n" in out
    assert ", in step import\n" in out


def test_nothing_restored_is_a_summary_too() -> None:
    empty = replace(DONE, tables={}, plan=None)
    assert "0 of 0 tables restored on 0 nodes" in text_of(restore_summary(empty, [], COMMAND))


def test_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = Summary("It is done", [("a", "b")], warnings=("careful",))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    summary.write(terminal)
    *_, warning = terminal.getvalue().splitlines()
    assert warning == "\x1b[33m  careful\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    summary.write(plain)
    assert "\x1b[33m" not in plain.getvalue()
    assert "\x1b" not in text_of(summary)


def test_backup_of_a_data_centre() -> None:
    coverage = {"shop": {"status": "complete"}, "system_auth": {"status": "excluded"}}
    text = of_backup(replace(MADE, data_centers=("dc1",), coverage=coverage), 1)
    assert "  data centres  dc1\n" in text
    assert "shop: every row, from all its replicas in data centre dc1" in text
    assert "system_auth: not at all: its data centres have no complete copy" in text
