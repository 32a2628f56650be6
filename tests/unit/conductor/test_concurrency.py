# SPDX-License-Identifier: Apache-2.0
"""Each rule of ``domain.concurrency``, tried: one work runs, and another one is asked for."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.registry import DEFINITIONS
from magnetodb_backup.conductor.retention import Retention
from magnetodb_backup.conductor.waiting import waits_for
from magnetodb_backup.domain.backup.records import Backup, BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.concurrency import RULES, Outcome, Relation, Work, outcomes
from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus, Subject
from magnetodb_backup.domain.restore.records import RestoreRequest
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.errors import Conflict
from magnetodb_backup.repository.format.names import (
    deleted_manifest_name,
    manifest_name,
    node_manifest_name,
)
from magnetodb_backup.repository.stored_backups import StoredBackups
from magnetodb_backup.requests.rebuild import Rebuild
from magnetodb_backup.requests.rebuild_settings import SettingRebuild
from magnetodb_backup.requests.service import RecordedRequests
from magnetodb_backup.tasks.kinds import TaskKind
from tests.lab.processes import wait_for
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.collection.collecting import SETTINGS
from tests.unit.conductor.conductors import Conductor
from tests.unit.conductor.deleting import delete
from tests.unit.conductor.in_process import Held
from tests.unit.domain.samples import TIME
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX

OTHER = "another cluster"
KINDS = {
    Work.BACKUP: JobKind.BACKUP,
    Work.RESTORE: JobKind.RESTORE,
    Work.DELETION: JobKind.DELETION,
    Work.UNDELETION: JobKind.UNDELETION,
    Work.VERIFICATION: JobKind.VERIFICATION,
}
KEEP_ALL = Policy(redundancy=100)
EXCLUSIVE = (Work.BACKUP, Work.RESTORE, Work.COLLECTION)
OF_CLUSTER = (Work.COLLECTION, Work.SURVEY, Work.EXPIRY, Work.REBUILD)


class Silent:
    """Watches a rebuild without a word."""

    def begin(self, cluster: str, manifests: int) -> None: ...
    def advance(self) -> None: ...
    def note(self, text: str) -> None: ...


class HeldExpiry(Retention):
    """Stops before its first step, where a test asks for it."""

    def __init__(self) -> None:
        self.held: Callable[[], object] = lambda: None

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        self.held()
        return super().run(job, context)


class Bench:
    """A cluster with two backups, another one with one, and a work that is held in its middle."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.database = cluster, cluster.database
        self.release, self.begun = threading.Event(), threading.Event()
        self.requests = RecordedRequests(
            self.database, lambda scope: None, lambda: None, known_within=60, prefix=PREFIX
        )
        cluster.workers.down.add("worker-o")
        report = NodeReport("worker-o", OTHER, "machine-o", None, (), "nodetool")
        self.database.nodes.report(report)
        self.backups = {
            Relation.SAME_BACKUP: cluster.backup(),
            Relation.SAME_CLUSTER: cluster.backup(),
            Relation.OTHER_CLUSTER: self._elsewhere(),
        }
        self.deleted = {
            Relation.SAME_BACKUP: delete(cluster, cluster.backup()),
            Relation.SAME_CLUSTER: delete(cluster, cluster.backup()),
            Relation.OTHER_CLUSTER: self._deleted_elsewhere(),
        }
        self.expiry = HeldExpiry()
        self.looks = 0
        self.rebuilding: threading.Thread | None = None

    def looked(self) -> None:
        """Count the looks of the conductor."""
        self.looks += 1

    def _elsewhere(self) -> Backup:
        """Record a complete backup of the other cluster."""
        backup = self.database.backups.create(BackupRequest({}), str(uuid.uuid4()), OTHER)
        self.database.jobs.finish(self.cluster.job(backup).id, JobStatus.DONE)
        return self.database.backups.set_status(backup.id, BackupStatus.CREATED)

    def _deleted_elsewhere(self) -> Backup:
        backup, deletions = self._elsewhere(), self.database.deletions
        self.database.backups.set_status(backup.id, BackupStatus.DELETING)
        now = deletions.now()
        return deletions.record(backup.id, now, undelete_until=now + timedelta(days=7))

    def hold(self, name: str) -> None:
        """Stop the first who asks for this object, or below it."""
        lock = threading.Lock()

        def wait(asked: str) -> None:
            with lock:
                first = asked.startswith(name) and not self.begun.is_set()
                if first:
                    self.begun.set()
            if first:
                self.release.wait(60)

        self.cluster.store.before_read = self.cluster.store.before_delete = wait

    def wait(self) -> None:
        """Stop the one that calls this first."""
        if not self.begun.is_set():
            self.begun.set()
            self.release.wait(60)

    def hold_tasks(self, kind: TaskKind) -> None:
        held = Held(self.cluster.work(1), kind, self.release)
        self.cluster.workers.restart("worker-1", held)

    def begin(self, work: Work) -> Job | None:
        """Begin the first work, about the same backup; return its job once it is held."""
        backup = self.backups[Relation.SAME_BACKUP]
        if work is Work.REBUILD:
            self.hold(manifest_name(backup.id))
            self.rebuilding = threading.Thread(target=self.rebuild, args=(CLUSTER,))
            self.rebuilding.start()
            assert self.begun.wait(20)
            return None
        if work is Work.EXPIRY:
            self.expiry.held = self.wait
        elif work is Work.UNDELETION:
            backup = self.backups[Relation.SAME_BACKUP] = self.deleted[Relation.SAME_BACKUP]
            self.hold(deleted_manifest_name(backup.id))
        elif work in OF_CLUSTER:
            self.hold(node_manifest_name(backup.id, self.cluster.nodes[1].me.host_id))
        elif work is Work.BACKUP:
            self.hold_tasks(TaskKind.UPLOAD)
        elif work is Work.RESTORE:
            self.hold_tasks(TaskKind.RESTORE_PREFLIGHT)
        else:
            self.hold("packs/" if work is Work.VERIFICATION else manifest_name(backup.id))
        job = self.request(work, Relation.SAME_BACKUP, first=True)
        assert job is not None
        if work is Work.BACKUP:
            self.backups[Relation.SAME_BACKUP] = self.database.backups.get(job.backup_id)
        part = {Work.BACKUP: "upload", Work.RESTORE: "preflight"}.get(work, "")
        wait_for(
            lambda: self.cluster.workers.starts(part)["worker-1"] if part else self.begun.is_set(),
            deadline=20,
            what=f"the middle of a {work.value}",
            interval=0.01,
        )
        return job

    def request(self, work: Work, relation: Relation, *, first: bool = False) -> Job | None:
        """Ask for a work as the API does; a rebuild runs to its end."""
        target = OTHER if relation is Relation.OTHER_CLUSTER else CLUSTER
        backup = self.backups[relation]
        if work is Work.REBUILD:
            self.rebuild(target)
            return None
        if work is Work.BACKUP:
            scope = {"type": "keyspaces", "keyspaces": ["ks"]}
            made = self.requests.create_backup(BackupRequest(scope, cluster=target))
            return self.cluster.job(made)
        if work is Work.RESTORE:
            into = RestoreRequest(backup.id, cluster=target, dry_run=True)
            return self.database.jobs.get(self.requests.create_restore(into).id)
        if work is Work.COLLECTION:
            return self.requests.create_collection(target)
        if work is Work.SURVEY:
            return self.requests.create_survey(target)
        if work is Work.EXPIRY:
            self.database.retention.put(target, KEEP_ALL)
            return self.requests.apply_retention(target)
        if work is Work.DELETION:
            self.requests.delete_backup(backup.id, allow_loss=True)
        elif work is Work.UNDELETION:
            if relation is not Relation.SAME_BACKUP:
                backup = self.deleted[relation]
            self.requests.undelete_backup(backup.id)
        else:
            self.requests.verify_backup(backup.id, read_data=True)
        job = self.database.jobs.latest(Subject.backup(backup.id), KINDS[work])
        assert job is not None
        return job

    def rebuild(self, cluster: str) -> None:
        stored = StoredBackups(self.cluster.store, PREFIX)
        settings = SettingRebuild(self.database.settings, stored)
        list(Rebuild(self.database.backups, stored, Silent(), settings).run(cluster))

    def now(self, job: Job) -> Job:
        return self.database.jobs.get(job.id)

    def waits(self, job: Job) -> str:
        """Return what the record says that the job waits for; a collection has no record."""
        if job.kind == JobKind.COLLECTION:
            return ""
        if job.kind == JobKind.BACKUP:
            return self.database.backups.get(job.subject.id).waiting_for
        return self.database.restores.get(job.subject.id).waiting_for

    def end(self) -> None:
        """Let everything end."""
        self.release.set()
        for job in self.database.jobs.unfinished():
            if job.cluster == OTHER:
                self.database.jobs.request_cancel(job.id)
        wait_for(
            lambda: not self.database.jobs.unfinished(),
            deadline=60,
            what="the end of all jobs",
            interval=0.02,
        )
        if self.rebuilding:
            self.rebuilding.join(20)
            assert not self.rebuilding.is_alive()


