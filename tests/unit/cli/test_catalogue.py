# SPDX-License-Identifier: Apache-2.0
"""catalogue rebuild: what the store has, against what is recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.backup.manifest import BackupManifest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.errors import NotFound
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.stored_backups import StoredBackups
from magnetodb_backup.storage.memory import MemoryDriver
from tests.unit.cli.conftest import CLUSTER, Shell
from tests.unit.domain.backup.test_manifest import BACKUP_MANIFEST, SHARE
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
        name=f"backup {number}",
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
        "id": first, "name": "backup 1", "cluster": CLUSTER, "status": "CREATED",
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
