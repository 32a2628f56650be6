# SPDX-License-Identifier: Apache-2.0
"""Mark and sweep of one container: what is removed, when, and what never is."""

from __future__ import annotations

from pathlib import Path

import pytest

from magnetodb_backup.errors import CollectionRefused, StorageUnavailable
from magnetodb_backup.repository.collect.records import Caller
from magnetodb_backup.repository.format.names import (
    FIRST_LOOK,
    cluster_container,
    node_container,
    node_manifest_name,
    pack_name,
)
from magnetodb_backup.repository.upload.file_index import FileIndex
from tests.unit.repository.backups import commit
from tests.unit.repository.collect.depot import GRACE, Depot
from tests.unit.repository.disk import (
    CLUSTER,
    HOST,
    ONE_BY_ONE,
    PACK_SIZE,
    PREFIX,
    Disk,
    backup_id,
    noise,
)

LIST = cluster_container(PREFIX, CLUSTER)


def only_of_1(depot: Depot) -> set[str]:
    return depot.packs_of(1) - depot.packs_of(2)


def test_dead_packs_are_freed_after_two_looks_and_the_grace_period(depot: Depot) -> None:
    dead = only_of_1(depot)
    depot.delete(1)
    first = depot.collect()
    assert (first.packs, first.live_packs, first.waiting_packs) == (4, 3, 1)
    assert (first.due_packs, first.freed_packs) == (0, 0)
    assert depot.first_look() == dict.fromkeys(dead, depot.now)
    depot.later(GRACE - 1)
    assert depot.collect().freed_packs == 0
    depot.later(1)
    third = depot.collect()
    assert (third.due_packs, third.freed_packs, third.freed_bytes) == (1, 1, PACK_SIZE)
    assert depot.packs() == depot.packs_of(2)
    assert depot.disk.restored(2) == depot.disk.contents()
    assert not depot.has_first_look()


def test_without_a_grace_period_two_looks_are_needed(depot: Depot) -> None:
    depot.delete(1)
    assert depot.collect(grace=0.0).freed_packs == 0
    assert depot.collect(grace=0.0).freed_packs == 1


def test_a_report_changes_nothing(depot: Depot) -> None:
    depot.delete(1)
    assert depot.collect(report_only=True).waiting_bytes == PACK_SIZE
    assert not depot.has_first_look()
    depot.collect()
    depot.later()
    puts, packs = len(depot.store.puts), depot.packs()
    use = depot.collect(report_only=True)
    assert (use.due_packs, use.due_bytes, use.freed_packs) == (1, PACK_SIZE, 0)
    assert (len(depot.store.puts), depot.packs()) == (puts, packs)
    assert depot.indexed() == packs


def test_what_only_one_backup_holds_is_counted(depot: Depot) -> None:
    use = depot.collect(report_only=True)
    assert use.backups == {backup_id(1): PACK_SIZE, backup_id(2): PACK_SIZE}
    assert (use.shared_bytes, use.live_bytes, use.bytes) == (2 * PACK_SIZE, 4 * PACK_SIZE, 4000)
    assert use.manifests == 2


def test_what_backups_hold_together_is_counted(depot: Depot) -> None:
    """Deleting both frees what they share, too."""
    both = frozenset({backup_id(1), backup_id(2)})
    use = depot.collect(report_only=True, together=both)
    assert (use.backups, use.shared_bytes) == ({backup_id(1): 4 * PACK_SIZE}, 0)


def test_a_pack_that_lives_again_waits_anew(depot: Depot) -> None:
    """It was dead, a backup needs it again, and that backup is deleted: the wait begins again."""
    (dead,) = only_of_1(depot)
    depot.delete(1)
    depot.collect()
    depot.disk.write("a", noise(0, PACK_SIZE))
    depot.backup(3)
    assert dead in depot.packs_of(3)
    depot.later()
    assert depot.collect().freed_packs == 0
    assert not depot.has_first_look()
    depot.delete(3)
    depot.later()
    assert depot.collect().freed_packs == 0
    assert depot.first_look() == {dead: depot.now}


@pytest.mark.parametrize("lag", ["listing", "catalogue", "index"])
def test_each_of_three_records_of_a_manifest_is_enough(depot: Depot, lag: str) -> None:
    """The listing lags, the catalogue was lost, the index was lost: any two of them at once."""
    manifest = node_manifest_name(backup_id(1), HOST)
    if lag != "listing":
        depot.store.unlisted = lambda name: name.startswith(f"backups/{backup_id(1)}/")
        assert all(info.name != manifest for info in depot.store.list(LIST))
    if lag != "catalogue":
        depot.known.clear()
    depot.collect_twice(own=lag == "index")
    assert depot.packs_of(1) <= depot.packs()


def test_manifests_without_a_backup_manifest_count(depot: Depot) -> None:
    """That of a deleted backup can come back."""
    depot.store.delete(LIST, f"backups/{backup_id(1)}/manifest.json")
    depot.known.clear()
    assert depot.collect_twice().freed_packs == 0


