# SPDX-License-Identifier: Apache-2.0
"""Damaged packs: found, stored again by the next backup, and trusted again by the one after."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import pytest

from magnetodb_backup.conductor.backup.damaged_packs import bounded, record_damage
from magnetodb_backup.conductor.backup.node_backups import bounded_uploads
from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.backup.records import Backup, Progress
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.errors import StorageRefused
from magnetodb_backup.repository.findings import Problem, VerificationReport
from magnetodb_backup.repository.format.names import node_container, pack_name
from magnetodb_backup.tasks.backup import Uploaded
from magnetodb_backup.tasks.cluster import Member
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import member
from tests.unit.worker.working import PREFIX


def _damage(cluster: Cluster, number: int = 2) -> str:
    """Change the bytes of a node's only pack, but not their number."""
    (pack,) = cluster.packs(number).packs()
    container = node_container(PREFIX, CLUSTER, cluster.nodes[number].me.host_id)
    cluster.store.change(container, pack_name(pack), lambda body: bytes(len(body)))
    return pack


def _distrusted(cluster: Cluster) -> dict[str, set[str]]:
    found = cluster.database.damaged_packs.of(CLUSTER)
    return {host_id: set(packs) for host_id, packs in found.items()}


@pytest.fixture
def damaged(cluster: Cluster) -> tuple[Cluster, Backup, str]:
    """A cluster, its backup, and the pack of node 2 that was damaged since."""
    backup = cluster.backup()
    pack = _damage(cluster)
    cluster.store.packs_put()
    return cluster, backup, pack


Damaged = tuple[Cluster, Backup, str]


def test_damaged_pack_is_stored_again_once(damaged: Damaged) -> None:
    cluster, first, pack = damaged
    problems = cluster.verify(first)["problems"]
    assert [(p["kind"], p["pack"]) for p in problems] == [("corrupt", pack)]

    second = cluster.backup()
    assert cluster.store.packs_put() == [pack_name(pack)]
    assert cluster.node_backup(second, 2).progress.packs_replaced == 1
    assert cluster.verify(second)["problems"] == []

    cluster.backup()
    assert cluster.store.packs_put() == []
    assert cluster.verify(first)["problems"] == []  # the older backup is whole again, too


def test_damage_that_nobody_looked_for_is_not_known(damaged: Damaged) -> None:
    cluster, first, _ = damaged
    assert cluster.verify(first, read_data=False)["problems"] == []
    assert _distrusted(cluster) == {}


def test_distrust_names_node_pack_and_verification(damaged: Damaged) -> None:
    cluster, first, pack = damaged
    cluster.verify(first)
    verification = cluster.job(first, JobKind.VERIFICATION).id
    host_id = cluster.nodes[2].me.host_id
    assert cluster.database.damaged_packs.of(CLUSTER) == {host_id: {pack: [verification]}}
    assert cluster.database.damaged_packs.of("another cluster") == {}


def test_new_damage_is_new_distrust(damaged: Damaged) -> None:
    """The backup that stored the pack again knew nothing of this finding."""
    cluster, first, pack = damaged
    cluster.verify(first)
    second = cluster.backup()
    _damage(cluster)
    cluster.verify(second)
    cluster.store.packs_put()
    cluster.backup()
    assert cluster.store.packs_put() == [pack_name(pack)]


def test_findings_of_several_backups_are_replaced_together(damaged: Damaged) -> None:
    cluster, first, pack = damaged
    second = cluster.backup()
    for backup in (first, second):
        assert len(cluster.verify(backup)["problems"]) == 1
    cluster.store.packs_put()
    cluster.backup()
    assert cluster.store.packs_put() == [pack_name(pack)]
    assert _distrusted(cluster) == {}


def _delete(cluster: Cluster, backup: Backup) -> None:
    cluster.database.backups.request_deletion(backup.id)
    cluster.run(backup, JobKind.DELETION)


def _verify_quickly(cluster: Cluster, backup: Backup) -> None:
    assert cluster.verify(backup, read_data=False)["problems"] == []


def _ask_again(cluster: Cluster, backup: Backup) -> None:
    cluster.database.jobs.create(
        JobKind.VERIFICATION, Subject.backup(backup.id), CLUSTER, {"read_data": True}
    )


def _fail(cluster: Cluster, backup: Backup) -> None:
    def fail(name: str) -> None:
        raise StorageRefused("the account is closed")

    cluster.store.before_put = fail
    assert cluster.backup().status is BackupStatus.CREATE_FAILED
    cluster.store.before_put = lambda name: None


