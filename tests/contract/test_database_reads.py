# SPDX-License-Identifier: Apache-2.0
"""Queries that are asked often, or for many rows, read no more than they need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, inspect

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.collection import KnownManifest
from magnetodb_backup.domain.backup.records import BackupRequest, CommittedBackup, NodeBackup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.restore.records import RestoreRequest
from tests.unit.domain.samples import BACKUP, TIME

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


def _many(database: Database, number: int) -> list[str]:
    """Record so many complete backups of two clusters; return their IDs, newest first."""
    ids = [f"{n:08}-1111-4111-8111-111111111111" for n in range(number)]
    backups = [
        replace(
            BACKUP,
            id=id_,
            name=f"n{n % 7}",
            cluster=f"c{n % 2}",
            created_at=TIME + timedelta(minutes=n // 2),  # two of each moment
            coverage={"ks": {"status": "complete"}},
            notes=("a note",),
        )
        for n, id_ in enumerate(ids)
    ]
    for start in range(0, number, 100):
        database.backups.learn_all([(b, []) for b in backups[start : start + 100]])
    return ids[::-1]


@pytest.mark.parametrize("sort", ["created_at", "created_at:desc", "name", "name:desc", "status"])
def test_pages_have_each_backup_once(database: Database, sort: str) -> None:
    ids = _many(database, 40)
    found: list[str] = []
    while page := database.backups.list(limit=7, sort=sort, marker=found[-1] if found else None):
        found += [b.id for b in page]
    assert found == [b.id for b in database.backups.list(sort=sort)]
    assert sorted(found) == sorted(ids)


def test_trap_7_a_page_reads_what_it_has(database: Database) -> None:
    """Listing a year of backups took an hour: a page costs two statements, wherever it begins."""
    ids = _many(database, 300)
    with _statements(database) as seen:
        found = database.backups.list(limit=10, marker=ids[250], cluster="c0")
    assert [b.id for b in found] == [i for i in ids[251:] if int(i[:8]) % 2 == 0][:10]
    selects = [s for s in seen if s.lstrip().startswith("SELECT")]
    assert len(selects) == 2
    assert "coverage" not in selects[0]  # the marker's row is not read whole


def test_trap_7_a_brief_list_has_no_long_columns(database: Database) -> None:
    _many(database, 3)
    with _statements(database) as seen:
        (first, *_) = database.backups.list(brief=True)
    assert (first.coverage, first.scope, first.notes, first.error) == (None, {}, (), "")
    for column in ("selection", "scope", "coverage", "notes", "backups.error"):
        assert not any(column in statement for statement in seen), column


def test_trap_7_a_list_of_restores_reads_no_plan(database: Database) -> None:
    _many(database, 1)
    request = RestoreRequest(database.backups.list()[0].id)
    restore = database.restores.create(request, _IDS[0], "c", "c")
    database.restores.update(restore.id, plan={"p": 1}, tables={"ks.t": "restored"})
    with _statements(database) as seen:
        (found,) = database.restores.list()
    assert (found.plan, found.tables, found.id) == (None, {}, restore.id)
    assert not any("plan" in statement for statement in seen)


_QUERIES: dict[str, dict[str, Any]] = {
    "all": {},
    "one cluster": {"cluster": "c0"},
    "a status": {"status": "CREATED", "cluster": "c0"},
}


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("query", _QUERIES)
def test_trap_7_lists_are_read_by_an_index(
    database: Database, database_kind: str, query: str, marked: bool
) -> None:
    """SQLite explains how it reads; the indexes are the same in all databases."""
    columns = [i["column_names"] for i in inspect(database._engine).get_indexes("backups")]
    assert ["created_at", "id"] in columns
    assert ["cluster", "created_at", "id"] in columns
    if database_kind != "sqlite":
        return
    marker = _many(database, 20)[3] if marked else None
    executed: list[tuple[str, Any]] = []

    def record(*of_event: Any) -> None:
        executed.append(of_event[2:4])

    event.listen(database._engine, "before_cursor_execute", record)
    database.backups.list(limit=5, marker=marker, **_QUERIES[query])
    event.remove(database._engine, "before_cursor_execute", record)
    with database._engine.begin() as connection:
        statement, parameters = executed[-1]
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plan = [str(row[-1]) for row in rows]
    assert all("USING INDEX ix_backups_" in line for line in plan if "backups" in line), plan
    if query != "a status":
        assert not any("TEMP B-TREE" in line for line in plan), plan
    if marked and query != "a status":
        assert any("created_at<" in line for line in plan), plan


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