def test_a_manifest_that_appears_during_the_look_counts(depot: Depot) -> None:
    """It is read again which manifests there are, after the packs were listed."""
    depot.delete(1)
    depot.collect()
    depot.later()
    (dead,) = depot.packs() - depot.packs_of(2)
    depot.disk.write("a", noise(0, PACK_SIZE))
    lists: list[int] = []
    real = depot.disk.repository.listed_packs

    def list_then_upload() -> object:
        yield from real()
        if not lists:
            lists.append(1)
            depot.disk.upload(3, **ONE_BY_ONE)

    depot.disk.repository.listed_packs = list_then_upload  # type: ignore[method-assign,assignment]
    use = depot.collect(own=False)
    assert lists
    assert (use.freed_packs, use.live_packs) == (0, use.packs)
    assert dead in depot.packs()


# Refusals


def test_required_manifest_that_is_missing(depot: Depot) -> None:
    depot.store.delete(LIST, node_manifest_name(backup_id(1), HOST))
    with pytest.raises(CollectionRefused, match=f"backup {backup_id(1)} needs: .* is missing"):
        depot.collect_twice()
    assert len(depot.packs()) == 4


def test_manifest_that_a_backup_manifest_names_is_missing(depot: Depot) -> None:
    """The catalogue was lost: the backup manifest says that there must be one."""
    depot.store.delete(LIST, node_manifest_name(backup_id(1), HOST))
    depot.known.clear()
    with pytest.raises(CollectionRefused, match="is missing"):
        depot.collect(own=False)


def test_backup_in_which_the_node_has_no_share(depot: Depot) -> None:
    other = "22222222-2222-4222-8222-222222222222"
    disk = Disk(depot.disk.root.parent, depot.store, other)
    disk.write("x", b"x")
    commit(disk.cluster, 5, {other: disk.upload(5)})
    assert depot.collect().live_packs == 4
    reads: list[str] = []
    depot.store.before_read = reads.append
    depot.collect(absent=[backup_id(5)])
    assert not any(name.endswith("manifest.json") for name in reads)


@pytest.mark.parametrize("change", [lambda b: b[:-9], lambda b: b"", lambda b: b + b"x"])
def test_malformed_manifest(depot: Depot, change: object) -> None:
    depot.known.clear()
    depot.store.change(LIST, node_manifest_name(backup_id(1), HOST), change)  # type: ignore[arg-type]
    with pytest.raises(CollectionRefused, match=backup_id(1)):
        depot.collect()


def test_older_copy_of_a_manifest(depot: Depot) -> None:
    """A store with several copies may answer from one that an earlier attempt has stored."""
    container, name = LIST, node_manifest_name(backup_id(2), HOST)
    depot.disk.write("e", noise(7, PACK_SIZE))
    old = b"".join(depot.store.read(container, name))
    depot.backup(2)
    depot.store.change(container, name, lambda _: old)
    with pytest.raises(CollectionRefused, match="SHA-256"):
        depot.collect()


def test_manifest_of_another_node(depot: Depot) -> None:
    depot.known.clear()
    body = b"".join(depot.store.read(LIST, node_manifest_name(backup_id(1), HOST)))
    depot.store.change(LIST, node_manifest_name(backup_id(2), HOST), lambda _: body)
    with pytest.raises(CollectionRefused, match=f"that of node {HOST} in backup {backup_id(1)}"):
        depot.collect()


# Crashes: before the first look is stored, between deletions, after them


def _fail(name: str) -> None:
    raise StorageUnavailable(f"503 at {name}")


def test_crash_before_the_first_look_is_stored(depot: Depot) -> None:
    depot.delete(1)

    def fail(name: str) -> None:
        if name == FIRST_LOOK:
            _fail(name)

    depot.store.before_put = fail
    with pytest.raises(StorageUnavailable):
        depot.collect()
    depot.store.before_put = lambda name: None
    depot.later()
    assert depot.collect().freed_packs == 0  # no look was stored, so the wait begins here
    depot.later()
    assert depot.collect().freed_packs == 1


@pytest.mark.parametrize("done", [0, 1, 2])
def test_trap_6_collection_that_is_interrupted_between_deletions_resumes(
    tmp_path: Path, done: int
) -> None:
    depot = Depot(tmp_path)
    for number in range(4):
        depot.disk.write(f"f{number}", noise(number, PACK_SIZE))
    depot.backup(1)
    (depot.disk.root / "f0").unlink()
    depot.backup(2)
    for number in range(1, 4):
        (depot.disk.root / f"f{number}").unlink()
    depot.disk.write("g", noise(7, PACK_SIZE))
    depot.backup(3)
    depot.delete(1)
    depot.delete(2)
    depot.collect()
    depot.later()
    deletions: list[str] = []

    def fail(name: str) -> None:
        if name.startswith("packs/"):
            if len(deletions) == done:
                _fail(name)
            deletions.append(name)

    depot.store.before_delete = fail
    with pytest.raises(StorageUnavailable):
        depot.collect()
    assert depot.indexed() == depot.packs_of(3)  # the index forgets before anything is deleted
    depot.store.before_delete = lambda name: None
    use = depot.collect()  # no further wait
    assert use.freed_packs == 4 - done
    assert depot.packs() == depot.packs_of(3)


