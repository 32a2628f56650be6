# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore on one node, between a store and a node of directories."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.cassandra.files.staging import ROOT
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.errors import (
    Cancelled,
    CassandraUnavailable,
    CorruptObject,
    DataDirectoryProblem,
    FormatProblem,
    InvalidValue,
)
from magnetodb_backup.repository.format.names import node_container, pack_name
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.worker import fake_changes
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import HOST, FakeNode
from tests.unit.worker.restoring_node import SAME, RestoringNode, T
from tests.unit.worker.working import PREFIX


@pytest.fixture
def restoring(tmp_path: Path) -> RestoringNode:
    return RestoringNode(tmp_path)


def _more_files(node: FakeNode) -> None:
    """Let the second directory have most of table t, and an index a file of its own."""
    (t, _) = node.tables
    for number in range(3, 30):
        node.write(t, f"nb-{number}-big-Data.db", f"{number}".encode() * 500, 1)
    directory = node.data.table_directory(0, t) / ".by_name"
    directory.mkdir()
    (directory / "nb-1-big-Data.db").write_bytes(b"of the index")


# Preflight.


def test_preflight(restoring: RestoringNode) -> None:
    found = restoring.preflight()
    sizes = {str(n): sum(map(len, rows)) for n, rows in restoring.saved.items()}
    assert found["tables"] == {n: {"files": 2, "bytes": s} for n, s in sizes.items()}
    assert (found["files"], found["bytes"]) == (4, sum(sizes.values()))
    assert (found["packs"], found["problems"], found["version"]) == (1, [], "5.0.9")
    assert found["bytes_per_second"] > 0
    assert [d["path"] for d in found["free"]] == list(restoring.node.data.names)
    assert sum(d["needed"] for d in found["free"]) == found["bytes"]
    assert restoring.is_untouched()


def test_preflight_of_some_tables(restoring: RestoringNode) -> None:
    found = restoring.preflight(parts=[restoring.part([[["ks", "t"], ["other", "copy"]]])])
    assert set(found["tables"]) == {"other.copy"}
    assert found["files"] == 2


def test_preflight_of_several_parts(restoring: RestoringNode) -> None:
    """Parts of one table add up."""
    parts = [restoring.part(SAME[:1]), restoring.part(SAME[1:]), restoring.part(SAME[:1])]
    found = restoring.preflight(parts=parts)
    assert {t: f["files"] for t, f in found["tables"].items()} == {"ks.t": 4, "ks.u": 2}
    assert found["files"] == 6


def test_packs_that_another_node_proves_are_not_asked_for(restoring: RestoringNode) -> None:
    store = restoring.working.store
    store.heads.clear()
    found = restoring.preflight(proves=[])
    assert (found["problems"], store.heads) == ([], [])
    assert found["bytes_per_second"] > 0
    restoring.preflight(proves=[HOST])
    assert len(store.heads) == found["packs"] > 0


def test_room_is_needed_where_the_files_lay(tmp_path: Path) -> None:
    """A small disk beside a large one must not be counted on, nor refused for its size."""
    restoring = RestoringNode(tmp_path, _more_files)
    first, second = (d["needed"] for d in restoring.preflight()["free"])
    assert first == sum(
        p.stat().st_size for p in restoring.node.data.paths[0].glob("ks/*/*.db") if p.is_file()
    )
    assert second > 100 * first


def test_room_where_cassandra_does_not_spread(tmp_path: Path) -> None:
    """With as many directories as before, each keeps its own, whatever their room."""
    restoring = RestoringNode(tmp_path, _more_files)
    usual = restoring.preflight()["free"]
    assert [d["needed"] for d in restoring.preflight(room=[10, 1000])["free"]] == [
        d["needed"] for d in usual
    ]


def test_no_room(tmp_path: Path) -> None:
    """The directories share a file system; that is told once."""
    restoring = RestoringNode(tmp_path)
    restoring.working.restart(head_room_percent=100.0)
    (problem,) = restoring.preflight()["problems"]
    assert problem.startswith(f"data directory {restoring.node.data.names[0]} has ")
    assert "the restore needs 1 MiB on its file system" in problem
    assert "[worker] head_room_percent keeps" in problem


def test_manifest_that_was_changed(restoring: RestoringNode) -> None:
    restoring.change_manifest(lambda body: body + b"x")
    found = restoring.preflight()
    (problem,) = found["problems"]
    assert f"the backup manifest names {restoring.manifest['sha256']}: it was changed" in problem
    assert (found["files"], found["tables"]) == (0, {})
    with pytest.raises(CorruptObject, match="it was changed after the backup"):
        restoring.download()
    assert restoring.staged() == {}


