# SPDX-License-Identifier: Apache-2.0
"""Verification finds what is missing, cut or changed, and names the files."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.backup.manifest import FileEntry, StoredObject
from magnetodb_backup.errors import Cancelled, NotFound
from magnetodb_backup.repository.findings import Findings, Problem, VerificationReport
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.format.manifests import NodeManifestWriter
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.verify import verify_backup
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import CLUSTER, PACK_SIZE, PREFIX, Disk, backup_id, header, noise
from tests.unit.repository.stores import Store

OTHER = "22222222-2222-4222-8222-222222222222"
READING = pytest.mark.parametrize("read_data", [False, True], ids=["quick", "reading"])
SMALL, LARGE = 20, 3 * PACK_SIZE + 10


@pytest.fixture
def disks(tmp_path: Path) -> tuple[Disk, Disk]:
    """Two nodes of a committed backup, each with small files in two packs and a large one."""
    store = Store()
    disks = Disk(tmp_path, store), Disk(tmp_path, store, OTHER)
    for seed, disk in enumerate(disks):
        for number in range(SMALL):
            disk.write(f"f{number:02d}", noise(100 * seed + number, PACK_SIZE // 10))
        disk.write("large", noise(100 * seed + 99, LARGE))
        disk.write("empty", b"")
    commit(disks[0].cluster, 1, {d.host_id: d.upload(readers=1, concurrency=1) for d in disks})
    return disks


def _verify(disk: Disk, *, read_data: bool, **callbacks: Any) -> VerificationReport:
    return verify_backup(
        disk.cluster,
        lambda host_id: NodeRepository(disk.store, PREFIX, CLUSTER, host_id),
        backup_id(1),
        read_data=read_data,
        **{
            "manifest_sha256": "",
            "progress": lambda *_: None,
            "raise_if_cancelled": lambda: None,
            **callbacks,
        },
    )


def _put_manifest(disk: Disk, entries: Iterable[FileEntry]) -> StoredObject:
    file = io.BytesIO()
    writer = NodeManifestWriter(file, header(1))
    for entry in entries:
        writer.add(entry)
    writer.finish()
    return disk.repository.put_node_manifest(backup_id(1), file)


def _pack_of(disk: Disk, name: str, part: int = 0) -> str:
    return disk.entries()[name].extents[part].pack


@READING
def test_whole_backup_has_no_problems(disks: tuple[Disk, Disk], read_data: bool) -> None:
    report = _verify(disks[0], read_data=read_data)
    assert report.problems == ()
    assert (report.files, report.packs) == (2 * (SMALL + 2), 2 * 6)
    assert report.bytes == 2 * (SMALL * PACK_SIZE // 10 + LARGE)
    assert report.read_data is read_data
    assert (report.bytes_read >= report.bytes) is read_data
    assert (report.bytes_read == 0) is not read_data


@READING
@pytest.mark.parametrize("part", [0, 3])
def test_missing_pack(disks: tuple[Disk, Disk], read_data: bool, part: int) -> None:
    pack = _pack_of(disks[1], "large", part)
    disks[1].lose(pack)
    (problem,) = _verify(disks[0], read_data=read_data).problems
    assert (problem.host_id, problem.kind, problem.pack) == (OTHER, "missing", pack)
    assert (problem.files, problem.file_count) == (("ks/t/large",), 1)


@READING
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_schema(disks: tuple[Disk, Disk], read_data: bool, damage: str) -> None:
    """Without it nothing can be restored."""
    container, name = layout.cluster_container(PREFIX, CLUSTER), layout.schema_name(backup_id(1))
    if damage == "missing":
        disks[0].store.delete(container, name)
    else:
        disks[0].store.change(container, name, lambda body: body.replace(b"t", b"u"))
    (problem,) = _verify(disks[0], read_data=read_data).problems
    assert (problem.host_id, problem.kind, problem.pack) == ("", "schema", "")
    assert name in problem.detail


@READING
def test_cut_pack(disks: tuple[Disk, Disk], read_data: bool) -> None:
    pack = _pack_of(disks[0], "f00")
    disks[0].damage(pack, lambda body: body[:-1])
    (problem,) = _verify(disks[0], read_data=read_data).problems
    assert (problem.host_id, problem.kind, problem.pack) == (disks[0].host_id, "size", pack)
    assert "has 999 bytes, at least 1000 are needed" in problem.detail
    assert problem.files == tuple(f"ks/t/f{number:02d}" for number in range(10))
    assert problem.file_count == 10


@pytest.mark.parametrize("name", ["f15", "large"])
def test_changed_byte_is_found_by_reading(disks: tuple[Disk, Disk], name: str) -> None:
    pack = _pack_of(disks[0], name)
    disks[0].damage(pack, lambda body: body[:-1] + bytes([body[-1] ^ 1]))
    assert _verify(disks[0], read_data=False).problems == ()
    (problem,) = _verify(disks[0], read_data=True).problems
    assert (problem.kind, problem.pack) == ("corrupt", pack)
    assert f"ks/t/{name}" in problem.files


def test_reading_many_files_takes_no_longer_than_their_upload(tmp_path: Path) -> None:
    """The work for each file does not grow with the number of files."""
    disk = Disk(tmp_path, Store())
    for number in range(10_000):
        disk.write(f"f{number}", number.to_bytes(16, "big"))
    begin = time.perf_counter()
    commit(disk.cluster, 1, {disk.host_id: disk.upload(pack_size=100_000)})
    uploaded = time.perf_counter()
    assert _verify(disk, read_data=True).files == 10_000
    assert time.perf_counter() - uploaded < uploaded - begin


def test_longer_pack_is_found_by_reading(disks: tuple[Disk, Disk]) -> None:
    pack = _pack_of(disks[0], "f00")
    disks[0].damage(pack, lambda body: body + b"x")
    (problem,) = _verify(disks[0], read_data=True).problems
    assert (problem.kind, problem.pack) == ("corrupt", pack)


def test_report_of_many_problems_stays_small(tmp_path: Path) -> None:
    """It has to fit into the database; the lost packs are what the next backup must know."""
    disk = Disk(tmp_path, Store())
    for number in range(300):
        disk.write(f"f{number}", noise(number, PACK_SIZE))
    commit(disk.cluster, 1, {disk.host_id: disk.upload()})
    for pack in disk.repository.packs():
        disk.lose(pack)
    problems = _verify(disk, read_data=False).problems
    assert len({p.pack for p in problems}) == 300
    assert {p.file_count for p in problems} == {1}
    assert 0 < sum(len(p.files) for p in problems) < 300


def test_several_problems_on_several_nodes(disks: tuple[Disk, Disk]) -> None:
    disks[0].lose(_pack_of(disks[0], "f00"))
    disks[0].damage(_pack_of(disks[0], "large", 1), lambda body: bytes(len(body)))
    disks[1].damage(_pack_of(disks[1], "large", 3), lambda body: b"")
    found = {(p.host_id, p.kind) for p in _verify(disks[0], read_data=True).problems}
    assert found == {(disks[0].host_id, "missing"), (disks[0].host_id, "corrupt"), (OTHER, "size")}


def test_names_of_many_files_are_cut_but_counted(disk: Disk) -> None:
    for number in range(50):
        disk.write(f"f{number:02d}", noise(number, 10))
    commit(disk.cluster, 1, {disk.host_id: disk.upload()})
    disk.lose(_pack_of(disk, "f00"))
    (problem,) = _verify(disk, read_data=False).problems
    assert (len(problem.files), problem.file_count) == (20, 50)


@READING
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body: body[:-1], "does not match the backup manifest"),
        (lambda body: b"rubbish", "does not match the backup manifest"),
        (None, "there is no object"),
    ],
    ids=["cut", "other", "missing"],
)
def test_wrong_node_manifest(
    disks: tuple[Disk, Disk], read_data: bool, change: Callable[[bytes], bytes] | None, told: str
) -> None:
    """The other node's share is verified all the same."""
    container, name = (
        layout.cluster_container(PREFIX, CLUSTER),
        layout.node_manifest_name(backup_id(1), OTHER),
    )
    if change is None:
        disks[1].store.delete(container, name)
    else:
        disks[1].store.change(container, name, change)
    report = _verify(disks[0], read_data=read_data)
    (problem,) = report.problems
    assert (problem.host_id, problem.kind) == (OTHER, "manifest")
    assert told in problem.detail
    assert name in problem.detail
    assert report.files == SMALL + 2


