# SPDX-License-Identifier: Apache-2.0
"""repository findings: damage, and the backups that need what is damaged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.cli.verification import problems_of, steps_of
from magnetodb_backup.database.findings import FoundBy
from magnetodb_backup.domain.backup.findings import Damage, DamagedObject
from magnetodb_backup.domain.backup.manifest import (
    BackupManifest,
    Extent,
    FileEntry,
    NodeShare,
    StoredObject,
)
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from tests.unit.cli.conftest import CLUSTER, Shell

PACK, OTHER = "ab" * 32, "cd" * 32
OBJECT = StoredObject("name", 1, "ab")
SELECTION = {
    "keyspaces": [{"name": "shop", "replication": {}, "durable_writes": True}],
    "tables": [{"keyspace": "shop", "table": "orders", "id": "0" * 32}],
}


def entry(table: str, name: str, *packs: str) -> FileEntry:
    return FileEntry(
        keyspace="shop", table=table, table_id="00", index=None, data_directory=0, name=name,
        size=1, mtime_ns=0, sha256="ef", crc32=None,
        extents=tuple(Extent(pack, 0, 1) for pack in packs),
    )  # fmt: skip


def share(host_id: str) -> NodeShare:
    return NodeShare(
        host_id=host_id, address="", dc="", rack="", version="", tokens=(), manifest=OBJECT,
        files=3, bytes=1, corrupt_files=0, snapshot_started_at="", snapshot_finished_at="",
    )  # fmt: skip


def complete(shell: Shell, name: str) -> Backup:
    backup = shell.backup(BackupStatus.CREATED, name)
    shell.store.manifests[backup.id] = BackupManifest(
        backup_id=backup.id, name=name, cluster=CLUSTER, status="CREATED", created_at="",
        committed_at="", scope={}, selection=SELECTION, schema=OBJECT, schema_version="",
        skew_ms=0, coverage={}, nodes=(share("host-1"), share("host-2")),
    )  # fmt: skip
    return backup


@pytest.fixture
def backups(shell: Shell) -> tuple[Backup, Backup]:
    """Two backups of the same files, and one that is not complete."""
    shell.store.files = {
        "host-1": [
            entry("orders", "a-Data.db", PACK, OTHER),
            entry("orders", "a-Index.db", PACK),
            entry("items", "b-Data.db", PACK),
            entry("items", "c-Data.db", OTHER),
        ],
        "host-2": [entry("orders", "d-Data.db", PACK)],  # another container
    }
    shell.backup(BackupStatus.CREATE_FAILED)
    return complete(shell, "monday"), complete(shell, "tuesday")


def damage(shell: Shell, backup: Backup, *damage: Damage) -> FoundBy:
    by = FoundBy("11111111-2222-4333-8444-555555555555", backup.id, CLUSTER)
    shell.database.damaged_packs.record(by, damage, read_data=True)
    return by


LOST = Damage(DamagedObject.PACK, "host-1", PACK, "missing", "the pack is not in the store")


def listed(shell: Shell, *arguments: str) -> list[dict[str, Any]]:
    outcome = shell("repository", "findings", "-f", "json", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    found: list[dict[str, Any]] = outcome.json
    return found


def test_every_backup_that_needs_the_pack_is_listed(
    shell: Shell, backups: tuple[Backup, Backup]
) -> None:
    damage(shell, backups[0], LOST)
    (finding,) = listed(shell)
    assert (finding["object"], finding["name"], finding["problem"]) == ("pack", PACK, "missing")
    assert (finding["host_id"], finding["healed_at"]) == ("host-1", None)
    found = {b["id"]: b for b in finding["backups"]}
    assert set(found) == {backup.id for backup in backups}
    for backup in backups:
        assert found[backup.id]["name"] == backup.name
        assert found[backup.id]["tables"] == ["shop.items", "shop.orders"]
        assert found[backup.id]["file_count"] == 3
        assert "shop/orders/a-Index.db" in found[backup.id]["files"]


def test_a_table_has_a_line_for_each_backup(shell: Shell, backups: tuple[Backup, Backup]) -> None:
    damage(shell, backups[0], LOST)
    out = shell("repository", "findings").out
    for backup in backups:
        assert f"{backup.id} {backup.name!r}: 3 files of shop.items, shop.orders" in out


def test_healed_findings_are_listed_where_asked(
    shell: Shell, backups: tuple[Backup, Backup]
) -> None:
    by = damage(shell, backups[0], LOST)
    shell.database.damaged_packs.forget("host-1", {PACK: [by.job_id]}, backups[1].id)
    assert listed(shell) == []
    (finding,) = listed(shell, "--all")
    assert (finding["healed_by"], finding["backups"]) == (backups[1].id, [])
    assert finding["healed_at"].endswith("Z")


def test_a_lost_manifest_affects_its_backup(shell: Shell, backups: tuple[Backup, Backup]) -> None:
    manifest = Damage(DamagedObject.MANIFEST, "host-2", backups[1].id, "manifest", "is gone")
    damage(shell, backups[1], manifest)
    (finding,) = listed(shell)
    (backup,) = finding["backups"]
    assert (backup["id"], backup["file_count"]) == (backups[1].id, 3)
    assert backup["tables"] == ["shop.orders"]


def test_a_backup_whose_manifest_is_gone_does_not_hide_the_others(
    shell: Shell, backups: tuple[Backup, Backup]
) -> None:
    damage(shell, backups[0], LOST)
    del shell.store.manifests[backups[0].id]
    (finding,) = listed(shell)
    assert [b["id"] for b in finding["backups"]] == [backups[1].id]


def test_findings_of_one_cluster_and_some(shell: Shell, backups: tuple[Backup, Backup]) -> None:
    damage(shell, backups[0], LOST, replace(LOST, name=OTHER))
    assert listed(shell, "--cluster", "another") == []
    assert len(listed(shell, "--cluster", CLUSTER)) == 2
    assert len(listed(shell, "--limit", "1")) == 1
    assert "limit is 0" in shell.refused(2, "repository", "findings", "--limit", "0")


def test_show_names_the_damage_of_what_a_backup_needs(
    shell: Shell, backups: tuple[Backup, Backup]
) -> None:
    first, second = backups
    damage(shell, first, LOST, replace(LOST, name=OTHER))
    assert "damage" not in shell("backup", "show", second.id).out
    shell.database.damaged_packs.need(CLUSTER, "host-1", second.id, [PACK, OTHER])
    out = shell("backup", "show", second.id).out
    assert "2 packs: missing" in out
    assert "see repository findings" in out
    assert f"pack {PACK}: missing" in shell("backup", "show", second.id, "--long").out
    found = shell("backup", "show", second.id, "-f", "json").json["findings"]
    assert [f["affected"] for f in found] == [[second.id]] * 2


def test_a_verification_names_the_other_backups(shell: Shell) -> None:
    backup = shell.backup(BackupStatus.CREATED)
    job = shell.database.jobs.create(
        JobKind.VERIFICATION, Subject.backup(backup.id), CLUSTER, {"read_data": True}
    )
    affected = {f"other-{n}": n for n in range(1, 8)}
    ended = replace(job, status=JobStatus.DONE, result={"affected": affected})
    lines = list(problems_of(ended))
    assert lines[0] == "backup other-7 needs 7 damaged packs, too"
    assert lines[5] == "2 more backups need damaged packs; see repository findings"
    assert list(steps_of(job)) == ["store", "affected"]
