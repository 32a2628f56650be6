# SPDX-License-Identifier: Apache-2.0
"""A cluster's manifests: commit, listing, deletion."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from magnetodb_backup.domain.schema.rows import SchemaRow, schema_text
from magnetodb_backup.errors import FormatProblem, NotFound, StorageRefused
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.format.schema_rows import StoredSchema
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import CLUSTER, PREFIX, Disk, backup_id, noise

CONTAINER = layout.cluster_container(PREFIX, CLUSTER)


@pytest.fixture
def backed_up(disk: Disk) -> Disk:
    """Two committed backups."""
    disk.write("f", noise(1, 100))
    for number in (1, 2):
        commit(disk.cluster, number, {disk.host_id: disk.upload(number)})
    return disk


def _names(disk: Disk, number: int) -> list[str]:
    prefix = layout.backup_prefix(backup_id(number))
    return [info.name.removeprefix(prefix) for info in disk.store.list(CONTAINER, prefix)]


def test_commit_is_the_last_object(backed_up: Disk) -> None:
    assert backed_up.store.puts[-1] == layout.manifest_name(backup_id(2))
    assert _names(backed_up, 2) == [
        "manifest.json",
        f"nodes/{backed_up.host_id}.jsonl.zst",
        "schema.cql",
    ]


def test_committed_backup_reads_back(disk: Disk) -> None:
    disk.write("f", noise(1, 100))
    committed = commit(disk.cluster, 1, {disk.host_id: disk.upload(1)})
    assert disk.cluster.read_backup(backup_id(1)) == committed
    assert disk.cluster.read_schema(backup_id(1)) == "CREATE TABLE ks.t;\n"


def test_schema_keeps_every_character(disk: Disk) -> None:
    text = "-- Übergröße ☃\nCREATE TABLE x;\n"
    stored = disk.cluster.put_schema(backup_id(1), text)
    assert disk.cluster.read_schema(backup_id(1)) == text
    assert stored.size == len(text.encode())


def test_backups_are_listed_with_those_that_are_not_committed(backed_up: Disk) -> None:
    backed_up.upload(3)
    backed_up.cluster.put_schema(backup_id(3), "")
    found = list(backed_up.cluster.ids_with_objects())
    assert found == [backup_id(1), backup_id(2), backup_id(3)]
    assert [backed_up.cluster.lists_manifest(id_) for id_ in found] == [True, True, False]


def test_backup_without_manifest_is_not_found(backed_up: Disk) -> None:
    backed_up.upload(3)
    with pytest.raises(NotFound, match=f"no manifest of backup {backup_id(3)}: it was not commi"):
        backed_up.cluster.read_backup(backup_id(3))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body: body[:-20], "is not JSON"),
        (lambda body: b"[]", "is not a JSON object"),
        (lambda body: b"{}", "format version None"),
        (lambda body: body.replace(b'"format": 1', b'"format": 2'), "or a newer one"),
        (lambda body: body.replace(b'"nodes"', b'"nods"'), "malformed"),
    ],
)
def test_manifest_that_is_none(
    backed_up: Disk, change: Callable[[bytes], bytes], told: str
) -> None:
    name = layout.manifest_name(backup_id(1))
    backed_up.store.change(CONTAINER, name, change)
    with pytest.raises(FormatProblem, match=told) as failure:
        backed_up.cluster.read_backup(backup_id(1))
    assert name in str(failure.value)


ROWS = (
    SchemaRow("ks", "keyspace", "ks", "CREATE KEYSPACE ks WITH x = 1;"),
    SchemaRow("ks", "function", "f(int)", "CREATE FUNCTION ks.f(a int) AS $$it's\u2028$$ here$$;"),
)
GRANTS = (SchemaRow("ks", "grant", "t", "GRANT SELECT ON TABLE ks.t TO app;"),)


@pytest.mark.parametrize("grants", [GRANTS, (), None])
def test_schema_is_kept_as_rows_with_the_grants(
    disk: Disk, grants: tuple[SchemaRow, ...] | None
) -> None:
    schema = StoredSchema(ROWS, grants)
    disk.cluster.put_schema(backup_id(1), schema_text(ROWS))
    disk.cluster.put_schema_rows(backup_id(1), schema)
    assert disk.cluster.schema_rows(backup_id(1)) == schema


@pytest.mark.parametrize(
    "change",
    [
        None,  # a backup of an older release
        lambda body: body[:-9],
        lambda body: body.replace(b"x = 1", b"x = 2"),
        lambda body: b"".join(body.splitlines(keepends=True)[:-1]),
        lambda body: body.replace(b'"format": 1', b'"format": 2'),
        lambda body: body.replace(b'"type"', b'"kind"'),
        lambda body: b"",
    ],
)
def test_schema_without_fitting_rows_is_split(
    disk: Disk, change: Callable[[bytes], bytes] | None
) -> None:
    """Only the text is proved by the backup manifest."""
    disk.cluster.put_schema(backup_id(1), schema_text(ROWS))
    if change is not None:
        disk.cluster.put_schema_rows(backup_id(1), StoredSchema(ROWS))
        disk.store.change(CONTAINER, layout.schema_rows_name(backup_id(1)), change)
    found = disk.cluster.schema_rows(backup_id(1))
    assert found.grants is None
    assert schema_text(found.rows) == schema_text(ROWS)


def test_deletion_removes_manifests_and_no_pack(backed_up: Disk) -> None:
    packs = backed_up.repository.packs()
    assert backed_up.cluster.delete_backup(backup_id(1)) == 4
    assert _names(backed_up, 1) == []
    assert backed_up.repository.packs() == packs
    assert list(backed_up.cluster.ids_with_objects()) == [backup_id(2)]
    assert backed_up.restored(2) == backed_up.contents()


def test_deletion_may_be_repeated(backed_up: Disk) -> None:
    backed_up.cluster.delete_backup(backup_id(1))
    backed_up.cluster.delete_backup(backup_id(1))
    assert len(_names(backed_up, 2)) == 3


@pytest.mark.parametrize("survived", [0, 1, 2])
def test_interrupted_deletion_leaves_no_backup(backed_up: Disk, survived: int) -> None:
    """The backup manifest goes first; whatever remains is no backup, and goes later."""
    deleted: list[str] = []

    def fail(name: str) -> None:
        if len(deleted) == survived:
            raise StorageRefused("enough")
        deleted.append(name)

    backed_up.store.before_delete = fail
    with pytest.raises(StorageRefused):
        backed_up.cluster.delete_backup(backup_id(1))
    assert ("manifest.json" in _names(backed_up, 1)) == (survived == 0)
    backed_up.store.before_delete = lambda name: None
    backed_up.cluster.delete_backup(backup_id(1))
    assert _names(backed_up, 1) == []


def test_deletion_does_not_rely_on_the_listing(backed_up: Disk) -> None:
    """A listing may lag behind the commit; the backup must be gone all the same."""
    backed_up.store.unlisted = lambda name: name.endswith("manifest.json")
    backed_up.cluster.delete_backup(backup_id(1))
    with pytest.raises(NotFound):
        backed_up.cluster.read_backup(backup_id(1))
