# SPDX-License-Identifier: Apache-2.0
"""The job of a collection: what it frees, who collects what, and how it resumes."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Resource
from magnetodb_backup.errors import Conflict, StorageUnavailable
from magnetodb_backup.repository.format.names import (
    cluster_container,
    node_manifest_name,
)
from magnetodb_backup.tasks.kinds import TaskKind
from tests.lab.processes import wait_for
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.collection.collecting import (
    GRACE,
    SETTINGS,
    WAIT,
    collect,
    content,
    delete,
    later,
    of_node,
    packs,
    requested,
    result_of,
    run,
    survey,
    two_backups,
)
from tests.unit.conductor.conductors import Start
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX


def test_deleted_backups_are_freed_on_all_nodes(cluster: Cluster) -> None:
    first, second = two_backups(cluster)
    before = packs(cluster)
    delete(cluster, first)
    look = collect(cluster)
    assert (look.dry_run, look.grace, look.total.waiting_packs) == (False, GRACE, 3)
    assert packs(cluster) == before
    later(cluster)
    freed = collect(cluster)
    assert (freed.total.freed_packs, freed.total.freed_bytes) == (3, look.total.waiting_bytes)
    assert all(node.by and not node.error and not node.adopted for node in freed.nodes.values())
    for number in cluster.nodes:
        assert packs(cluster)[number] < before[number]
        assert cluster.restored(second, number) == cluster.contents(number)
    assert cluster.verify(second)["problems"] == []


def test_dry_run_removes_nothing_and_says_what_would_be(cluster: Cluster) -> None:
    first, second = two_backups(cluster)
    delete(cluster, first)
    collect(cluster)
    later(cluster)
    before, puts = packs(cluster), len(cluster.store.puts)
    found = collect(cluster, dry_run=True)
    assert (found.total.due_packs, found.total.freed_packs) == (3, 0)
    assert found.total.due_bytes + found.total.live_bytes == found.total.bytes
    assert set(found.backups) == {second.id}
    assert (packs(cluster), len(cluster.store.puts)) == (before, puts)
    assert all(node.use.backups == {} for node in found.nodes.values())


def test_grace_of_the_request(cluster: Cluster) -> None:
    first, _ = two_backups(cluster)
    delete(cluster, first)
    collect(cluster)
    later(cluster, 2000.0)
    assert collect(cluster).total.freed_packs == 0
    assert collect(cluster, grace=1000.0).total.freed_packs == 3


def test_packs_of_a_deleted_backup_stay_until_it_cannot_be_undeleted(cluster: Cluster) -> None:
    first, _ = two_backups(cluster)
    delete(cluster, first, undelete_period=3 * WAIT)
    before = packs(cluster)
    for _ in range(2):
        assert collect(cluster).total.waiting_packs == 0
        later(cluster)
    assert packs(cluster) == before
    cluster.database.deletions.request_undeletion(first.id)
    assert cluster.run(first, JobKind.UNDELETION).status is BackupStatus.CREATED
    assert cluster.verify(first)["problems"] == []
    delete(cluster, first, undelete_period=WAIT / 2)
    later(cluster)
    assert collect(cluster, dry_run=True).total.waiting_packs == 0
    assert cluster.database.backups.get(first.id).purged_at is None
    assert collect(cluster).total.waiting_packs == 3  # purged, and seen unreferenced once
    assert cluster.database.backups.get(first.id).purged_at is not None
    later(cluster)
    assert collect(cluster).total.freed_packs == 3


def test_sweep_is_refused_if_a_deleted_backup_lost_a_manifest(cluster: Cluster) -> None:
    """It could be undeleted, and its packs are not known."""
    first, _ = two_backups(cluster)
    delete(cluster, first, undelete_period=10 * WAIT)
    host_id = cluster.nodes[2].me.host_id
    cluster.store.delete(cluster_container(PREFIX, CLUSTER), node_manifest_name(first.id, host_id))
    found = collect(cluster)
    assert first.id in of_node(found, cluster, 2).error
    assert not of_node(found, cluster, 1).error


def test_survey_says_what_only_one_backup_holds(cluster: Cluster) -> None:
    first, second = two_backups(cluster)
    found = survey(cluster)
    assert found.backups == {first.id: 3 * 1000, second.id: 3 * 1000}
    before = found.total
    assert before.live_bytes == before.shared_bytes + sum(found.backups.values())
    delete(cluster, first)
    after = survey(cluster).total
    assert before.live_bytes - after.live_bytes == found.backups[first.id]


def test_survey_says_what_backups_hold_together(cluster: Cluster) -> None:
    first, second = two_backups(cluster)
    found = survey(cluster, together=[first.id, second.id])
    assert found.backups == {
        min(first.id, second.id): found.total.live_bytes - found.total.shared_bytes
    }


def test_survey_does_not_wait_for_the_cluster(cluster: Cluster, start: Start) -> None:
    cluster.backup()
    busy = cluster.database.ownership.claim([Resource.cluster(CLUSTER)], "other", timeout=30)
    assert busy is not None
    start()
    look, sweep = requested(cluster, JobKind.SURVEY), None
    jobs = cluster.database.jobs
    wait_for(lambda: jobs.get(look.id).status.finished, deadline=30, what="a survey")
    assert jobs.get(look.id).status is JobStatus.DONE
    sweep = requested(cluster)
    assert jobs.get(sweep.id).status is JobStatus.PENDING
    assert jobs.claim(sweep.id, "me", timeout=30, exclusive=True) is None
    cluster.database.ownership.release(busy)
    wait_for(lambda: jobs.get(sweep.id).status.finished, deadline=30, what="a collection")


def test_only_one_collection_at_a_time(cluster: Cluster) -> None:
    requested(cluster)
    with pytest.raises(Conflict, match=f"a collection of cluster {CLUSTER} is PENDING"):
        requested(cluster)


# Trap 1


def test_trap_1_backup_re_uses_a_pack_while_a_collection_looks(cluster: Cluster) -> None:
    """Both jobs run at once on a worker, as if neither conductor respected the other's claim."""
    first, _ = two_backups(cluster)
    delete(cluster, first)
    collect(cluster)
    later(cluster)
    # The next backup has the dead files again.
    for number, node in cluster.nodes.items():
        node.write(node.tables[0], "nb-9-big-Data.db", content(number, "nb-7"))
    looking, go_on = threading.Event(), threading.Event()

    def pause(name: str) -> None:
        if name.startswith("packs/") and not looking.is_set():
            looking.set()
            go_on.wait(30)

    cluster.store.before_delete = pause
    job, third = requested(cluster), cluster.request()
    sweeping = threading.Thread(target=run, args=(cluster, job))
    sweeping.start()
    assert looking.wait(30)
    backing_up = threading.Thread(target=cluster.run, args=(third,), kwargs={"owner": "other"})
    backing_up.start()
    wait_for(lambda: cluster.workers.starts("upload"), deadline=30, what="an upload")
    go_on.set()
    for thread in (sweeping, backing_up):
        thread.join(30)
        assert not thread.is_alive()
    assert cluster.database.backups.get(third.id).status.value == "CREATED"
    assert cluster.verify(third)["problems"] == []
    for number in cluster.nodes:
        assert cluster.restored(third, number) == cluster.contents(number)


