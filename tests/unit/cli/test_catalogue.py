# SPDX-License-Identifier: Apache-2.0
"""catalogue rebuild: what the store has, against what is recorded."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from magnetodb_backup.database import BackupStore
from magnetodb_backup.domain.backup.from_manifest import records_of
from magnetodb_backup.domain.backup.manifest import BackupManifest
from magnetodb_backup.domain.backup.records import Backup, NodeBackup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.errors import InvalidValue, NotFound, StorageUnavailable
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.deleted import DeletedBackups
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.format.manifests import parse_backup_manifest
from magnetodb_backup.repository.stored_backups import StoredBackups
from magnetodb_backup.storage.memory import MemoryDriver
from tests.unit.cli.conftest import CLUSTER, Shell
from tests.unit.domain.backup.test_manifest import BACKUP_MANIFEST, SHARE
from tests.unit.domain.samples import TIME
from tests.unit.repository.disk import backup_id
from tests.unit.repository.stores import Store

S = BackupStatus
PREFIX = "backups"


def stored(shell: Shell, number: int, *, cluster: str = CLUSTER, **values: Any) -> str:
    """Commit a backup to the store; return its ID."""
    manifest: BackupManifest = replace(
        BACKUP_MANIFEST,
        backup_id=str(values.pop("backup_id", backup_id(number))),
        cluster=cluster,
        name=str(values.pop("name", f"backup {number}")),
        created_at=f"2024-05-06T05:{59 - number % 60:02}:00+00:00",
        figures=(),
        **values,
    )
    repository = ClusterRepository(shell.catalogue.driver, PREFIX, cluster)
    repository.ensure()
    repository.commit(manifest)
    return manifest.backup_id


def put(shell: Shell, backup_id: str, body: bytes) -> None:
    """Put something in the place of a backup's manifest."""
    container = layout.cluster_container(PREFIX, CLUSTER)
    md5 = hashlib.md5(body).hexdigest()
    name = layout.manifest_name(backup_id)
    shell.catalogue.driver.ensure_container(container)
    shell.catalogue.driver.put(container, name, body, size=len(body), md5=md5)


def read_commit(store: Store, backup_id: str) -> tuple[BackupManifest, str]:
    """Return a manifest and its digest, past the hooks of the store."""
    body = b"".join(
        MemoryDriver.read(
            store, layout.cluster_container(PREFIX, CLUSTER), layout.manifest_name(backup_id)
        )
    )
    return parse_backup_manifest(body, "manifest"), hashlib.sha256(body).hexdigest()


def rebuilt(shell: Shell, *arguments: str, code: int = 0) -> dict[str, str]:
    """Rebuild; return what happened to each backup, by ID."""
    outcome = shell("catalogue", "rebuild", "-f", "json", *arguments)
    assert outcome.code == code, outcome
    return {row["id"]: row["result"] for row in outcome.json}


def test_a_fresh_database_learns_all_that_the_store_has(shell: Shell) -> None:
    first, second = stored(shell, 1, status="CREATED", missing_nodes=()), stored(shell, 2)
    other = stored(shell, 3, cluster="other")
    outcome = shell("catalogue", "rebuild", "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    assert [row["id"] for row in outcome.json] == [second, first, other]  # by cluster and age
    assert outcome.json[1] == {
        "kind": "backup", "id": first, "name": "backup 1", "cluster": CLUSTER, "status": "CREATED",
        "created_at": "2024-05-06T05:58:00.000Z", "result": "added",
    }  # fmt: skip
    backups = shell.database.backups
    assert backups.get(second).notes == ("without the nodes another",)
    assert [n.host_id for n in backups.node_backups(first)] == [SHARE.host_id]
    shown = shell("backup", "show", "backup 1", "-f", "json").json
    assert (shown["status"], shown["bytes"], shown["nodes"][0]["phase"]) == ("CREATED", 30, "done")


def test_a_second_time_everything_is_known(shell: Shell) -> None:
    added = stored(shell, 1)
    rebuilt(shell)
    before = shell.database.backups.get(added)
    assert rebuilt(shell) == {added: "known"}
    assert rebuilt(shell, "--dry-run") == {added: "known"}
    assert shell.database.backups.get(added) == before


def test_a_dry_run_records_nothing(shell: Shell) -> None:
    first = stored(shell, 1)
    assert rebuilt(shell, "--dry-run") == {first: "would be added"}
    assert shell.database.backups.list(include_deleted=True) == ()


def test_one_cluster_is_read_without_listing_the_account(shell: Shell) -> None:
    class Closed(MemoryDriver):
        def containers(self, prefix: str) -> Iterator[str]:
            raise AssertionError("this user may not list containers")

    shell.catalogue = StoredBackups(Closed(), PREFIX)
    first = stored(shell, 1)
    stored(shell, 2, cluster="other")
    assert rebuilt(shell, "--cluster", CLUSTER) == {first: "added"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "is not JSON"),
        (b'{"format": 7}', "has format version 7, this version knows 1; use the version of"),
        (b'{"format": 1}', "malformed backup manifest"),
    ],
)
def test_unreadable_manifests_are_named_and_spare_the_others(
    shell: Shell, body: bytes, told: str
) -> None:
    put(shell, backup_id(1), body)
    second = stored(shell, 2)
    results = rebuilt(shell, code=3)
    assert results[second] == "added"
    reason = results[backup_id(1)]
    assert reason.startswith(f"unreadable: backups/{backup_id(1)}/manifest.json: ")
    assert told in reason
    with pytest.raises(NotFound):
        shell.database.backups.get(backup_id(1))


