# SPDX-License-Identifier: Apache-2.0
"""A later restore on a node uses what an earlier one has fetched."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.cassandra.files.fetched import LEASE, all_fetched
from magnetodb_backup.cassandra.files.staging import ROOT, Staging
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import StagingHeld, StorageUnavailable
from magnetodb_backup.repository.format.names import node_container, pack_name
from magnetodb_backup.tasks.codec import encode
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.worker import fake_changes
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import HOST, FakeNode
from tests.unit.worker.restoring_node import RESTORE, SAME, RestoringNode, T, U
from tests.unit.worker.working import PREFIX

LATER = "eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee"
NEXT_BACKUP = "99999999-9999-4999-8999-999999999999"
COPY = TableName("other", "copy")


class Node(RestoringNode):
    """Counts what is fetched of packs."""

    def __init__(self, root: Path, prepare: Callable[[FakeNode], None] = lambda node: None) -> None:
        super().__init__(root, prepare)
        self.reads: list[str] = []
        self.working.store.before_read = self._note

    def _note(self, name: str) -> None:
        if name.startswith("packs/"):
            self.reads.append(name)

    def fetched_by(self, restore: str, **more: Any) -> int:
        """Download; return the number of reads of packs."""
        self.reads.clear()
        self.download(restore_id=restore, **more)
        return len(self.reads)

    def end(self, restore: str, *, keep: bool) -> Mapping[str, Any]:
        return self.do(TaskKind.RESTORE_CLEANUP, restore_id=restore, keep=keep)

    def staged_for(self, restore: str) -> list[bytes]:
        return sorted(
            path.read_bytes()
            for data in self.node.data.paths
            for path in (data / ROOT / restore).rglob("*-Data.db")
        )

    def kept(self) -> list[Path]:
        """Return the kept files."""
        return sorted(
            path for data in self.node.data.paths for path in (data / ROOT).glob("fetched-*/*/*/*")
        )

    def grow_old(self, seconds: float) -> None:
        then = time.time() - seconds
        for data in self.node.data.paths:
            for root in (data / ROOT).glob("fetched-*"):
                os.utime(root, (then, then))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def failed(node: Node) -> Node:
    """A restore has failed in the middle of its imports."""
    node.truncate()
    assert node.fetched_by(RESTORE) > 0
    node.imported(parts=[node.part(SAME[:1])])
    node.end(RESTORE, keep=True)
    return node


def _all(node: Node) -> list[bytes]:
    return sorted(chain(*node.saved.values()))


# What is used again.


def test_nothing_is_fetched_again(failed: Node) -> None:
    """Though the first table's files were imported, and Cassandra has compacted them since."""
    failed.truncate()
    failed.working.restart()
    assert failed.fetched_by(LATER) == 0
    assert failed.staged_for(LATER) == _all(failed)
    failed.imported(restore_id=LATER)
    assert {n: fake_changes.rows(failed.node, n) for n in failed.saved} == failed.saved
    progress = failed.download(restore_id=LATER)["progress"]
    assert progress["bytes_resumed"] == progress["bytes_done"] == sum(map(len, _all(failed)))
    assert progress["bytes_downloaded"] == 0


@pytest.mark.parametrize(
    "more",
    [
        {"tables": [[["ks", "u"], ["ks", "u"]]]},
        {"tables": [[["ks", "u"], ["other", "copy"]]]},
        {"tables": [[["ks", "u"], ["ks", "u"]]], "method": "stream"},
    ],
    ids=["fewer tables", "another target", "another way"],
)
def test_by_another_request(failed: Node, more: Mapping[str, Any]) -> None:
    assert failed.fetched_by(LATER, parts=[failed.part(**more)]) == 0
    assert failed.staged_for(LATER) == failed.saved[U]


def test_of_more_tables_the_others_are_fetched(node: Node) -> None:
    assert node.fetched_by(RESTORE, parts=[node.part(SAME[:1])]) > 0
    node.end(RESTORE, keep=True)
    assert node.fetched_by(LATER) > 0
    assert node.staged_for(LATER) == _all(node)
    progress = node.context.progress
    assert getattr(progress, "bytes_resumed", 0) == sum(map(len, node.saved[T]))


def _many_files(node: FakeNode) -> None:
    for number in range(3, 20):
        node.write(node.tables[0], f"nb-{number}-big-Data.db", f"{number}".encode() * 500, 1)