def test_lost_packs(tmp_path: Path) -> None:
    restoring = RestoringNode(tmp_path, _more_files)
    container = node_container(PREFIX, CLUSTER, HOST)
    packs = restoring.working.repository.packs()
    assert len(packs) > 22
    for pack in packs:
        restoring.working.store.delete(container, pack_name(pack))
    found = restoring.preflight()
    lost = [p for p in found["problems"] if p.endswith(": missing")]
    assert len(lost) == 20
    assert lost[0].startswith(f"node backup {HOST}: pack ")
    (last,) = set(found["problems"]) - set(lost)
    assert last == f"node backup {HOST}: {found['packs'] - 20} more packs are lost"
    assert found["bytes_per_second"] == 0


def _with_sstable(tmp_path: Path, sstable: str, version: str) -> RestoringNode:
    def prepare(node: FakeNode) -> None:
        for each in node.tables:
            for path in fake_changes.table_files(node, each.name):
                path.unlink()
        node.write(node.tables[0], f"{sstable}-Data.db", b"rows")

    restoring = RestoringNode(tmp_path, prepare)
    restoring.node.me = replace(restoring.node.me, version=version)
    return restoring


@pytest.mark.parametrize(
    ("sstable", "version", "remedy"),
    [
        ("oa-9-big", "4.1.10", "restore into version 5 or later"),
        ("da-9-bti", "4.1.10", "restore into version 5 or later"),
        ("nb-9-big", "3.11.19", "restore into version 4 or later"),
        ("la-9-big", "5.0.9", "run nodetool upgradesstables on the source and make a new backup"),
    ],
)
def test_sstables_that_cassandra_cannot_read(
    tmp_path: Path, sstable: str, version: str, remedy: str
) -> None:
    restoring = _with_sstable(tmp_path, sstable, version)
    assert restoring.preflight()["problems"] == [
        f"node backup {HOST} has SSTables of version {sstable[:2]}, which Cassandra {version} "
        f"cannot read; {remedy}"
    ]


@pytest.mark.parametrize("letter", "abcde")
@pytest.mark.parametrize("version", ["4.0.19", "4.1.10", "5.0.9"])
def test_sstables_of_3_x_in_an_upgraded_cluster(tmp_path: Path, letter: str, version: str) -> None:
    """Old SSTables of the versions ma to me stay for years after an upgrade; 4.0 to 5.0 read them.

    Genuine files of Cassandra 3 would be foreign data, so only their names are tried here.
    """
    found = _with_sstable(tmp_path, f"m{letter}-9-big", version).preflight()
    assert (found["problems"], found["warnings"]) == ([], [])


def test_sstables_of_an_unknown_version_are_a_warning(tmp_path: Path) -> None:
    """A letter that this release does not know may be one that Cassandra reads."""
    found = _with_sstable(tmp_path, "zz-9-big", "5.0.9").preflight()
    assert found["problems"] == []
    assert found["warnings"] == [
        f"node backup {HOST} has SSTables of version zz, which this service does not know; "
        "Cassandra 5.0.9 may refuse them"
    ]


@pytest.mark.parametrize("version", ["4.0.1", "4.1.10", "5.0.9", "5.1-beta1", "6.0.0"])
def test_older_sstables_are_read(restoring: RestoringNode, version: str) -> None:
    restoring.node.me = replace(restoring.node.me, version=version)
    assert restoring.preflight()["problems"] == []


def test_cassandra_of_no_version(restoring: RestoringNode) -> None:
    restoring.node.me = replace(restoring.node.me, version="unknown")
    with pytest.raises(CassandraUnavailable, match="reports the version 'unknown'"):
        restoring.preflight()


# Download.


def test_download(restoring: RestoringNode) -> None:
    done = restoring.download()["progress"]
    assert sorted(restoring.staged()) == [
        f"0/{HOST}/ks/t/nb-1-big-Data.db",
        f"0/{HOST}/ks/u/nb-1-big-Data.db",
        f"1/{HOST}/ks/t/nb-2-big-Data.db",
        f"1/{HOST}/ks/u/nb-2-big-Data.db",
    ]
    assert sorted(restoring.staged().values()) == sorted(chain(*restoring.saved.values()))
    assert (done["files_total"], done["bytes_total"], done["files_done"]) == (8, 100, 4)
    assert done["bytes_done"] == done["bytes_downloaded"]
    assert restoring.context.progress == RestoreProgress(**done)
    assert restoring.node.log == []  # Cassandra has nothing to do with it