@pytest.mark.parametrize("status", [S.CREATED, S.PARTIAL])
def test_a_record_whose_manifest_is_gone_is_told_and_kept(
    shell: Shell, status: BackupStatus
) -> None:
    lost, first = shell.backup(status), stored(shell, 1)
    assert rebuilt(shell, code=3) == {lost.id: "manifest missing", first: "added"}
    assert shell.database.backups.get(lost.id) == lost


@pytest.mark.parametrize("status", sorted(set(S) - {S.CREATED, S.PARTIAL}))
def test_a_record_that_needs_no_manifest_is_no_news(shell: Shell, status: BackupStatus) -> None:
    shell.backup(status)
    first = stored(shell, 1)
    assert rebuilt(shell) == {first: "added"}


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (S.CREATING, 0, "known"),
        (S.DELETING, 0, "known"),
        (S.DELETE_FAILED, 0, "known"),
        (S.CREATE_FAILED, 3, "known as CREATE_FAILED, but its manifest is in the store; delete it"),
        (S.CANCELLED, 3, "known as CANCELLED, but its manifest is in the store; delete it"),
        (S.DELETED, 3, "known as DELETED, but its manifest is in the store"),
        (S.CREATED, 3, "known, but the store has another manifest of it"),
    ],
)
def test_a_record_with_a_manifest_is_judged_and_kept(
    shell: Shell, status: BackupStatus, code: int, told: str
) -> None:
    known = shell.backup(status)
    stored(shell, 1, backup_id=known.id)
    assert rebuilt(shell, code=code) == {known.id: told}
    assert rebuilt(shell, "--dry-run", code=code) == {known.id: told}
    assert shell.database.backups.get(known.id) == known


def test_listings_that_lag_mislead_nobody(shell: Shell) -> None:
    store = Store()
    shell.catalogue = StoredBackups(store, PREFIX)
    fresh = stored(shell, 1)
    rebuilt(shell)
    deleted = shell.backup(S.DELETED)
    store.unlisted = lambda name: name == layout.manifest_name(fresh)
    store.ghosts = {layout.manifest_name(i): 10 for i in (deleted.id, backup_id(9))}
    results = rebuilt(shell, code=3)
    assert results.pop(backup_id(9)).startswith("unreadable: the store has no manifest of backup")
    assert results == {fresh: "known"}


def test_an_empty_store_is_told_with_what_to_check(shell: Shell) -> None:
    shell.catalogue.driver.ensure_container("another-prefix.x")
    message = shell.refused(4, "catalogue", "rebuild")
    assert "none is named backups.NAME; check [storage] driver and prefix" in message
    assert "account (user, project, region) or path" in message
    message = shell.refused(4, "catalogue", "rebuild", "--cluster", "a b")
    assert "no backup of cluster 'a b' in container backups.a%20b;" in message
    assert "check the cluster's name" in message