def test_crash_after_the_deletions(depot: Depot) -> None:
    """The stored look still names packs that are gone."""
    depot.delete(1)
    depot.collect()
    depot.later()
    puts: list[str] = []

    def fail(name: str) -> None:
        if name == FIRST_LOOK:
            puts.append(name)
            if len(puts) == 2:
                _fail(name)

    depot.disk.write("z", noise(77, PACK_SIZE))
    depot.disk.upload(8, **ONE_BY_ONE)
    depot.delete(8)
    depot.store.before_put = fail
    with pytest.raises(StorageUnavailable):
        depot.collect()
    depot.store.before_put = lambda name: None
    assert depot.packs() > depot.packs_of(2)
    use = depot.collect()
    assert (use.freed_packs, use.waiting_packs) == (0, 1)


def test_malformed_first_look_counts_as_none(depot: Depot) -> None:
    depot.delete(1)
    depot.collect()
    depot.store.change(depot.disk.container, FIRST_LOOK, lambda body: body[:-3])
    depot.later()
    assert depot.collect().freed_packs == 0
    depot.later()
    assert depot.collect().freed_packs == 1


def test_a_sweep_ends_where_it_may_not_delete(depot: Depot) -> None:
    depot.delete(1)
    depot.collect()
    depot.later()

    def refuse() -> None:
        raise StorageUnavailable("the conductor is silent")

    with pytest.raises(StorageUnavailable, match="silent"):
        depot.collect(caller=Caller(may_delete=refuse))
    assert len(depot.packs()) == 4


# The index of the worker


def test_trap_1_index_forgets_what_is_collected(depot: Depot) -> None:
    """The next backup neither re-uses a removed pack nor reports its loss."""
    depot.delete(1)
    depot.collect_twice()
    assert depot.indexed() == depot.packs_of(2)
    depot.store.heads.clear()
    depot.disk.write("a", noise(0, PACK_SIZE))
    uploaded = depot.disk.upload(3, **ONE_BY_ONE)
    assert uploaded.lost == frozenset()
    assert uploaded.progress.packs_uploaded == 1
    assert depot.disk.restored(3) == depot.disk.contents()
    assert set(depot.store.heads) <= {pack_name(p) for p in depot.packs_of(3)}


def test_trap_1_backup_after_another_worker_has_collected(depot: Depot) -> None:
    """The index still names the pack: the backup finds out by its HEAD and uploads it again."""
    (dead,) = only_of_1(depot)
    depot.delete(1)
    depot.disk.write("a", noise(0, PACK_SIZE))
    depot.collect_twice(own=False)
    assert dead not in depot.packs()
    assert dead in depot.indexed()
    depot.disk.upload(3, **ONE_BY_ONE)
    assert dead in depot.packs()
    assert depot.disk.restored(3) == depot.disk.contents()


def test_index_forgets_manifests_that_are_gone(depot: Depot) -> None:
    depot.delete(1)
    depot.collect()
    index = FileIndex(depot.disk.index_path)
    assert index.manifests() == {backup_id(2)}
    index.close()


# Containers


def test_empty_container_of_a_node_that_left_is_removed(depot: Depot) -> None:
    for number in (1, 2):
        depot.delete(number)
    assert not depot.collect(own=False, remove_container=True).container_removed
    depot.later()
    use = depot.collect(own=False, remove_container=True)
    assert (use.freed_packs, use.container_removed) == (4, True)
    assert depot.disk.container not in set(depot.store.containers(""))


def test_container_with_lost_packs_or_other_objects_stays(depot: Depot) -> None:
    for pack in depot.packs():
        depot.disk.lose(pack)
    assert not depot.collect(own=False, remove_container=True).container_removed
    for number in (1, 2):
        depot.delete(number)
    depot.store.put(
        depot.disk.container, "note", b"", size=0, md5="d41d8cd98f00b204e9800998ecf8427e"
    )
    assert not depot.collect(own=False, remove_container=True).container_removed
    depot.store.delete(depot.disk.container, "note")
    assert depot.collect(own=False, remove_container=True).container_removed


def test_foreign_objects_below_packs_are_neither_counted_nor_removed(depot: Depot) -> None:
    foreign = ["packs/readme", f"packs/ff/{'0' * 64}", f"packs/00/x/{'0' * 64}"]
    empty = "d41d8cd98f00b204e9800998ecf8427e"
    for name in foreign:
        depot.store.put(depot.disk.container, name, b"", size=0, md5=empty)
    assert depot.collect_twice().packs == 4
    names = {info.name for info in depot.store.list(depot.disk.container)}
    assert set(foreign) <= names


def test_trap_3_a_cluster_whose_name_begins_like_this_one_is_untouched(depot: Depot) -> None:
    other = node_container(PREFIX, f"{CLUSTER}.{HOST}", HOST)
    depot.store.ensure_container(other)
    depot.store.put(other, pack_name("0" * 64), b"", size=0, md5="d41d8cd98f00b204e9800998ecf8427e")
    depot.delete(1)
    assert depot.collect_twice().freed_packs == 1
    assert [info.name for info in depot.store.list(other)] == [pack_name("0" * 64)]
