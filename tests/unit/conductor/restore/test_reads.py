# SPDX-License-Identifier: Apache-2.0
"""How often a restore reads each manifest and each file of fingerprints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from magnetodb_backup.conductor.restore.check import check_tasks
from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.fingerprints import TokenRange, assign_ranges, split_ring
from magnetodb_backup.domain.restore.records import Existing, RestoreStatus
from magnetodb_backup.repository.format.names import PACKS
from magnetodb_backup.tasks.restore_steps import CheckBasis
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.offline import Offline
from tests.unit.conductor.restoring import Restoring, T, U
from tests.unit.worker.fake_node import member


@pytest.fixture(params=[3, 6])
def wide(request: pytest.FixtureRequest, tmp_path: Path, database_file: Path) -> Iterator[Cluster]:
    """A cluster of three nodes, and one of six."""
    cluster = Cluster(tmp_path, database_file, size=request.param)
    yield cluster
    cluster.stopping.set()
    cluster.database.close()


def _count(restoring: Restoring) -> Counter[str]:
    """Return a counter of the reads to come, by the object's name below the backup."""
    counter: Counter[str] = Counter()
    prefix = f"backups/{restoring.backup.id}/"

    def count(name: str) -> None:
        if name.startswith(prefix):
            counter[name.removeprefix(prefix)] += 1

    restoring.cluster.store.before_read = count
    return counter


def _below(counter: Counter[str], directory: str) -> list[int]:
    return [reads for name, reads in counter.items() if name.startswith(directory)]


def _assert_manifests_read_twice(counter: Counter[str], nodes: int) -> None:
    """Once for the plan, once for the download: the backup manifest twice, too."""
    assert _below(counter, "nodes/") == [2] * nodes
    assert counter["manifest.json"] == 2


def test_manifests_of_an_import(wide: Cluster) -> None:
    restoring = Restoring(wide)
    restoring.truncate(T, U)
    counter = _count(restoring)
    restore = restoring.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    _assert_manifests_read_twice(counter, len(wide.nodes))
    assert _below(counter, "figures/") == []


def test_manifests_of_a_stream(wide: Cluster) -> None:
    restoring = Restoring(wide)
    nodes = wide.nodes
    nodes[3].me = replace(nodes[3].me, tokens=(12345,))
    for node in nodes.values():
        node.members = tuple(other.me for other in nodes.values())
    wide.report(3)
    restoring.truncate(T, U)
    counter = _count(restoring)
    restore = restoring.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    _assert_manifests_read_twice(counter, len(nodes))


def test_manifests_of_an_offline_restore(wide: Cluster) -> None:
    """The directories that its files go to are chosen from the same reading."""
    restoring = Offline(wide)
    counter = _count(restoring)
    restore = restoring.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    _assert_manifests_read_twice(counter, len(wide.nodes))


def test_manifests_of_a_dry_run(wide: Cluster) -> None:
    restoring = Restoring(wide)
    counter = _count(restoring)
    restore = restoring.restore(dry_run=True, existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.PLANNED
    assert _below(counter, "nodes/") == [1] * len(wide.nodes)


def test_fingerprints_are_read_by_the_conductor_and_one_node(wide: Cluster) -> None:
    restoring = Restoring(wide, figures=True)
    restoring.truncate(T, U)
    counter = _count(restoring)
    restore = restoring.restore(check=True)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert _below(counter, "figures/") == [2] * len(wide.nodes)
    _assert_manifests_read_twice(counter, len(wide.nodes))


# Which node reads which file.


def _basis(sources: int) -> tuple[CheckBasis, set[TokenRange]]:
    """Return the fingerprints of a ring of nodes, each of which took those of its own ranges."""
    ring = [member(n, tokens=(n << 58, -n << 58)) for n in range(1, sources + 1)]
    ranges = sorted(split_ring(token for m in ring for token in m.tokens))
    owned = assign_ranges(ranges, ring, {m.host_id for m in ring})
    position = {each: number for number, each in enumerate(ranges)}
    return (
        CheckBasis(
            stored=tuple(StoredObject(host_id, 1, "0" * 64) for host_id in owned),
            ranges=tuple((str(r.start), str(r.end)) for r in ranges),
            found_in=tuple(tuple(position[r] for r in found) for found in owned.values()),
        ),
        set(ranges),
    )


@pytest.mark.parametrize(("sources", "targets"), [(3, 1), (3, 2), (3, 3), (6, 3), (3, 6), (3, 7)])
def test_each_range_has_one_reader(sources: int, targets: int) -> None:
    """Files are read by as few nodes as there are nodes for each file."""
    basis, ranges = _basis(sources)
    ring = [member(n, tokens=(n << 57, -n << 59)) for n in range(1, targets + 1)]
    tasks = check_tasks(basis, ring, ())
    read = [TokenRange.from_json(r) for task in tasks.values() for r in task.ranges]
    assert (set(read), len(read)) == (ranges, len(ranges))
    for task in tasks.values():
        needed = {TokenRange.from_json(r) for r in task.ranges}
        available = {
            TokenRange.from_json(basis.ranges[number])
            for stored, positions in zip(basis.stored, basis.found_in, strict=True)
            if stored in task.figures
            for number in positions
        }
        assert needed <= available
    readers = Counter(stored.name for task in tasks.values() for stored in task.figures)
    assert max(readers.values()) <= -(-targets // sources)
    if targets <= sources:
        assert sum(readers.values()) == sources


def test_equal_rings_read_their_own_files() -> None:
    basis, _ = _basis(3)
    ring = [member(n, tokens=(n << 58, -n << 58)) for n in range(1, 4)]
    tasks = check_tasks(basis, ring, ())
    assert {h: [s.name for s in task.figures] for h, task in tasks.items()} == {
        m.host_id: [m.host_id] for m in ring
    }


def test_basis_of_an_older_release_makes_all_read_all() -> None:
    basis, ranges = _basis(3)
    older = replace(basis, found_in=())
    ring = [member(n, tokens=(n << 58, -n << 58)) for n in range(1, 4)]
    tasks = check_tasks(older, ring, ())
    assert all(task.figures == basis.stored for task in tasks.values())
    assert sum(len(task.ranges) for task in tasks.values()) == len(ranges)


def test_each_pack_is_asked_for_once_in_a_cluster(wide: Cluster) -> None:
    """All nodes stream from all node backups: each of them asked for every pack."""
    restoring = Restoring(wide)
    nodes = wide.nodes
    nodes[3].me = replace(nodes[3].me, tokens=(12345,))
    for node in nodes.values():
        node.members = tuple(other.me for other in nodes.values())
    wide.report(3)
    wide.store.heads.clear()
    restore = restoring.restore(existing=Existing.REPLACE, dry_run=True)
    assert restore.status is RestoreStatus.PLANNED
    packs = Counter(name for name in wide.store.heads if name.startswith(PACKS))
    assert set(packs.values()) == {1}