def test_an_empty_store_does_not_hide_what_is_recorded(shell: Shell) -> None:
    lost = shell.backup(S.CREATED)
    outcome = shell("catalogue", "rebuild", "-f", "json")
    assert (outcome.code, outcome.json[0]["result"]) == (3, "manifest missing")
    assert outcome.json[0]["id"] == lost.id
    assert "check [storage] driver and prefix" in outcome.err


def test_a_cluster_without_backups_is_told_beside_the_others(shell: Shell) -> None:
    ClusterRepository(shell.catalogue.driver, PREFIX, "empty").ensure()
    first = stored(shell, 1)
    outcome = shell("catalogue", "rebuild", "-f", "json")
    assert (outcome.code, [row["id"] for row in outcome.json]) == (0, [first])
    assert "no backup of cluster 'empty' in container backups.empty" in outcome.err


def test_long_lists_show_how_far_they_are(shell: Shell) -> None:
    for number in range(1, 201):
        stored(shell, number)
    outcome = shell("catalogue", "rebuild", "--dry-run", "-f", "json")
    assert outcome.err == "100 of 200 manifests read\n200 of 200 manifests read\n"
    assert len(outcome.json) == 200


def test_a_terminal_shows_a_bar(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shell.terminal = True
    stored(shell, 1)
    outcome = shell("catalogue", "rebuild", "-f", "json")
    assert (outcome.code, outcome.json[0]["result"]) == (0, "added")
    assert "1/1" in outcome.err
    assert "manifests" in outcome.err


def test_only_new_manifests_are_read_on_request(shell: Shell) -> None:
    """An interrupted rebuild continues, and still names what the listing lacks."""
    store = Store()
    shell.catalogue = StoredBackups(store, PREFIX)
    first = stored(shell, 1)
    failed, lost = shell.backup(S.CREATE_FAILED), shell.backup(S.CREATED)
    stored(shell, 3, backup_id=failed.id)
    rebuilt(shell, code=3)
    second, read = stored(shell, 2), []
    store.before_read = lambda name: read.append(name)
    results = rebuilt(shell, "--new", code=3)
    assert results == {first: "known", second: "added", lost.id: "manifest missing"}
    assert sorted(read) == sorted(
        [*map(layout.manifest_name, (second, lost.id)), layout.deleted_manifest_name(lost.id)]
    )


def test_an_interrupted_rebuild_keeps_what_it_has_recorded(shell: Shell) -> None:
    store = Store()
    shell.catalogue = StoredBackups(store, PREFIX)
    ids = sorted(stored(shell, number) for number in range(1, 251))

    def fail(name: str) -> None:
        if name == layout.manifest_name(ids[240]):
            raise StorageUnavailable("no answer")

    store.before_read = fail
    outcome = shell("catalogue", "rebuild")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.endswith("error: no answer\n")
    kept = {b.id for b in shell.database.backups.list()}
    assert kept == set(ids[:200])
    store.before_read = lambda name: None
    results = rebuilt(shell, "--new")
    assert {id_ for id_, result in results.items() if result == "added"} == set(ids[200:])
    assert {id_ for id_, result in results.items() if result == "known"} == kept


def test_trap_7_a_rebuild_reads_each_manifest_once(shell: Shell) -> None:
    """Requests grow with the backups alone, transactions with batches of them."""
    store = Store()
    shell.catalogue = StoredBackups(store, PREFIX)
    nodes = tuple(
        replace(
            SHARE,
            host_id=str(uuid.UUID(int=n, version=4)),
            manifest=replace(SHARE.manifest, name=f"n{n}"),
        )
        for n in range(20)
    )
    ids = [stored(shell, number, nodes=nodes, missing_nodes=()) for number in range(1, 131)]
    read: list[str] = []
    statements: list[str] = []
    store.before_read = read.append
    event.listen(
        shell.database._engine, "before_cursor_execute", lambda *of: statements.append(of[2])
    )
    assert set(rebuilt(shell).values()) == {"added"}
    assert sorted(read) == sorted(map(layout.manifest_name, ids))
    writes = [s for s in statements if s.lstrip().startswith("INSERT")]
    assert len(writes) == 4  # backups and their nodes, of a hundred and of thirty
    assert len(statements) < 30
    statements.clear()
    assert set(rebuilt(shell).values()) == {"known"}
    assert len(statements) < 15  # backups in one, settings in three


def test_one_that_cannot_be_recorded_spares_its_batch(shell: Shell) -> None:
    class Picky(BackupStore):
        def learn_all(self, found: Sequence[tuple[Backup, Sequence[NodeBackup]]]) -> frozenset[str]:
            if any(backup.name == "backup 2" for backup, _ in found):
                raise InvalidValue("the database cannot store a value (of backup 2)")
            return super().learn_all(found)

    shell.database.backups.__class__ = Picky
    ids = [stored(shell, number) for number in range(1, 5)]
    results = rebuilt(shell, code=3)
    assert results.pop(ids[1]) == ("unreadable: the database cannot store a value (of backup 2)")
    assert results == {ids[0]: "added", ids[2]: "added", ids[3]: "added"}


def test_what_is_recorded_while_it_runs_is_judged_as_it_is_then(shell: Shell) -> None:
    """A service may commit, delete or undelete backups meanwhile."""
    store = Store()
    shell.catalogue = StoredBackups(store, PREFIX)
    made, deleted, undone = stored(shell, 1), shell.backup(S.CREATED), shell.backup(S.CREATED)
    stored(shell, 2, backup_id=undone.id)  # another manifest than the recorded one

    def meanwhile(name: str) -> None:
        if name == layout.manifest_name(undone.id):
            shell.database.backups.set_status(undone.id, S.DELETING)
        if name == layout.manifest_name(made):
            backup, nodes = records_of(*read_commit(store, made))
            shell.database.backups.learn(backup, nodes)
            shell.database.backups.set_status(deleted.id, S.DELETING)

    store.before_read = meanwhile
    assert rebuilt(shell) == {made: "known", undone.id: "known"}


def deleted(shell: Shell, number: int, **values: Any) -> str:
    """Commit a backup to the store and delete it; return its ID."""
    id_ = stored(shell, number, **values)
    aside = DeletedBackups(shell.catalogue.driver, PREFIX, CLUSTER)
    aside.set_aside(id_, TIME, TIME + timedelta(days=7))
    aside.remove_manifest(id_)
    return id_


def test_deleted_backups_come_back_with_their_undelete_period(shell: Shell) -> None:
    first, second = deleted(shell, 1, status="CREATED", missing_nodes=()), stored(shell, 2)
    assert rebuilt(shell, "--dry-run") == {first: "would be added", second: "would be added"}
    assert rebuilt(shell) == {first: "added", second: "added"}
    known = shell.database.backups.get(first)
    assert (known.status, known.deleted_at) == (S.DELETED, TIME)
    assert known.undelete_until == TIME + timedelta(days=7)
    assert known.manifest_sha256
    assert [n.host_id for n in shell.database.backups.node_backups(first)] == [SHARE.host_id]
    assert rebuilt(shell) == {first: "known", second: "known"}
    assert [b.id for b in shell.database.backups.list()] == [second]


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (S.CREATED, 3, "known as CREATED, but the store has it as deleted; delete it, then"),
        (S.PARTIAL, 3, "known as PARTIAL, but the store has it as deleted; delete it, then"),
        (S.DELETING, 0, "known"),
        (S.DELETE_FAILED, 0, "known"),
        (S.DELETED, 0, "known"),
    ],
)
def test_a_record_of_what_the_store_has_as_deleted_is_judged_and_kept(
    shell: Shell, status: BackupStatus, code: int, told: str
) -> None:
    """An older copy of the database was put back, for example."""
    known = shell.backup(status)
    deleted(shell, 1, backup_id=known.id)
    (found,) = rebuilt(shell, code=code).values()
    assert found.startswith(told)
    assert shell.database.backups.get(known.id) == known


def test_a_backup_with_both_manifests_is_not_deleted(shell: Shell) -> None:
    """Its deletion was interrupted, or its undeletion."""
    first = stored(shell, 1, status="CREATED", missing_nodes=())
    aside = DeletedBackups(shell.catalogue.driver, PREFIX, CLUSTER)
    aside.set_aside(first, TIME, TIME)
    assert rebuilt(shell) == {first: "added"}
    assert shell.database.backups.get(first).status is S.CREATED
