# SPDX-License-Identifier: Apache-2.0
"""backup files: read from the store."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.backup.manifest import (
    BackupManifest,
    FileEntry,
    NodeShare,
    StoredObject,
)
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from tests.unit.cli.conftest import Shell

HOSTS = ["host-1", "host-2"]
OBJECT = StoredObject("name", 1, "ab")


def entry(keyspace: str, table: str, name: str, index: str | None = None) -> FileEntry:
    return FileEntry(
        keyspace=keyspace, table=table, table_id="00", index=index, data_directory=1, name=name,
        size=2**40, mtime_ns=0, sha256="cd", crc32=None, extents=(),
    )  # fmt: skip


def share(host_id: str) -> NodeShare:
    return NodeShare(
        host_id=host_id, address="", dc="", rack="", version="", tokens=(), manifest=OBJECT,
        files=1, bytes=1, corrupt_files=0, snapshot_started_at="", snapshot_finished_at="",
    )  # fmt: skip


@pytest.fixture
def backup(shell: Shell) -> Backup:
    backup = shell.backup(BackupStatus.CREATED, "nightly")
    shell.store.manifests[backup.id] = BackupManifest(
        backup_id=backup.id, name="", cluster=backup.cluster, status="CREATED", created_at="",
        committed_at="", scope={}, selection={}, schema=OBJECT, schema_version="", skew_ms=0,
        coverage={}, nodes=tuple(share(host) for host in HOSTS),
    )  # fmt: skip
    shell.store.files = {
        "host-1": [entry("shop", "orders", "a-Data.db"), entry("shop", "Orders", "a-Data.db")],
        "host-2": [entry("shop", "orders", "b-Data.db", index="by_day")],
    }
    return backup


def listed(shell: Shell, *arguments: str) -> list[tuple[str, str, str]]:
    outcome = shell("backup", "files", "nightly", "-f", "json", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    return [(f["host_id"], f["table"], f["name"]) for f in outcome.json]


def test_all_files_of_all_nodes(shell: Shell, backup: Backup) -> None:
    first, *_, last = shell("backup", "files", backup.id, "-f", "json").json
    assert first == {
        "host_id": "host-1", "data_directory": 1, "keyspace": "shop", "table": "orders",
        "index": "", "name": "a-Data.db", "size": 2**40, "sha256": "cd",
    }  # fmt: skip
    assert (last["host_id"], last["index"]) == ("host-2", "by_day")
    assert len(listed(shell)) == 3


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--node", "host-2"], [("host-2", "orders", "b-Data.db")]),
        (["--table", 'shop."Orders"'], [("host-1", "Orders", "a-Data.db")]),
        (["--node", "host-1", "--table", "shop.orders"], [("host-1", "orders", "a-Data.db")]),
        (["--table", "shop.absent"], []),
    ],
)
def test_some_files(
    shell: Shell, backup: Backup, arguments: list[str], found: list[tuple[str, str, str]]
) -> None:
    assert listed(shell, *arguments) == found


def test_wrong_choices_are_named(shell: Shell, backup: Backup) -> None:
    message = shell.refused(4, "backup", "files", "nightly", "--node", "host-9")
    assert message == f"backup {backup.id} has no node host-9; see backup show"
    assert "'shop'" in shell.refused(2, "backup", "files", "nightly", "--table", "shop")


def test_backup_without_a_manifest(shell: Shell) -> None:
    backup = shell.backup(BackupStatus.CREATE_FAILED)
    message = shell.refused(4, "backup", "files", backup.id)
    assert message == f"the store has no manifest of backup {backup.id}"