@pytest.fixture
def bench(tmp_path: Path, database_file: Path) -> Iterator[Bench]:
    bench = Bench(Cluster(tmp_path, database_file, size=1))
    conductor = Conductor(
        bench.cluster,
        "conductor-1",
        30.0,
        runner=bench.cluster.runner(
            [d for d in DEFINITIONS if d.kind != JobKind.RETENTION] + [bench.expiry],
            outage_deadline=1.0,
            collection=SETTINGS,
        ),
        concurrent_jobs=8,
    )
    conductor.loop.also(bench.looked)
    yield bench
    bench.release.set()
    conductor.stop()
    bench.cluster.database.close()


def _soon(what: str, condition: Callable[[], object]) -> None:
    wait_for(condition, deadline=20, what=what, interval=0.01)


def _try(bench: Bench, running: Job | None, second: Work, relation: Relation) -> Outcome:
    """Ask for the second work while the first is held; return what happens to it."""
    try:
        job = bench.request(second, relation)
    except Conflict:
        return Outcome.REFUSED
    if running is not None and bench.now(running).cancel_requested:
        return Outcome.CANCELS
    if job is None:
        return Outcome.RUNS  # the rebuild has ended
    exclusive, looks = second in EXCLUSIVE, bench.looks

    def waits() -> object:
        return bench.looks > looks + 1 if second is Work.COLLECTION else bench.waits(job)

    _soon(
        f"a {second.value} that runs or waits",
        lambda: bench.now(job).status is not JobStatus.PENDING or (exclusive and waits()),
    )
    if bench.now(job).status is not JobStatus.PENDING:
        if exclusive and relation is not Relation.OTHER_CLUSTER:  # it keeps the next one waiting
            _soon("its end", lambda: bench.now(job).status.finished)
        return Outcome.RUNS
    assert running is not None
    assert bench.waits(job) == ("" if second is Work.COLLECTION else waits_for(running))
    return Outcome.WAITS


