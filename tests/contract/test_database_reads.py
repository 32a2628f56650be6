# SPDX-License-Identifier: Apache-2.0
"""Queries that are asked often, or for many rows, read no more than they need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, inspect

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import BackupRequest, CommittedBackup
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
