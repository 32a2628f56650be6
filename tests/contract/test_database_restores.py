# SPDX-License-Identifier: Apache-2.0
"""What the records of restores promise, on every database."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timezone
from typing import Any

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.domain.restore.records import (
    Existing,
    NodeRestore,
    Restore,
    RestoreProgress,
    RestoreRequest,
    RestoreStatus,
)
from magnetodb_backup.errors import Conflict, InvalidValue, NotFound
from tests.lab.catalogue import MISSING, recorded

S = RestoreStatus
NODE = NodeRestore(MISSING, "a" * 8, "10.0.0.1", "dc1", "r1")


def create(database: Database, backup_id: str = "", cluster: str = "target") -> Restore:
    """Record a restore, of a backup of its own unless one is named."""
    backup_id = backup_id or recorded(database, "source", BackupStatus.CREATED).id
    request = RestoreRequest(backup_id)
    return database.restores.create(request, str(uuid.uuid4()), "source", cluster)


def test_a_new_restore_is_kept_whole(database: Database) -> None:
    backup = recorded(database, "Test Cluster", BackupStatus.PARTIAL)
    request = RestoreRequest(
        backup.id,
        cluster="ß",
        tables=('k."T🐘"', "k.u"),
        keyspaces=("j",),
        to_keyspace="K2",
        existing=Existing.REPLACE,
        node="10.0.0.1",
        source_replicas="one",
        allow_partial=True,
        dry_run=True,
        check=True,
    )
    made = database.restores.create(request, MISSING, "Test Cluster", "ß")
    kept = database.restores.get(MISSING)
    assert kept == made
    assert (kept.status, kept.request, kept.backup_id) == (S.RESTORING, request, backup.id)
    assert (kept.source_cluster, kept.cluster) == ("Test Cluster", "ß")
    assert (kept.plan, kept.tables, kept.checks, kept.finished_at) == (None, {}, None, None)
    assert kept.created_at.tzinfo is timezone.utc


def test_its_job_has_its_id(database: Database) -> None:
    made = create(database)
    (job,) = database.jobs.unfinished()
    assert (job.id, job.kind, job.status) == (made.id, JobKind.RESTORE, JobStatus.PENDING)
    assert (job.backup_id, job.cluster) == (made.backup_id, "target")
    assert RestoreRequest.from_json(job.parameters) == made.request
    assert job.created_at == made.created_at


@pytest.mark.parametrize(
    "status", [s for s in BackupStatus if s not in (BackupStatus.CREATED, BackupStatus.PARTIAL)]
)
def test_only_backups_that_have_data_are_restored(database: Database, status: BackupStatus) -> None:
    backup = recorded(database, "c", status)
    unfinished = database.jobs.unfinished()
    with pytest.raises(Conflict, match=f"{backup.id} is {status.value}; only CREATED and PARTIAL"):
        create(database, backup.id)
    assert database.restores.list() == ()
    assert database.jobs.unfinished() == unfinished


def test_restore_of_no_backup(database: Database) -> None:
    with pytest.raises(NotFound, match=f"no backup '{MISSING}'"):
        create(database, MISSING)


def test_a_backup_may_have_several_restores_and_a_verification(database: Database) -> None:
    backup = recorded(database, "source", BackupStatus.CREATED)
    first = create(database, backup.id)
    verification = database.jobs.create(
        JobKind.VERIFICATION, Subject.backup(backup.id), "source", {}
    )
    second = create(database, backup.id, "another target")
    assert {j.id for j in database.jobs.unfinished()} == {first.id, verification.id, second.id}
    with pytest.raises(Conflict, match="a verification of backup"):
        database.jobs.create(JobKind.VERIFICATION, Subject.backup(backup.id), "source", {})


def test_no_deletion_while_a_restore_reads(database: Database) -> None:
    backup = recorded(database, "source", BackupStatus.CREATED)
    ended, running = create(database, backup.id), create(database, backup.id)
    create(database)  # of another backup
    database.restores.set_status(ended.id, S.RESTORED)
    with pytest.raises(Conflict, match=f"{backup.id} is read by restore {running.id}; .*cancel it"):
        database.backups.request_deletion(backup.id)
    assert database.backups.get(backup.id).status is BackupStatus.CREATED
    assert not database.jobs.get(running.id).cancel_requested
    database.restores.set_status(running.id, S.RESTORE_FAILED)
    database.backups.request_deletion(backup.id)
    assert database.backups.get(backup.id).status is BackupStatus.DELETING
    with pytest.raises(Conflict, match="is DELETING"):
        create(database, backup.id)


def test_pages_cover_all_once_newest_first(database: Database) -> None:
    backup = recorded(database, "source", BackupStatus.CREATED)
    made = [create(database, backup.id) for _ in range(5)]
    whole = database.restores.list()
    order = [(r.created_at, r.id) for r in whole]
    assert order == sorted(((r.created_at, r.id) for r in made), reverse=True)
    pages, marker = [], None
    while page := database.restores.list(limit=2, marker=marker):
        pages.append(page)
        marker = page[-1].id
    assert [len(page) for page in pages] == [2, 2, 1]
    assert tuple(r for page in pages for r in page) == whole


def test_listing_some(database: Database) -> None:
    backup = recorded(database, "source", BackupStatus.CREATED)
    live, ended, other = (create(database, backup.id, c) for c in ("c", "c", "C"))
    database.restores.set_status(ended.id, S.PLANNED)
    assert [r.id for r in database.restores.list(status="PLANNED")] == [ended.id]
    assert {r.id for r in database.restores.list(cluster="c")} == {live.id, ended.id}
    assert database.restores.live_ids("c") == (live.id,)
    assert database.restores.live_ids("C") == (other.id,)
    assert database.restores.live_ids("source") == ()


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        ({"status": "LOST"}, "'LOST'.*PLANNED"),
        ({"marker": MISSING}, f"{MISSING}.*no restore"),
        ({"limit": 0}, "limit is 0"),
    ],
)
def test_wrong_choices_are_named(database: Database, chosen: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidValue, match=named):
        database.restores.list(**chosen)


def test_finding_by_the_first_digits(database: Database) -> None:
    backup = recorded(database, "source", BackupStatus.CREATED)
    ids = ["aaaaaaaa-1111-4111-8111-111111111111", "aaaaaaaa-2222-4222-8222-222222222222"]
    for restore_id in ids:
        database.restores.create(RestoreRequest(backup.id), restore_id, "source", "target")
    assert database.restores.find(ids[0]).id == ids[0]
    assert database.restores.find(ids[1][:10]).id == ids[1]
    with pytest.raises(Conflict) as caught:
        database.restores.find("aaaaaaaa")
    assert all(restore_id in str(caught.value) for restore_id in ids)
    for absent in ("aaaaaaa", "aaaaaaaa-3", "%" * 8, backup.id):
        with pytest.raises(NotFound, match=absent):
            database.restores.find(absent)


def test_phase_plan_tables_and_what_it_waits_for(database: Database) -> None:
    restore = create(database)
    values: dict[str, Any] = {
        "phase": "download",
        "waiting_for": "ß" * 100_000,
        "plan": {"bytes": 2**62, "amplification": 1.5, "tables": ["k.t"] * 20_000},
        "tables": {'k."T"': "truncated", "k.ß🐘": "untouched"},
        "checks": {"k.T": {"equal": 64, "rows_found": 2**62}},
    }
    changed = database.restores.update(restore.id, **values)
    assert {name: getattr(changed, name) for name in values} == values
    assert database.restores.get(restore.id) == changed
    assert changed.updated_at >= restore.updated_at
    with pytest.raises(InvalidValue, match="request, status"):
        database.restores.update(restore.id, status="RESTORED", request={})


@pytest.mark.parametrize("end", [s for s in S if s is not S.RESTORING])
def test_an_end_is_final(database: Database, end: RestoreStatus) -> None:
    restore = create(database)
    assert database.restores.set_status(restore.id, S.RESTORING).finished_at is None
    ended = database.restores.set_status(restore.id, end, "why")
    assert database.restores.get(restore.id) == ended
    assert (ended.status, ended.error) == (end, "why")
    assert ended.finished_at is not None
    assert database.restores.set_status(restore.id, end, "why").finished_at == ended.finished_at
    for other in set(S) - {end}:
        with pytest.raises(Conflict, match=f"{restore.id} is {end.value} and cannot become"):
            database.restores.set_status(restore.id, other)
    assert database.restores.get(restore.id).status is end


def test_node_restores(database: Database) -> None:
    backup = recorded(database, "source", BackupStatus.CREATED)
    restore, other = create(database, backup.id), create(database, backup.id)
    first = replace(NODE, restore_id=restore.id)
    second = replace(first, host_id="b" * 8, address="fe80::1")
    for node in (second, first, replace(first, restore_id=other.id)):
        database.restores.put_node_restore(node)
    assert database.restores.node_restores(restore.id) == (first, second)
    progress = RestoreProgress(files_done=2**33, bytes_done=2**62, sstables_imported=7)
    done = replace(first, phase="done", error="ß", progress=progress)
    database.restores.put_node_restore(done)
    assert database.restores.node_restores(restore.id) == (done, second)
    assert database.restores.node_restores(MISSING) == ()


@pytest.mark.parametrize("method", ["get", "set_status", "update"])
def test_missing_restore_is_named(database: Database, method: str) -> None:
    arguments = [S.RESTORED] if method == "set_status" else []
    with pytest.raises(NotFound, match=f"no restore '{MISSING}'"):
        getattr(database.restores, method)(MISSING, *arguments)


def test_what_it_waits_for_is_no_error_and_ends_with_it(database: Database) -> None:
    backup = recorded(database, "c", BackupStatus.CREATED)
    restore = database.restores.create(RestoreRequest(backup.id), str(uuid.uuid4()), "c", "c")
    assert restore.waiting_for == ""
    text = "waits before import until the ring is settled: " + "node ß is joining " * 10_000
    waiting = database.restores.update(restore.id, waiting_for=text)
    assert (waiting.waiting_for, waiting.error) == (text, "")
    ended = database.restores.set_status(restore.id, S.RESTORE_FAILED, "ß" * 100_000)
    assert (ended.waiting_for, ended.error) == ("", "ß" * 100_000)
