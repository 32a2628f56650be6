# SPDX-License-Identifier: Apache-2.0
"""Repacking: the live bytes of packs of which little is live move to other packs."""

from __future__ import annotations

import contextlib
import urllib.error
from email.message import Message
from pathlib import Path
from typing import Any, cast

import pytest

from magnetodb_backup.domain.backup.collection import Repacking
from magnetodb_backup.errors import (
    CollectionRefused,
    ConductorSilent,
    FormatProblem,
    NotFound,
    StorageUnavailable,
)
from magnetodb_backup.repository.collect.records import Caller
from magnetodb_backup.repository.format.manifests import NodeManifestReader
from magnetodb_backup.repository.format.names import MOVES, cluster_container, moves_name, pack_name
from magnetodb_backup.repository.upload.file_index import FileIndex
from magnetodb_backup.repository.upload.upload import rebuild
from tests.lab.reader import Reader
from tests.unit.repository.collect.depot import Depot
from tests.unit.repository.disk import CLUSTER, HOST, PACK_SIZE, PREFIX, backup_id, noise
from tests.unit.repository.stores import Store

REPACK: dict[str, Any] = {"repacking": Repacking(50, 1), "pack_size": PACK_SIZE}
CONTAINER = cluster_container(PREFIX, CLUSTER)


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    """Two backups; of each of the two packs, the second backup needs one file of ten."""
    depot = Depot(tmp_path)
    for number in range(20):
        depot.disk.write(f"{number:02d}", noise(number, PACK_SIZE // 10))
    depot.backup(1)
    for number in range(20):
        if number % 10:
            (depot.disk.root / f"{number:02d}").unlink()
    depot.backup(2)
    depot.delete(1)
    assert len(depot.packs()) == 2
    return depot


def restored(depot: Depot, number: int = 2) -> bool:
    return depot.disk.restored(number) == depot.disk.contents()


def test_what_little_is_live_in_moves_and_the_rest_becomes_free(depot: Depot) -> None:
    old = depot.packs()
    use = depot.collect(**REPACK)
    assert (use.repack_packs, use.repack_read_bytes) == (2, 2 * PACK_SIZE)
    assert (use.repack_written_packs, use.repack_written_bytes) == (1, PACK_SIZE // 5)
    assert (use.repack_frees_bytes, use.freed_packs) == (2 * PACK_SIZE - PACK_SIZE // 5, 0)
    assert (use.packs, use.live_packs, use.waiting_packs) == (3, 1, 2)
    assert old < depot.packs()
    assert restored(depot)
    depot.later()
    assert depot.collect().freed_packs == 2
    assert len(depot.packs()) == 1
    assert old.isdisjoint(depot.packs())
    assert restored(depot)


def test_old_packs_stay_for_the_whole_grace_period(depot: Depot) -> None:
    depot.collect(**REPACK)
    depot.later(50)
    use = depot.collect()
    assert (use.freed_packs, use.waiting_packs, len(depot.packs())) == (0, 2, 3)


def test_report_says_what_it_would_cost_and_changes_nothing(depot: Depot) -> None:
    before = depot.packs()
    report = depot.collect(report_only=True, **REPACK)
    done = depot.collect(**REPACK)
    for name in ("packs", "read_bytes", "written_packs", "written_bytes", "requests"):
        assert getattr(report, f"repack_{name}") == getattr(done, f"repack_{name}"), name
    assert report.repack_frees_bytes == done.repack_frees_bytes
    assert report.packs == len(before)


@pytest.mark.parametrize("values", [Repacking(9, 1), Repacking(50, 1801)])
def test_nothing_is_repacked_without_need(depot: Depot, values: Repacking) -> None:
    depot.store.puts.clear()
    use = depot.collect(repacking=values, pack_size=PACK_SIZE)
    assert (use.repack_packs, depot.store.puts) == (0, [])
    assert use.repack_left_bytes == (0 if values.percent == 9 else 1800)


def test_next_backup_uses_the_new_packs_and_uploads_nothing(depot: Depot) -> None:
    depot.collect(**REPACK)
    depot.store.packs_put()
    depot.backup(3)
    assert depot.store.packs_put() == []
    depot.later()
    depot.collect()
    assert depot.packs() == depot.packs_of(2, 3)
    assert restored(depot, 3)
    depot.backup(4)
    assert depot.store.packs_put() == []
    progress = depot.disk.progress[-1]  # the index knows the files: none was read again
    assert progress.bytes_reused == progress.bytes_done == PACK_SIZE // 5
    assert restored(depot, 4)


def test_packs_can_be_repacked_again(depot: Depot) -> None:
    for _ in range(3):
        depot.collect(**REPACK)
        depot.later()
    depot.disk.write("more", noise(99, PACK_SIZE // 10))
    depot.backup(3)
    depot.delete(2)
    (depot.disk.root / "00").unlink()
    (depot.disk.root / "more").unlink()
    depot.backup(4)
    depot.delete(3)
    for _ in range(3):
        depot.collect(**REPACK)
        depot.later()
    assert restored(depot, 4)
    assert depot.packs() == depot.packs_of(4)
    assert sum(depot.disk.pack_sizes()) == PACK_SIZE // 10


@pytest.mark.parametrize("what", ["lost", "damaged"])
def test_damaged_packs_are_left_alone(depot: Depot, what: str) -> None:
    pack = sorted(depot.packs())[0]
    if what == "lost":
        depot.store.ghosts[pack_name(pack)] = PACK_SIZE
        depot.disk.lose(pack)
    else:
        depot.disk.damage(pack, lambda body: b"x" + body[1:])
    use = depot.collect(**REPACK)
    assert (use.repack_packs, use.repack_unreadable) == (1, 1)
    depot.later()
    depot.collect()
    assert pack in depot.packs()
    assert pack in depot.packs_of(2)


def test_moves_go_when_no_backup_needs_them(depot: Depot) -> None:
    depot.collect(**REPACK)
    assert depot.disk.cluster.moves(HOST).newest().moves.generation == 1
    depot.delete(2)
    depot.collect_twice()
    assert depot.packs() == set()
    assert depot.disk.cluster.moves(HOST).newest().moves.generation == 0


@pytest.mark.parametrize("place", ["cluster", "node"])
def test_a_lost_or_damaged_copy_of_the_moves_is_stored_again(depot: Depot, place: str) -> None:
    where = {"cluster": (CONTAINER, moves_name(HOST)), "node": (depot.disk.container, MOVES)}[place]
    depot.collect(**REPACK)
    depot.later()
    depot.collect()
    depot.store.change(*where, lambda body: body[:-20] + b"damaged")
    assert restored(depot)
    depot.collect()
    assert depot.disk.cluster.moves(HOST).newest().healthy
    depot.store.delete(*where)
    assert restored(depot)
    depot.collect_twice()
    assert depot.disk.cluster.moves(HOST).newest().healthy
    assert restored(depot)


def test_nothing_is_removed_if_no_copy_of_the_moves_can_be_read(depot: Depot) -> None:
    depot.collect(**REPACK)
    for where in ((CONTAINER, moves_name(HOST)), (depot.disk.container, MOVES)):
        depot.store.change(*where, lambda body: body[: len(body) // 2])
    depot.later()
    with pytest.raises(CollectionRefused, match="not certain where the bytes of its backups are"):
        depot.collect()
    with pytest.raises(FormatProblem, match="cut off"):
        depot.disk.entries(2)


def test_an_index_that_is_rebuilt_learns_no_moves(depot: Depot, tmp_path: Path) -> None:
    """Moves are not proved: another program may have written them."""
    depot.collect(**REPACK)
    index = FileIndex(tmp_path / "other.sqlite")
    rebuild(index, depot.disk.repository, ())
    assert index.is_empty()
    index.close()
    depot.later()
    depot.collect()
    depot.disk.lose_index()
    depot.backup(3)
    assert restored(depot, 3)
    depot.collect_twice()
    assert restored(depot, 3)
    assert restored(depot, 2)


def test_older_release_refuses_to_collect(depot: Depot) -> None:
    """It reads every node manifest below ``backups/``, and finds one of another format."""
    depot.collect(**REPACK)
    name = moves_name(HOST)
    assert name.startswith("backups/")
    with pytest.raises(FormatProblem, match="format version 2, this version knows 1; use"):
        NodeManifestReader(depot.store.read(CONTAINER, name), name)


@pytest.mark.parametrize("died_at", range(6))
def test_backup_is_whole_wherever_a_repacking_ends(depot: Depot, died_at: int) -> None:
    """Each write is the last one of a process; the next collections finish what it has begun."""
    left = died_at

    def dies(name: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise StorageUnavailable(name)

    depot.store.before_put = depot.store.before_delete = dies
    with contextlib.suppress(StorageUnavailable):
        depot.collect(**REPACK)
    depot.store.before_put = depot.store.before_delete = lambda name: None
    assert restored(depot)
    for _ in range(3):
        depot.later()
        depot.collect(**REPACK)
        assert restored(depot)
    assert depot.packs() == depot.packs_of(2)
    assert len(depot.packs()) == 1


def test_trap_9_moves_are_not_stored_once_the_conductor_is_silent(depot: Depot) -> None:
    """Another collection may have stored later ones; the new packs are in nobody's way."""
    stored: list[str] = []

    def may_delete() -> None:
        if stored:
            raise ConductorSilent("no conductor has asked")

    depot.store.before_put = stored.append
    with pytest.raises(ConductorSilent):
        depot.collect(caller=Caller(may_delete=may_delete), **REPACK)
    assert [name.partition("/")[0] for name in stored] == ["packs"]
    assert restored(depot)


def test_backup_that_can_be_undeleted_stays_restorable(depot: Depot) -> None:
    manifest, stored = depot.disk.cluster.read_commit(backup_id(2))
    text = depot.disk.cluster.read_commit_text(backup_id(2))
    depot.store.delete(CONTAINER, stored.name)  # as a deletion does, once it has set it aside
    depot.collect(**REPACK)
    depot.later()
    assert depot.collect().freed_packs == 2
    depot.disk.cluster.commit_text(backup_id(2), text)
    assert restored(depot)
    digest = depot.disk.cluster.digest_node_manifest(backup_id(2), HOST)
    assert digest == manifest.nodes[0].manifest


class Swift:
    """Answers the independent reader from the depot's store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, container: str, name: str, start: int = 0, length: int | None = None) -> bytes:
        try:
            return b"".join(self._store.read(container, name, offset=start, length=length))
        except NotFound:
            raise urllib.error.HTTPError(name, 404, "Not Found", Message(), None) from None


@pytest.mark.parametrize("removed", [False, True])
def test_independent_reader_follows_moves(depot: Depot, removed: bool) -> None:
    depot.collect(**REPACK)
    if removed:
        depot.later()
        assert depot.collect().freed_packs == 2
    reader = Reader(cast(Any, Swift(depot.store)), PREFIX, CLUSTER)
    files = {key[2].rpartition("/")[2]: body for key, body in reader.content(backup_id(2)).items()}
    assert files == depot.disk.contents()