def _all_backups(first: Work, second: Work) -> bool:
    """Return whether the works meet in all backups of the cluster, not in a certain one."""
    return second in OF_CLUSTER or (first in OF_CLUSTER and second is Work.UNDELETION)


@pytest.mark.parametrize("second", Work)
@pytest.mark.parametrize("first", Work)
def test_each_beside_each(bench: Bench, first: Work, second: Work) -> None:
    running = bench.begin(first)
    found: dict[Relation, Outcome] = {}
    for relation in reversed(Relation):  # the same backup last: it may end the first work
        if RULES[first][second].of(relation) is Outcome.IMPOSSIBLE:
            assert (second, relation) == (Work.BACKUP, Relation.SAME_BACKUP)
            continue
        if relation is Relation.SAME_BACKUP and _all_backups(first, second):
            found[relation] = found[Relation.SAME_CLUSTER]  # they have no other relation
            continue
        found[relation] = _try(bench, running, second, relation)
        if running is not None and found[relation] is not Outcome.CANCELS:
            assert not bench.now(running).status.finished
    expected = {relation: RULES[first][second].of(relation) for relation in found}
    assert found == expected
    bench.end()
    if running is not None:
        ended = bench.now(running).status
        if Outcome.CANCELS not in found.values():
            assert ended is JobStatus.DONE
        elif first is Work.BACKUP:
            assert ended is JobStatus.CANCELLED
        else:  # a verification ends at its next check, which may be its end
            assert ended in (JobStatus.CANCELLED, JobStatus.DONE)


def test_every_rule_is_there() -> None:
    rules = list(outcomes())
    assert len(rules) == len(Work) ** 2 * len(Relation) == len({rule[:3] for rule in rules})
    assert {rule[3] for rule in rules if rule[2] is Relation.OTHER_CLUSTER} == {Outcome.RUNS}


def test_what_is_waited_for_has_a_name() -> None:
    """A job about the whole cluster is named by its kind."""
    subjects = {
        JobKind.COLLECTION: Subject.cluster(CLUSTER),
        JobKind.BACKUP: Subject.backup("b"),
        JobKind.VERIFICATION: Subject.backup("b"),
    }
    found = [
        waits_for(Job("j", kind, subject, CLUSTER, JobStatus.RUNNING, TIME, TIME))
        for kind, subject in subjects.items()
    ]
    names = ("the collection", "backup b", "verification of backup b")
    assert found == [f"waits for {name} of this cluster" for name in names]