def test_trap_1_backup_waits_for_a_collection(cluster: Cluster, start: Start) -> None:
    """A conductor gives the cluster to one of them at a time."""
    first, _ = two_backups(cluster)
    delete(cluster, first)
    collect(cluster)
    later(cluster)
    looking, go_on = threading.Event(), threading.Event()

    def pause(name: str) -> None:
        if name.startswith("packs/"):
            looking.set()
            go_on.wait(30)

    cluster.store.before_delete = pause
    start(runner=cluster.runner(collection=SETTINGS))
    job = requested(cluster)
    assert looking.wait(30)
    third = cluster.request()
    assert (
        cluster.database.jobs.claim(cluster.job(third).id, "me", timeout=30, exclusive=True) is None
    )
    assert cluster.job(third).status is JobStatus.PENDING
    go_on.set()
    jobs = cluster.database.jobs
    wait_for(lambda: cluster.job(third).status.finished, deadline=30, what="the backup")
    assert jobs.get(job.id).status is JobStatus.DONE


def test_trap_1_manifest_that_the_job_does_not_know(cluster: Cluster) -> None:
    """The task was sent before the backup began, and the listing of its manifest lags."""
    first, _ = two_backups(cluster)
    delete(cluster, first)
    collect(cluster)
    later(cluster)
    for number, node in cluster.nodes.items():
        node.write(node.tables[0], "nb-9-big-Data.db", content(number, "nb-7"))
    real, made = cluster.database.backups.manifests_of, []
    stale = {n.me.host_id: real(CLUSTER, n.me.host_id) for n in cluster.nodes.values()}
    third = cluster.backup()
    cluster.store.unlisted = lambda name: name.startswith(f"backups/{third.id}/")

    def before_start(worker_id: str, kind: TaskKind) -> None:
        made.append(kind)

    cluster.workers.before_start = before_start
    sent = cluster.workers.start

    def send_stale(worker_id: str, task_id: str, kind: TaskKind, arguments: Any) -> Any:
        if kind is TaskKind.COLLECT:
            known = stale[arguments["source"]].known
            assert all(k.backup_id != third.id for k in known)
            listed = {k.backup_id for k in known}
            kept = [k for k in arguments["known"] if k["backup_id"] in listed]
            arguments = {**arguments, "known": kept}
        return sent(worker_id, task_id, kind, arguments)

    cluster.workers.start = send_stale  # type: ignore[method-assign]
    assert collect(cluster).total.freed_packs == 0
    assert TaskKind.COLLECT in made
    assert cluster.verify(third)["problems"] == []