def test_node_manifest_that_cannot_be_read(disks: tuple[Disk, Disk]) -> None:
    """Even if the backup manifest names just this object."""
    name = layout.node_manifest_name(backup_id(1), OTHER)
    rubbish = b"rubbish"
    disks[1].store.change(layout.cluster_container(PREFIX, CLUSTER), name, lambda body: rubbish)
    committed = disks[0].cluster.read_backup(backup_id(1))
    stored = StoredObject(name, len(rubbish), hashlib.sha256(rubbish).hexdigest())
    nodes = (committed.nodes[0], replace(committed.nodes[1], manifest=stored))
    disks[0].cluster.commit(replace(committed, nodes=nodes))
    (problem,) = _verify(disks[0], read_data=False).problems
    assert (problem.host_id, problem.kind) == (OTHER, "manifest")
    assert "is not Zstandard data" in problem.detail


@pytest.mark.parametrize("name", ["f03", "large"])
def test_manifest_with_another_files_extents(disk: Disk, name: str) -> None:
    """Every pack is intact, but the bytes are not those of the file that the manifest names."""
    for number in range(5):
        disk.write(f"f{number:02d}", noise(number, 100))
    disk.write("large", noise(99, 2 * PACK_SIZE))
    disk.write("wrong", noise(98, 2 * PACK_SIZE))
    disk.upload(2)
    entries = disk.entries(2)
    extents = {"f03": entries["f04"].extents, "large": entries["wrong"].extents}
    entries[name] = replace(entries[name], extents=extents[name])
    uploaded = disk.upload(1, lambda: iter(()))
    stored = _put_manifest(disk, entries.values())
    commit(disk.cluster, 1, {disk.host_id: replace(uploaded, manifest=stored)})
    (problem,) = _verify(disk, read_data=True).problems
    assert (problem.kind, problem.detail) == (
        "content",
        f"ks/t/{name} does not match the node manifest",
    )