@pytest.mark.parametrize("event", [_delete, _verify_quickly, _ask_again, _fail])
def test_what_does_not_end_distrust(
    damaged: Damaged, event: Callable[[Cluster, Backup], None]
) -> None:
    """A deletion, a verification that reads no data or still runs, a failed backup."""
    cluster, first, pack = damaged
    cluster.verify(first)
    event(cluster, first)
    cluster.store.packs_put()
    assert _distrusted(cluster) == {cluster.nodes[2].me.host_id: {pack}}
    second = cluster.backup()
    assert cluster.store.packs_put() == [pack_name(pack)]
    assert cluster.restored(second, 2) == cluster.contents(2)


def test_whole_verification_ends_distrust(damaged: Damaged) -> None:
    """Somebody repaired the object by other means."""
    cluster, first, pack = damaged
    cluster.verify(first)
    container = node_container(PREFIX, CLUSTER, cluster.nodes[2].me.host_id)
    good = b"".join(cluster.contents(2)[key] for key in sorted(cluster.contents(2)))
    cluster.store.change(container, pack_name(pack), lambda body: good)
    assert cluster.verify(first)["problems"] == []
    assert _distrusted(cluster) == {}


def test_distrusted_pack_that_nothing_needs_is_not_stored(damaged: Damaged) -> None:
    cluster, first, _ = damaged
    cluster.verify(first)
    for directory in cluster.nodes[2].data.paths:
        for path in directory.glob("ks/*/nb-*"):
            path.write_bytes(b"other content " + path.name.encode())
    second = cluster.backup()
    assert len(cluster.store.packs_put()) == 1
    assert cluster.node_backup(second, 2).progress.packs_replaced == 0
    assert cluster.restored(second, 2) == cluster.contents(2)


def test_missing_pack_is_found_without_reading(cluster: Cluster) -> None:
    first = cluster.backup()
    (pack,) = cluster.packs(2).packs()
    container = node_container(PREFIX, CLUSTER, cluster.nodes[2].me.host_id)
    cluster.store.delete(container, pack_name(pack))
    (problem,) = cluster.verify(first, read_data=False)["problems"]
    assert (problem["kind"], problem["pack"]) == ("missing", pack)
    cluster.backup()
    assert _distrusted(cluster) == {}


def test_packs_of_others_than_the_described_problems_count(cluster: Cluster) -> None:
    """A report describes the first problems; the packs of all are damaged."""
    backup = cluster.backup()
    job = cluster.database.jobs.create(JobKind.VERIFICATION, Subject.backup(backup.id), CLUSTER, {})
    report = VerificationReport(backup.id, False, 1, 1, 1, 0, (), further_packs={"h": ("p", "q")})
    record_damage(cluster.database, job, backup, report)
    assert cluster.database.damaged_packs.of(CLUSTER) == {"h": {"p": [job.id], "q": [job.id]}}


def test_damage_is_known_however_many_verifications_follow(damaged: Damaged) -> None:
    """Finding 22: what a verification older than the newest 200 had found was trusted again."""
    cluster, first, pack = damaged
    cluster.verify(first)
    jobs, other = cluster.database.jobs, cluster.request()
    jobs.finish(cluster.job(other).id, JobStatus.DONE)
    for _ in range(201):
        job = jobs.create(JobKind.VERIFICATION, Subject.backup(other.id), CLUSTER, {})
        jobs.finish(job.id, JobStatus.DONE, result={"problems": [], "read_data": True})
    assert _distrusted(cluster) == {cluster.nodes[2].me.host_id: {pack}}


def test_verification_that_is_repeated_records_its_findings_once(damaged: Damaged) -> None:
    """The conductor died before the end of the job was recorded."""
    cluster, first, pack = damaged
    cluster.verify(first)
    job = cluster.job(first, JobKind.VERIFICATION)
    problem = Problem(cluster.nodes[2].me.host_id, "corrupt", pack, "")
    report = VerificationReport(first.id, True, 1, 1, 1, 1, (problem, problem))
    for _ in range(2):
        record_damage(cluster.database, job, first, report)
    assert cluster.database.damaged_packs.of(CLUSTER) == {problem.host_id: {pack: [job.id]}}


def test_one_backup_replaces_so_many_packs() -> None:
    """What a step stores of all nodes has to fit into the database."""
    packs = {host: {f"{n:064x}": ["job"] for n in range(30_000)} for host in ("a", "b", "c")}
    chosen, more = bounded(packs)
    assert {host: len(found) for host, found in chosen.items()} == {"a": 30_000, "b": 20_000}
    assert more == {"b", "c"}  # damaged packs beyond the bound were used again


@pytest.mark.parametrize("nodes", [1, 100])
def test_step_result_of_many_nodes_stays_small(nodes: int) -> None:
    """What each node names is bounded; the sum of a thousand nodes was not."""
    progress = Progress()
    upload = Uploaded(
        StoredObject("n", 1, "0" * 64), 1, 1, ("f",) * 1000, progress, Member.of(member(1))
    )
    bound = bounded_uploads({str(n): upload for n in range(nodes)})
    assert sum(len(u.corrupt_files) for u in bound.values()) <= 10_000
    assert {u.corrupt for u in bound.values()} == {1000}


