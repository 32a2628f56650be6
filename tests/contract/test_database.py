# SPDX-License-Identifier: Apache-2.0
"""What the catalogue of backups promises, on every database that it may lie in."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Backup, BackupOutline, BackupRequest, Progress
from magnetodb_backup.domain.backup.status import TRANSITIONS, BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.errors import Conflict, InvalidValue, NotFound
from tests.lab.catalogue import MISSING, job_of, recorded
from tests.unit.domain.samples import BACKUP, NODE_BACKUP, TIME

S = BackupStatus


def create(
    database: Database, name: str = "", *, cluster: str = "c", backup_id: str | None = None
) -> Backup:
    request = BackupRequest(scope={"type": "all"}, name=name)
    return database.backups.create(request, backup_id or str(uuid.uuid4()), cluster)


def test_a_new_backup_is_kept_whole(database: Database) -> None:
    request = BackupRequest(
        scope={"type": "tables", "tables": ['k."T"', "ключ.ß"]},
        name="nightly 🐘",
        allow_partial=True,
        on_corrupt="mark",
        data_centers=("dc1", "ß 2"),
    )
    made = database.backups.create(request, str(uuid.uuid4()), "Test Cluster")
    kept = database.backups.get(made.id)
    assert kept == made
    assert (kept.status, kept.scope, kept.name) == (S.CREATING, request.scope, request.name)
    assert (kept.allow_partial, kept.on_corrupt, kept.type) == (True, "mark", "full")
    assert kept.data_centers == ("dc1", "ß 2")
    assert create(database).data_centers == ()
    assert kept.created_at.tzinfo is timezone.utc
    assert abs(kept.created_at - datetime.now(timezone.utc)) < timedelta(minutes=5)
    job = job_of(database, made.id)
    assert (job.status, job.cluster, job.round) == (JobStatus.PENDING, "Test Cluster", 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [("nightly", "Nightly"), ("a", "ä"), ("é", "e\u0301"), ("ss", "ß"), ("🐘", "🐎"), ("k1", "k_")],
)
def test_names_are_told_apart(database: Database, one: str, other: str) -> None:
    made = {name: create(database, name) for name in (one, other)}
    for name, backup in made.items():
        assert database.backups.find(name).id == backup.id
        with pytest.raises(Conflict, match=backup.id):
            create(database, name)
    cluster = create(database, cluster=one)
    assert [b.id for b in database.backups.list(cluster=one)] == [cluster.id]
    assert database.backups.live_ids(other) == ()


@pytest.mark.parametrize("name", ["x" * 256, "a\0b", "a\nb", "a ", " a", "\udcff"])
def test_names_that_databases_treat_differently_are_refused(database: Database, name: str) -> None:
    with pytest.raises(InvalidValue, match=r"^the name .*(255|blanks)"):
        create(database, name)
    assert database.backups.list() == ()


def test_long_name_of_any_characters(database: Database) -> None:
    name = "🐘" * 255
    made = create(database, name)
    assert database.backups.find(name) == made


def test_a_backup_is_learned_once_and_whole(database: Database) -> None:
    other = replace(NODE_BACKUP, host_id=MISSING, manifest_size=2**40)
    known = replace(BACKUP, coverage={"ks": {"status": "complete"}}, bytes=2**40, finished_at=TIME)
    assert database.backups.learn(known, [NODE_BACKUP, other]) is True
    assert database.backups.get(known.id) == known
    assert database.backups.node_backups(known.id) == (other, NODE_BACKUP)
    assert database.jobs.latest(Subject.backup(known.id), JobKind.BACKUP) is None
    assert database.backups.learn(replace(known, name="another"), []) is False
    assert database.backups.get(known.id) == known


def test_many_are_learned_at_once(database: Database) -> None:
    """All or none of a call; what is recorded stays as it is, with any status."""
    before = recorded(database, "c", S.DELETED)
    ids = [f"{n:08}-1111-4111-8111-111111111111" for n in range(150)]
    backups = [replace(BACKUP, id=id_, selection={"tables": []}) for id_ in (*ids, before.id)]
    found = [
        (backup, [replace(NODE_BACKUP, backup_id=backup.id, host_id=h) for h in (MISSING, "h")])
        for backup in backups
    ]
    with pytest.raises(InvalidValue, match="the name"):
        database.backups.learn_all([*found, (replace(BACKUP, name="a\nb"), [])])
    assert database.backups.list() == ()
    assert database.backups.learn_all(found) == frozenset(ids)
    assert database.backups.learn_all(found) == frozenset()
    assert database.backups.get(before.id) == before
    assert database.backups.node_backups(before.id) == ()
    assert database.backups.get(ids[149]).selection == {"tables": []}
    assert [n.host_id for n in database.backups.node_backups(ids[149])] == [MISSING, "h"]


def test_outlines_are_of_one_cluster_and_any_status(database: Database) -> None:
    deleted, made = recorded(database, "c", S.DELETED), recorded(database, "c", S.CREATED, "n")
    recorded(database, "d", S.PARTIAL)
    recorded(database, "e", S.CREATE_FAILED)
    found = database.backups.outlines("c")
    assert found == {
        backup.id: BackupOutline(
            backup.id, backup.name, "c", backup.status, backup.created_at, backup.manifest_sha256
        )
        for backup in (deleted, made)
    }
    assert database.backups.clusters() == ("c", "d")


@pytest.mark.parametrize("status", list(BackupStatus))
def test_no_record_is_learned_anew(database: Database, status: BackupStatus) -> None:
    before = recorded(database, "c", status)
    stored = replace(BACKUP, id=before.id)
    assert database.backups.learn(stored, [replace(NODE_BACKUP, backup_id=before.id)]) is False
    assert database.backups.get(before.id) == before
    assert database.backups.node_backups(before.id) == ()


def test_a_learned_name_may_be_taken_and_is_told_apart_by_id(database: Database) -> None:
    mine = create(database, BACKUP.name)
    assert database.backups.learn(BACKUP, [])
    with pytest.raises(Conflict) as caught:
        database.backups.find(BACKUP.name)
    assert mine.id in str(caught.value)
    assert BACKUP.id in str(caught.value)


def test_a_learned_backup_can_be_deleted(database: Database) -> None:
    database.backups.learn(BACKUP, [NODE_BACKUP])
    database.backups.request_deletion(BACKUP.id)
    assert database.backups.get(BACKUP.id).status is S.DELETING


@pytest.mark.parametrize("name", ["x" * 256, "a\nb", "\udcff"])
def test_a_name_that_nobody_could_give_is_not_learned(database: Database, name: str) -> None:
    with pytest.raises(InvalidValue, match=r"^the name "):
        database.backups.learn(replace(BACKUP, name=name), [])
    assert database.backups.list() == ()


def test_backups_without_a_name(database: Database) -> None:
    create(database)
    with pytest.raises(NotFound, match="''"):
        database.backups.find("")
    create(database)


def test_name_is_free_again_after_deletion(database: Database) -> None:
    first = create(database, "nightly")
    for status in (S.CREATED, S.DELETING, S.DELETED):
        database.backups.set_status(first.id, status)
    second = create(database, "nightly")
    assert database.backups.find("nightly").id == second.id
    assert database.backups.find(first.id).status is S.DELETED


def test_finding_by_the_first_digits(database: Database) -> None:
    ids = ["aaaaaaaa-1111-4111-8111-111111111111", "aaaaaaaa-2222-4222-8222-222222222222"]
    for backup_id in ids:
        create(database, backup_id=backup_id)
    assert database.backups.find(ids[1][:9] + "2").id == ids[1]
    with pytest.raises(Conflict) as caught:
        database.backups.find("aaaaaaaa")
    assert all(backup_id in str(caught.value) for backup_id in ids)
    for absent in ("aaaaaaa", "aaaaaaaa-3", "________", "%" * 8, MISSING):
        with pytest.raises(NotFound, match=absent):
            database.backups.find(absent)


@pytest.mark.parametrize("sort", ["created_at", "updated_at", "name", "status"])
@pytest.mark.parametrize("direction", ["", ":asc", ":desc"])
def test_pages_cover_all_once_in_order(database: Database, sort: str, direction: str) -> None:
    for number in range(7):
        backup = create(database, cluster=str(number))
        if number % 3:
            database.backups.set_status(backup.id, S.CREATED)
    key = sort + direction
    whole = database.backups.list(sort=key)
    values = [(getattr(b, sort), b.id) for b in whole]
    assert values == sorted(values, reverse=direction == ":desc")
    assert len(whole) == 7
    pages, marker = [], None
    while page := database.backups.list(sort=key, limit=2, marker=marker):
        pages.append(page)
        marker = page[-1].id
    assert [len(page) for page in pages] == [2, 2, 2, 1]
    assert tuple(b for page in pages for b in page) == whole


def test_listing_some(database: Database) -> None:
    live, gone, other = (create(database, cluster=c) for c in ("c", "c", "C"))
    for status in (S.CREATED, S.DELETING, S.DELETED):
        database.backups.set_status(gone.id, status)

    def ids(**chosen: Any) -> set[str]:
        return {b.id for b in database.backups.list(**chosen)}

    assert ids() == {live.id, other.id}
    assert ids(cluster="c") == {live.id}
    assert ids(status="DELETED") == {gone.id}
    assert ids(include_deleted=True, cluster="c") == {live.id, gone.id}
    assert ids(status="CREATED") == set()
    assert database.backups.live_ids("c") == (live.id,)


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        ({"sort": "size"}, "'size'.*created_at.*status"),
        ({"sort": "name:up"}, "name:up"),
        ({"status": "LOST"}, "'LOST'.*CREATED"),
        ({"marker": MISSING}, MISSING),
        ({"limit": 0}, "limit is 0"),
        ({"limit": -1}, "limit is -1"),
    ],
)
def test_wrong_choices_are_named(database: Database, chosen: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidValue, match=named):
        database.backups.list(**chosen)


def test_transitions(database: Database) -> None:
    ways: dict[S, list[S]] = {S.CREATING: []}  # how to come to each status
    queue = [S.CREATING]
    for old in queue:
        for new in TRANSITIONS[old].values():
            if new not in ways:
                ways[new] = [*ways[old], new]
                queue.append(new)
    assert set(ways) == set(S)
    for old, way in ways.items():
        for new in S:
            backup = create(database)
            for step in way:
                database.backups.set_status(backup.id, step)
            if new is old or new in TRANSITIONS[old].values():
                changed = database.backups.set_status(backup.id, new, error="why")
                assert database.backups.get(backup.id) == changed
                assert (changed.status, changed.error) == (new, "why")
            else:
                with pytest.raises(Conflict, match=f"is {old.value} and cannot become {new.value}"):
                    database.backups.set_status(backup.id, new)
                assert database.backups.get(backup.id).status is old


def test_end_is_recorded(database: Database) -> None:
    backup = create(database)
    assert backup.finished_at is None
    ended = database.backups.set_status(backup.id, S.CREATED)
    assert ended.finished_at is not None
    assert ended.finished_at >= ended.created_at
    assert database.backups.set_status(backup.id, S.DELETING).finished_at == ended.finished_at


def test_counts_and_documents(database: Database) -> None:
    backup = create(database)
    values: dict[str, Any] = {
        "phase": "upload",
        "selection": {"tables": [{"keyspace": "k", "table": "ß🐘", "id": None}]},
        "coverage": {"k": {"complete": True, "ranges": 1.5}},
        "skew_ms": 2**40,
        "files": 2**33,
        "bytes": 2**62,
        "bytes_uploaded": 2**50,
        "bytes_reused": 0,
        "manifest_sha256": "f" * 64,
    }
    changed = database.backups.update(backup.id, **values)
    assert {name: getattr(changed, name) for name in values} == values
    assert database.backups.get(backup.id) == changed
    assert database.backups.update(backup.id, coverage=None).coverage is None
    with pytest.raises(InvalidValue, match="error, status"):
        database.backups.update(backup.id, status="CREATED", error="")


def test_large_documents_and_errors(database: Database) -> None:
    backup = create(database)
    selection = {"tables": [f"keyspace.table_{n}_ß" for n in range(100_000)]}
    database.backups.update(backup.id, selection=selection)
    error = "the keyspace ß does not exist; " * 10_000
    database.backups.set_status(backup.id, S.CREATE_FAILED, error=error)
    kept = database.backups.get(backup.id)
    assert kept.selection == selection
    assert kept.error == error


def test_value_that_has_no_room_is_refused(database: Database, database_url: str) -> None:
    if database_url.startswith("sqlite"):  # has room for everything
        assert create(database, cluster="x" * 300).cluster == "x" * 300
        return
    with pytest.raises(InvalidValue, match=r"cannot store a value \(.*too long"):
        create(database, cluster="x" * 300)
    assert database.backups.list() == ()


def test_document_that_is_too_large_is_refused_before_it_is_sent(
    database: Database, database_url: str
) -> None:
    """A server that breaks the connection for it looks as if it were away, for ever."""
    backup = create(database)
    if database_url.startswith(("sqlite", "postgresql")):  # they have room for it
        selection = {"tables": ["x" * 12_500_000]}
        database.backups.update(backup.id, selection=selection)
        assert database.backups.get(backup.id).selection == selection
        return
    with pytest.raises(InvalidValue, match=r"12,500,\d{3} bytes is too large for the database"):
        database.backups.update(backup.id, selection={"tables": ["x" * 12_500_000]})
    assert database.backups.get(backup.id).selection == backup.selection


def test_node_backups(database: Database) -> None:
    backup, other = create(database), create(database)
    first = replace(NODE_BACKUP, backup_id=backup.id, host_id="a" * 8)
    second = replace(first, host_id="b" * 8, address="fe80::1")
    for node in (second, first, replace(first, backup_id=other.id)):
        database.backups.put_node_backup(node)
    assert database.backups.node_backups(backup.id) == (first, second)
    done = replace(
        first,
        phase="done",
        progress=Progress(files_done=2**33, bytes_done=2**62),
        corrupt_files=("k/t/nb-1-big-Data.db", "ß"),
    )
    database.backups.put_node_backup(done)
    assert database.backups.node_backups(backup.id) == (done, second)
    assert database.backups.node_backups(MISSING) == ()


@pytest.mark.parametrize("method", ["get", "set_status", "update"])
def test_missing_backup_is_named(database: Database, method: str) -> None:
    arguments = [S.CREATED] if method == "set_status" else []
    with pytest.raises(NotFound, match=MISSING):
        getattr(database.backups, method)(MISSING, *arguments)