# Traps 5 and 6: interrupted anywhere


@pytest.mark.parametrize("step", ["containers", "node"])
def test_trap_6_collection_resumes_after_its_conductor_died(cluster: Cluster, step: str) -> None:
    first, second = two_backups(cluster)
    delete(cluster, first)
    collect(cluster)
    later(cluster)
    job = requested(cluster)
    name = cluster.nodes[2].me.host_id.replace("-", "") if step == "node" else step

    def still_owner() -> bool:
        return name not in cluster.database.jobs.step_results(job.id, 1)

    assert run(cluster, job, still_owner=still_owner).status is JobStatus.RUNNING
    ended = run(cluster, job, owner="conductor-2")
    found = result_of(ended)
    assert (ended.status, found.total.freed_packs) == (JobStatus.DONE, 3)
    assert all(count <= 2 for count in cluster.workers.starts("collect").values())
    assert cluster.verify(second)["problems"] == []


def test_trap_6_collection_resumes_after_its_worker_died(cluster: Cluster) -> None:
    first, second = two_backups(cluster)
    delete(cluster, first)
    collect(cluster)
    later(cluster)
    deaths: list[str] = []

    def die(name: str) -> None:
        if name.startswith("packs/") and not deaths:
            deaths.append(name)
            raise StorageUnavailable("the worker dies here")

    cluster.store.before_delete = die
    assert collect(cluster).total.freed_packs == 3
    assert deaths
    assert cluster.verify(second)["problems"] == []


def test_cancelled_collection_continues_with_the_next_one(cluster: Cluster) -> None:
    first, _ = two_backups(cluster)
    delete(cluster, first)
    collect(cluster)
    later(cluster)
    job = requested(cluster)

    def cancel(name: str) -> None:
        if name.startswith("packs/"):
            cluster.database.jobs.request_cancel(job.id)
            wait_for(lambda: cluster.workers.cancelled, deadline=30, what="a cancellation")

    cluster.store.before_delete = cancel
    assert run(cluster, job).status is JobStatus.CANCELLED
    cluster.store.before_delete = lambda name: None
    collect(cluster)
    assert survey(cluster).total.due_packs == 0
    assert sum(map(len, packs(cluster).values())) == survey(cluster).total.live_packs


def test_cluster_without_any_backup(cluster: Cluster) -> None:
    found = collect(cluster)
    assert (found.nodes, found.total.packs) == ({}, 0)


def test_restore_shows_that_it_waits_for_a_collection(cluster: Cluster, start: Start) -> None:
    from magnetodb_backup.domain.restore.records import RestoreRequest

    backup = cluster.backup()
    job = requested(cluster)
    claimed = cluster.database.jobs.claim(job.id, "other", timeout=30, exclusive=True)
    assert claimed is not None
    restores = cluster.database.restores
    restore = restores.create(
        RestoreRequest(backup.id), "99999999-9999-4999-8999-999999999999", CLUSTER, CLUSTER
    )
    start()
    text = "waits for the collection of this cluster"
    wait_for(lambda: restores.get(restore.id).waiting_for == text, deadline=30, what=text)