def _compact(cluster: Cluster, number: int = 2) -> None:
    """Let nothing be left of the files of before."""
    node = cluster.nodes[number]
    node.generation += 1
    for each in node.tables:
        for directory in range(2):
            for path in node.data.table_directory(directory, each).glob("*.db"):
                path.unlink()
        name = f"nb-{node.generation}-big-Data.db"
        node.write(each, name, f"compacted {each.name} {node.generation}".encode())


@pytest.fixture
def lossy(cluster: Cluster) -> tuple[Cluster, Backup, dict[str, bytes]]:
    """A cluster, its backup, and the packs of node 2 that the store has lost since."""
    backup = cluster.backup()
    packs = cluster.packs(2)
    lost = {pack: b"".join(packs.read_pack(pack)) for pack in packs.packs()}
    for pack in lost:
        cluster.lose_pack(2, pack)
    _compact(cluster)
    return cluster, backup, lost


Lossy = tuple[Cluster, Backup, dict[str, bytes]]


def _notes(cluster: Cluster, backup: Backup) -> tuple[str, ...]:
    return cluster.database.backups.get(backup.id).notes


def test_backups_that_need_lost_packs_get_a_note(lossy: Lossy) -> None:
    """The worker knew, and nothing was said: the older backup stayed CREATED without a word."""
    cluster, first, _ = lossy
    second = cluster.backup()
    assert second.status is BackupStatus.CREATED
    (note,) = second.notes
    assert "the store has lost 1 packs of node 127.0.0.2 (host ID 2222" in note
    assert f"backups that need them: {first.id}" in note
    (found,) = _notes(cluster, first)
    assert "files of node 127.0.0.2 (host ID 2222" in found
    assert ") are in packs that the store has lost" in found
    assert second.id in found
    assert cluster.backup().notes == ()  # said once
    assert len(_notes(cluster, first)) == 1


def _put_back(cluster: Cluster, lost: Mapping[str, bytes]) -> None:
    for pack, body in lost.items():
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        cluster.packs(2).put_pack(pack, body, md5)


def test_notes_are_withdrawn_when_the_packs_are_back(lossy: Lossy) -> None:
    """Another program restored the objects, or the store found a copy of them."""
    cluster, first, lost = lossy
    second = cluster.backup()
    _put_back(cluster, lost)
    cluster.backup()
    assert _notes(cluster, first) == _notes(cluster, second) == ()


def test_notes_are_withdrawn_when_a_backup_stores_the_packs_again(lossy: Lossy) -> None:
    cluster, first, _ = lossy
    second = cluster.backup()
    for each in cluster.nodes[2].tables:
        for name in ("nb-1-big-Data.db", "nb-2-big-Data.db"):
            content = f"2 {each.name}" + (" more" if "2-" in name else "")
            cluster.nodes[2].write(each, name, content.encode(), int("2-" in name))
    for node in cluster.nodes[2].data.paths:
        for path in node.glob("ks/*/nb-1??-big-Data.db"):
            path.unlink()
    cluster.backup()
    assert cluster.verify(first)["problems"] == []
    assert _notes(cluster, first) == _notes(cluster, second) == ()


def test_notes_of_what_is_still_lost_stay(lossy: Lossy) -> None:
    """They name the backup that counted last."""
    cluster, first, lost = lossy
    second = cluster.backup()
    for pack in cluster.packs(2).packs():
        cluster.lose_pack(2, pack)
    _compact(cluster)
    third = cluster.backup()
    for backup in (first, second):
        (note,) = [n for n in _notes(cluster, backup) if "files of node" in n]
        assert third.id in note
    _put_back(cluster, lost)
    cluster.backup()
    assert _notes(cluster, first) == ()
    assert len(_notes(cluster, second)) == 1


def test_verification_that_finds_all_packs_withdraws_the_notes(lossy: Lossy) -> None:
    """The worker's index may be lost with what it knew."""
    cluster, first, lost = lossy
    cluster.backup()
    assert cluster.verify(first, read_data=False)["problems"]
    assert len(_notes(cluster, first)) == 1
    _put_back(cluster, lost)
    cluster.database.backups.change_notes(first.id, lambda notes: ("another note", *notes))
    assert cluster.verify(first, read_data=False)["problems"] == []
    assert _notes(cluster, first) == ("another note",)


def test_notes_of_an_older_release_are_withdrawn(lossy: Lossy) -> None:
    """They name the node by its address only."""
    cluster, first, lost = lossy
    cluster.backup()
    texts = [
        f"2 files of node 127.0.0.{number} are in packs that the store has lost, as backup x found"
        for number in (2, 22)
    ]
    cluster.database.backups.change_notes(first.id, lambda _: tuple(texts))
    _put_back(cluster, lost)
    cluster.backup()
    assert _notes(cluster, first) == (texts[1],)