def test_where_cassandra_is_stopped_they_stay_on_their_disks(tmp_path: Path) -> None:
    """Their places were chosen by the room that there was before they were fetched."""
    node = Node(tmp_path, _many_files)
    third = tmp_path / "node1" / "data2"
    third.mkdir()
    node.node.data.paths.append(third)
    node.fetched_by(RESTORE, room=[1000, 10, 10])
    before = node.staged()
    node.end(RESTORE, keep=True)
    found = node.preflight(restore_id=LATER, spread=True)
    assert (found["bytes"], found["bytes_staged"]) == (found["bytes"],) * 2
    assert node.fetched_by(LATER, room=[d["free"] for d in found["free"]]) == 0
    after = {
        f"{number}/{path.relative_to(root)}"
        for number, data in enumerate(node.node.data.paths)
        for root in [data / ROOT / LATER]
        for path in root.rglob("*.db")
    }
    assert after == set(before)


def test_another_backup_has_other_files(failed: Node) -> None:
    kinds = (TaskKind.PREPARE, TaskKind.SNAPSHOT, TaskKind.UPLOAD)
    for table in failed.node.tables:
        failed.node.write(table, "nb-9-big-Data.db", b"newer")
    manifest = encode(failed.working.do_all(*kinds, backup_id=NEXT_BACKUP).manifest)
    parts = [{**failed.part(), "manifest": manifest}]
    assert failed.fetched_by(LATER, parts=parts, backup_id=NEXT_BACKUP) > 0


# What is not believed.