@READING
def test_lagging_listing_is_asked_again(disks: tuple[Disk, Disk], read_data: bool) -> None:
    disks[0].store.unlisted = lambda name: name.startswith("packs/")
    assert _verify(disks[0], read_data=read_data).problems == ()


@READING
def test_listing_that_still_has_a_lost_pack(disks: tuple[Disk, Disk], read_data: bool) -> None:
    """A container may list an object for weeks that is lost: the object itself is asked for."""
    pack = _pack_of(disks[0], "f00")
    disks[0].lose(pack)
    disks[0].store.ghosts[layout.pack_name(pack)] = PACK_SIZE
    (problem,) = _verify(disks[0], read_data=read_data).problems
    assert (problem.kind, problem.pack) == ("missing", pack)
    assert problem.file_count == 10


@READING
def test_backup_manifest_that_is_not_the_recorded_one(
    disks: tuple[Disk, Disk], read_data: bool
) -> None:
    """Every restore refuses such a backup, and its verification found nothing."""
    _, stored = disks[0].cluster.read_commit(backup_id(1))
    whole = _verify(disks[0], read_data=read_data, manifest_sha256=stored.sha256)
    assert whole.problems == ()
    (problem,) = _verify(disks[0], read_data=read_data, manifest_sha256="0" * 64).problems
    assert (problem.host_id, problem.kind) == ("", "manifest")
    assert stored.sha256 in problem.detail


def test_backup_manifest_that_cannot_be_read(disks: tuple[Disk, Disk]) -> None:
    container = layout.cluster_container(PREFIX, CLUSTER)
    disks[0].store.change(container, layout.manifest_name(backup_id(1)), lambda body: body[:-9])
    (problem,) = _verify(disks[0], read_data=False).problems
    assert (problem.host_id, problem.kind) == ("", "manifest")


def test_report_of_very_many_problems_is_bounded() -> None:
    """It was larger than the database takes, and the job was repeated for ever."""
    findings = Findings()
    packs = [f"{n:064x}" for n in range(150_000)]
    findings.add(Problem("h", "missing", pack, "the pack is not in the store") for pack in packs)
    report = findings.report(backup_id(1), read_data=False)
    assert report.problem_count == 150_000
    assert [p.pack for p in report.problems] == packs[:1000]
    assert list(report.further_packs["h"]) == packs[1000:101_000]
    assert len(json.dumps(asdict(report))) < 8_000_000


def test_backup_that_was_never_committed(disk: Disk) -> None:
    disk.write("f", noise(1, 10))
    disk.upload()
    with pytest.raises(NotFound, match=backup_id(1)):
        _verify(disk, read_data=False)


def test_progress_is_told_after_each_node(disks: tuple[Disk, Disk]) -> None:
    told: list[tuple[int, int]] = []
    report = _verify(disks[0], read_data=False, progress=lambda *done: told.append(done))
    assert told == [(SMALL + 2, report.bytes // 2), (report.files, report.bytes)]


@pytest.mark.parametrize(
    ("read_data", "after"), [(False, 0), (False, 1), (True, 0), (True, 3), (True, 8)]
)
def test_cancelling_ends_it(disks: tuple[Disk, Disk], read_data: bool, after: int) -> None:
    left = [after]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        _verify(disks[0], read_data=read_data, raise_if_cancelled=check)