def test_download_of_some_tables_under_other_names(tmp_path: Path) -> None:
    """Indexes are built anew: their files are not fetched."""
    restoring = RestoringNode(tmp_path, _more_files)
    restoring.download(parts=[restoring.part([[["ks", "t"], ["other", "Copy"]]])])
    staged = restoring.staged()
    assert {name.rpartition("/")[0] for name in staged} == {
        f"0/{HOST}/other/Copy", f"1/{HOST}/other/Copy",
    }  # fmt: skip
    assert sorted(staged.values()) == restoring.saved[T]


def test_download_again(restoring: RestoringNode) -> None:
    """A new process goes on; nothing is fetched twice."""
    first = restoring.download()["progress"]
    restoring.working.restart()
    reads: list[str] = []
    restoring.working.store.before_read = reads.append
    again = restoring.download()["progress"]
    assert not [name for name in reads if name.startswith("packs/")]
    assert again["bytes_resumed"] == again["bytes_done"] == first["bytes_done"]
    assert again["bytes_downloaded"] == 0


def test_two_parts_add_up(restoring: RestoringNode) -> None:
    parts = [restoring.part(SAME[:1]), restoring.part(SAME[1:])]
    done = restoring.download(parts=parts)["progress"]
    assert done["files_done"] == 4
    assert len(restoring.staged()) == 4


def test_download_fills_disks_by_their_room(tmp_path: Path) -> None:
    """The source had another number of data directories."""
    restoring = RestoringNode(tmp_path, _more_files)
    third = tmp_path / "node1" / "data2"
    third.mkdir()
    restoring.node.data.paths.append(third)
    room = [1000, 10, 10]
    restoring.download(room=room)
    where = [int(name[0]) for name in restoring.staged()]
    assert where.count(0) > len(where) * 3 // 4
    assert sorted(restoring.staged().values()) == sorted(chain(*restoring.saved.values()))


def test_preflight_looks_for_room_where_the_download_places_files(tmp_path: Path) -> None:
    """The source had two directories; counted on those, the first disks would be too small."""
    restoring = RestoringNode(tmp_path, _more_files)
    third = tmp_path / "node1" / "data2"
    third.mkdir()
    restoring.node.data.paths.append(third)
    found = restoring.preflight(spread=True)
    needed = [d["needed"] for d in found["free"]]
    assert (found["spread"], min(needed) > 0) == (True, True)
    restoring.download(room=[d["free"] for d in found["free"]])
    staged = [0, 0, 0]
    for name, body in restoring.staged().items():
        staged[int(name[0])] += len(body)
    assert staged == needed


def test_download_is_cancelled(restoring: RestoringNode) -> None:
    restoring.context.cancel()
    with pytest.raises(Cancelled):
        restoring.download()
    assert restoring.staged() == {}


@pytest.mark.parametrize(
    "pair",
    [
        [["ks", "../../t"], ["ks", "t"]],
        [["ks", "t"], ["ks", "../../t"]],
        [["ks", "t"], ["..", "t"]],
        [["ks", "t"], ["ks", ""]],
        [["ks", "t"], ["ks", "t\0"]],
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [TaskKind.RESTORE_PREFLIGHT, TaskKind.RESTORE_DOWNLOAD])
def test_names_that_lead_elsewhere(restoring: RestoringNode, kind: TaskKind, pair: Any) -> None:
    with pytest.raises(InvalidValue, match=r"is not a (table|keyspace) name"):
        restoring.do(kind, parts=[restoring.part([pair])])
    assert restoring.staged() == {}


@pytest.mark.parametrize("restore_id", ["..", "x/y", ""])
def test_ids_that_lead_elsewhere(restoring: RestoringNode, restore_id: str) -> None:
    for kind in (TaskKind.RESTORE_DOWNLOAD, TaskKind.RESTORE_IMPORT, TaskKind.RESTORE_CLEANUP):
        with pytest.raises(DataDirectoryProblem, match="is not the ID of a restore"):
            restoring.do(kind, restore_id=restore_id)


def test_source_that_is_no_host_id(restoring: RestoringNode) -> None:
    with pytest.raises((InvalidValue, FormatProblem)):
        restoring.download(parts=[restoring.part(source="../x")])
    assert restoring.staged() == {}


def test_link_in_the_staging_place(restoring: RestoringNode, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (restoring.node.data.paths[1] / ROOT).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataDirectoryProblem, match="is a symbolic link; remove it"):
        restoring.download()
    assert list((tmp_path / "elsewhere").iterdir()) == []


# The end.


def test_view_whose_name_is_none(restoring: RestoringNode) -> None:
    arguments = {"views": [["ks", "v; DROP"]], "indexes": [], "seconds": 1}
    with pytest.raises(InvalidValue):
        restoring.do(TaskKind.RESTORE_VIEWS, **arguments)
