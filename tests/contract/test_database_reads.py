# SPDX-License-Identifier: Apache-2.0
"""Queries that are asked often, or for many rows, read no more than they need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import event, inspect

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.collection import KnownManifest
from magnetodb_backup.domain.backup.records import BackupRequest, CommittedBackup, NodeBackup
from magnetodb_backup.domain.backup.status import BackupStatus

_IDS = [f"{n}1111111-1111-4111-8111-111111111111" for n in range(4)]


def test_live_backups_and_restores_are_found_by_an_index(database: Database) -> None:
    """Finding 15: each report of each worker read all backups."""
    found = inspect(database._engine)
    for table in ("backups", "restores"):
        columns = [index["column_names"] for index in found.get_indexes(table)]
        assert ["status", "cluster"] in columns


@contextmanager
def _statements(database: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def record(*of_event: Any) -> None:
        seen.append(of_event[2])

    event.listen(database._engine, "before_cursor_execute", record)
    yield seen
    event.remove(database._engine, "before_cursor_execute", record)


def test_a_list_of_backups_reads_no_selection(database: Database) -> None:
    """Finding 16: a page of backups of thousands of tables took gigabytes."""
    for number, id_ in enumerate(_IDS):
        database.backups.create(BackupRequest({"type": "all"}), id_, "c")
        database.backups.update(id_, selection={"tables": number})
    with _statements(database) as seen:
        found = database.backups.list(limit=3, sort="created_at")
    assert [b.id for b in found] == _IDS[:3]
    assert {b.selection for b in found} == {None}
    assert not any("selection" in statement for statement in seen)
    assert database.backups.get(_IDS[2]).selection == {"tables": 2}


def test_the_newest_complete_backups_of_a_cluster(database: Database) -> None:
    statuses = [BackupStatus.CREATED, BackupStatus.CREATE_FAILED, BackupStatus.PARTIAL]
    for id_, status in zip(_IDS, statuses, strict=False):
        database.backups.create(BackupRequest({"type": "all"}), id_, "c")
        database.backups.set_status(id_, status, manifest_sha256=id_[:8])
    database.backups.create(BackupRequest({"type": "all"}), _IDS[3], "c")
    expected = [CommittedBackup(id_, id_[:8]) for id_ in (_IDS[2], _IDS[0])]
    assert database.backups.newest_committed("c", 5) == tuple(expected)
    assert database.backups.newest_committed("c", 1) == tuple(expected[:1])
    assert database.backups.newest_committed("other", 5) == ()


def test_manifests_of_a_node(database: Database) -> None:
    """Those of complete backups are required; what deleted ones have is found in the store."""
    host, other = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
    statuses = (
        BackupStatus.CREATED, BackupStatus.PARTIAL, BackupStatus.CREATE_FAILED,
        BackupStatus.DELETED,
    )  # fmt: skip
    for number, status in enumerate(statuses):
        for absent in (False, True):
            id_ = f"{number}{absent:d}"
            database.backups.create(BackupRequest({"type": "all"}), id_, "c")
            if status is BackupStatus.DELETED:
                database.backups.set_status(id_, BackupStatus.CREATED)
                database.backups.set_status(id_, BackupStatus.DELETING)
            database.backups.set_status(id_, status)
            for node, sha256 in ((host, "" if absent else f"sha-{id_}"), (other, "x")):
                record = NodeBackup(id_, node, "a", "dc1", "r1", manifest_sha256=sha256)
                database.backups.put_node_backup(replace(record, manifest_size=number))
    database.backups.create(BackupRequest({"type": "all"}), "elsewhere", "d")
    database.backups.set_status("elsewhere", BackupStatus.CREATED)
    found = database.backups.manifests_of("c", host)
    assert sorted(found.known, key=lambda k: k.backup_id) == [
        KnownManifest("00", 0, "sha-00", required=True),
        KnownManifest("10", 1, "sha-10", required=True),
        KnownManifest("20", 2, "sha-20", required=False),
    ]
    assert sorted(found.absent) == ["01", "11"]
    assert database.backups.manifests_of("c", "none").known == ()
    assert sorted(database.backups.manifests_of("d", host).absent) == ["elsewhere"]


def test_time_of_the_database(database: Database) -> None:
    first, second = database.nodes.now(), database.nodes.now()
    assert 1_700_000_000 < first <= second < first + 3600