def _change(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("spoil", [_change, _cut, Path.unlink])
def test_a_file_that_was_changed_is_fetched_again(
    failed: Node, spoil: Callable[[Path], None]
) -> None:
    spoil(failed.kept()[0])
    assert failed.preflight()["bytes_staged"] < failed.preflight()["bytes"]
    assert failed.fetched_by(LATER) == 1
    assert failed.staged_for(LATER) == _all(failed)


def test_without_its_journal_it_is_read_and_not_fetched(failed: Node) -> None:
    for data in failed.node.data.paths:
        for journal in (data / ROOT).glob("fetched-*/journal.jsonl"):
            journal.unlink()
    assert failed.fetched_by(LATER) == 0
    assert failed.staged_for(LATER) == _all(failed)


# Who may use it.


def test_another_running_restore_is_waited_for(node: Node) -> None:
    node.fetched_by(RESTORE)
    with pytest.raises(StagingHeld, match=f"is used by restore {RESTORE}"):
        node.download(restore_id=LATER)
    assert node.staged_for(LATER) == []
    node.grow_old(LEASE + 1)  # its worker died, and nothing says that it runs
    assert node.fetched_by(LATER) == 0
    with pytest.raises(StagingHeld, match=f"is used by restore {LATER}"):
        node.download()


def test_no_other_task_writes_at_the_same_time(failed: Node) -> None:
    (fetched,) = all_fetched(failed.node.data.names)
    with fetched.locked(), pytest.raises(StagingHeld, match="is being worked on by another task"):
        failed.download(restore_id=LATER)


# The end of a restore.


def test_what_a_restore_leaves(node: Node) -> None:
    node.fetched_by(RESTORE)
    left = node.end(RESTORE, keep=True)
    size = sum(map(len, _all(node)))
    patterns = [f"{data}/{ROOT}/fetched-{_backup(node)}.*" for data in node.node.data.names]
    assert (left["kept"], left["kept_bytes"], left["kept_seconds"]) == (patterns, size, 3600.0)
    assert sorted(path.read_bytes() for path in node.kept()) == _all(node)
    assert not any((data / ROOT / RESTORE).exists() for data in node.node.data.paths)


def _backup(node: Node) -> str:
    (fetched,) = all_fetched(node.node.data.names)
    return Path(fetched.directories[0]).name.removeprefix("fetched-").partition(".")[0]


def test_success_leaves_nothing(node: Node) -> None:
    node.fetched_by(RESTORE)
    left = node.end(RESTORE, keep=False)
    assert (left["kept"], left["kept_bytes"]) == ([], 0)
    assert [os.listdir(data / ROOT) for data in node.node.data.paths] == [[], []]


def test_success_of_some_tables_leaves_the_others(failed: Node) -> None:
    """An operator restores the most urgent table first."""
    failed.fetched_by(LATER, parts=[failed.part(SAME[:1])])
    failed.end(LATER, keep=False)
    assert sorted(path.read_bytes() for path in failed.kept()) == failed.saved[U]
    assert failed.fetched_by(RESTORE, parts=[failed.part(SAME[1:])]) == 0


def test_the_end_of_another_restore_changes_nothing(failed: Node) -> None:
    before = failed.kept()
    assert failed.end(LATER, keep=False)["kept"] == []
    assert failed.kept() == before != []


def test_an_age_of_nothing_keeps_nothing(node: Node) -> None:
    node.working.restart(staging_max_age=0.0)
    node.fetched_by(RESTORE)
    assert node.end(RESTORE, keep=True)["kept"] == []
    assert node.kept() == []


def test_half_a_file_is_not_kept(tmp_path: Path) -> None:
    """Its room would be taken, though it is fetched again."""
    node = Node(tmp_path, _many_files)
    read = node.working.store.before_read
    seen: list[str] = []

    def fail(name: str) -> None:
        read(name)
        seen.extend([name] if name.startswith("packs/") else [])
        if len(seen) > 3:
            raise StorageUnavailable("the store does not answer")

    node.working.store.before_read = fail
    with pytest.raises(StorageUnavailable):
        node.download()
    (fetched,) = all_fetched(node.node.data.names)
    (fetched.directory(T, 0) / "nb-1-big-Data.db.part").write_bytes(b"half")
    left = node.end(RESTORE, keep=True)
    assert 0 < left["kept_bytes"] < sum(map(len, _all(node)))
    assert not [path for path in node.kept() if path.name.endswith(".part")]


def test_nothing_fetched_is_nothing_kept(node: Node) -> None:
    node.working.store.before_read = lambda name: _refuse(name)
    with pytest.raises(StorageUnavailable):
        node.download()
    assert node.end(RESTORE, keep=True)["kept"] == []
    assert not list(node.node.data.paths[0].glob(f"{ROOT}/fetched-*"))


def _refuse(name: str) -> None:
    if name.startswith("packs/"):
        raise StorageUnavailable("the store does not answer")


# Preflight.


def test_preflight_counts_what_is_there(failed: Node) -> None:
    """It needs no room, no request, and no proof that its packs are in the store."""
    found = failed.preflight(restore_id=LATER)
    assert (found["bytes_staged"], found["packs"]) == (found["bytes"], 0)
    assert [d["needed"] for d in found["free"]] == [0, 0]
    container = node_container(PREFIX, CLUSTER, HOST)
    for pack in failed.working.repository.packs():
        failed.working.store.delete(container, pack_name(pack))
    assert failed.preflight(restore_id=LATER)["problems"] == []
    assert failed.fetched_by(LATER) == 0


def test_preflight_of_more_tables(node: Node) -> None:
    node.fetched_by(RESTORE, parts=[node.part(SAME[:1])])
    node.end(RESTORE, keep=True)
    found = node.preflight(restore_id=LATER)
    sizes = {name: sum(map(len, rows)) for name, rows in node.saved.items()}
    assert (found["bytes_staged"], found["bytes"]) == (sizes[T], sizes[T] + sizes[U])
    assert sum(d["needed"] for d in found["free"]) == sizes[U]


def test_preflight_leaves_all_as_it_is(failed: Node) -> None:
    failed.grow_old(100)
    before = [path.stat() for path in failed.kept()]
    (fetched,) = all_fetched(failed.node.data.names)
    failed.preflight(restore_id=LATER)
    assert [path.stat() for path in failed.kept()] == before
    assert fetched.unused_for() > 99


# Releases before this one.


def test_download_that_an_older_worker_has_begun(node: Node) -> None:
    """It had its files and its journal in the restore's own directory."""
    node.fetched_by(RESTORE)
    staging = Staging(node.node.data.names, RESTORE)
    (fetched,) = all_fetched(node.node.data.names)
    with fetched.locked():
        fetched.remove()
    staging.note(f"journal-{HOST}.jsonl").write_bytes(b"")
    (gone,) = (p for p in staging.directory(HOST, T, 0).iterdir())
    gone.unlink()
    assert node.fetched_by(RESTORE) == 1
    assert node.staged_for(RESTORE) == _all(node)
    assert node.imported()["sstables"] == 4
