# SPDX-License-Identifier: Apache-2.0
"""Requests are checked, recorded, and then the conductor is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Backup, BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus
from magnetodb_backup.errors import BusUnavailable, Conflict, InvalidValue, NotFound
from magnetodb_backup.plugins.loading import load_scope
from magnetodb_backup.requests.service import RecordedRequests
from tests.lab.catalogue import Clock, catalogue, job_of
from tests.unit.domain.samples import BACKUP_ID, REPORT

ALL = BackupRequest({"type": "all"})
S = BackupStatus
ENDS = [(S.CREATED,), (S.PARTIAL,), (S.CREATE_FAILED,), (S.CANCELLED,)]


class Conductor:
    """Counts how often it was woken; may be out of reach."""

    def __init__(self) -> None:
        self.woken = 0
        self.reachable = True

    def wake(self) -> None:
        self.woken += 1
        if not self.reachable:
            raise BusUnavailable("no broker")


@pytest.fixture
def database(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    with catalogue(tmp_path, clock) as database:
        database.nodes.report(REPORT)
        yield database


@pytest.fixture
def conductor() -> Conductor:
    return Conductor()


@pytest.fixture
def requests(database: Database, conductor: Conductor) -> RecordedRequests:
    return RecordedRequests(database, load_scope, conductor.wake, known_within=60, prefix="p")


def brought_to(database: Database, backup: Backup, *path: BackupStatus) -> None:
    """End the backup's job, and take the backup through the statuses."""
    database.jobs.finish(job_of(database, backup.id).id, JobStatus.DONE)
    for status in path:
        database.backups.set_status(backup.id, status)


def pending(database: Database) -> list[str]:
    return [job.kind for job in database.jobs.unfinished()]


def test_data_centres_are_recorded(requests: RecordedRequests, database: Database) -> None:
    backup = requests.create_backup(replace(ALL, data_centers=("dc1", "dc1")))
    assert backup.data_centers == ("dc1",)
    assert database.backups.get(backup.id) == backup
    assert requests.create_backup(ALL).data_centers == ()


def test_data_centre_of_which_no_worker_reports_a_node(
    requests: RecordedRequests, database: Database
) -> None:
    with pytest.raises(NotFound) as failure:
        requests.create_backup(replace(ALL, data_centers=("dc1", "dc9")))
    assert str(failure.value) == (
        "no worker reports a node of cluster 'Test Cluster' in data centre dc9; known: dc1"
    )
    assert pending(database) == []
    with pytest.raises(InvalidValue, match="'' is not the name of a data centre"):
        requests.create_backup(replace(ALL, data_centers=("",)))


def test_data_centres_are_not_judged_while_no_worker_has_seen_its_node(
    requests: RecordedRequests, database: Database
) -> None:
    database.nodes.report(replace(REPORT, member=None, problem="Cassandra does not answer"))
    assert requests.create_backup(replace(ALL, data_centers=("dc9",))).data_centers == ("dc9",)


def test_a_backup_is_recorded_with_its_job(
    requests: RecordedRequests, database: Database, conductor: Conductor
) -> None:
    scope = {"type": "tables", "tables": ["ks.t"]}
    backup = requests.create_backup(
        BackupRequest(scope, name="nightly", allow_partial=True, on_corrupt="mark")
    )
    assert database.backups.get(backup.id) == backup
    assert (backup.status, backup.scope, backup.name) == (BackupStatus.CREATING, scope, "nightly")
    assert (backup.allow_partial, backup.on_corrupt, backup.cluster) == (
        True, "mark", "Test Cluster",
    )  # fmt: skip
    (job,) = database.jobs.unfinished()
    assert (job.kind, job.backup_id, job.status) == (JobKind.BACKUP, backup.id, JobStatus.PENDING)
    assert conductor.woken == 1


def test_every_request_is_a_backup_of_its_own(requests: RecordedRequests) -> None:
    assert requests.create_backup(ALL).id != requests.create_backup(ALL).id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scope": {}}, "a scope needs a type, for example all"),
        (
            {"scope": {"type": "some"}},
            "'some' is not a scope type; installed: all, keyspaces, tables",
        ),
        ({"scope": {"type": "tables"}}, "'tables' needs 'tables'"),
        ({"scope": {"type": "all", "tables": ["ks.t"]}}, "'all' has no parameters; remove tables"),
        ({"type": "incremental"}, "backup type 'incremental' is not available yet; use full"),
        ({"on_corrupt": "ignore"}, "on_corrupt is 'ignore'; use fail or mark"),
        ({"name": "x" * 256}, "the name has 256 characters; 255 are possible"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_request_leaves_nothing_behind(
    requests: RecordedRequests,
    database: Database,
    conductor: Conductor,
    change: dict[str, Any],
    reason: str,
) -> None:
    with pytest.raises(InvalidValue) as raised:
        requests.create_backup(replace(ALL, **change))
    assert reason in str(raised.value)
    assert database.backups.list() == ()
    assert pending(database) == []
    assert conductor.woken == 0


def test_a_name_is_given_once_until_its_backup_is_deleted(
    requests: RecordedRequests, database: Database
) -> None:
    named = replace(ALL, name="nightly")
    backup = requests.create_backup(named)
    with pytest.raises(Conflict, match=rf"{backup.id} already has the name 'nightly'"):
        requests.create_backup(named)
    brought_to(database, backup, BackupStatus.CREATED, BackupStatus.DELETING, BackupStatus.DELETED)
    assert requests.create_backup(named).name == "nightly"


def test_with_several_clusters_one_must_be_named(
    requests: RecordedRequests, database: Database
) -> None:
    database.nodes.report(replace(REPORT, worker_id="w2", cluster="Other"))
    with pytest.raises(InvalidValue, match=r"name one: 'Other', 'Test Cluster'$"):
        requests.create_backup(ALL)
    assert requests.create_backup(replace(ALL, cluster="Other")).cluster == "Other"
    with pytest.raises(NotFound, match=r"a cluster 'other'; known: 'Other', 'Test Cluster'$"):
        requests.create_backup(replace(ALL, cluster="other"))


def test_several_workers_of_one_cluster_are_one_cluster(
    requests: RecordedRequests, database: Database
) -> None:
    database.nodes.report(replace(REPORT, worker_id="w2"))
    assert requests.create_backup(ALL).cluster == "Test Cluster"


def test_a_cluster_is_forgotten_when_its_workers_are_silent(
    requests: RecordedRequests, database: Database, clock: Clock
) -> None:
    clock.now += 59
    assert requests.create_backup(ALL).cluster == "Test Cluster"
    clock.now += 2
    with pytest.raises(NotFound, match=r"start magnetodb-backup-worker on the Cassandra nodes"):
        requests.create_backup(ALL)
    with pytest.raises(NotFound, match=r"no worker reports a cluster 'Test Cluster'; known: none"):
        requests.create_backup(replace(ALL, cluster="Test Cluster"))


def test_a_request_is_taken_though_the_bus_is_down(
    requests: RecordedRequests, database: Database, conductor: Conductor
) -> None:
    conductor.reachable = False
    backup = requests.create_backup(ALL)
    assert pending(database) == [JobKind.BACKUP]
    requests.cancel_backup(backup.id)
    requests.delete_backup(backup.id)
    assert JobKind.DELETION in pending(database)
    assert conductor.woken == 3


def test_a_running_backup_is_asked_to_end(
    requests: RecordedRequests, database: Database, conductor: Conductor
) -> None:
    backup = requests.create_backup(ALL)
    assert requests.cancel_backup(backup.id).status is BackupStatus.CREATING
    (job,) = database.jobs.unfinished()
    assert job.cancel_requested
    assert conductor.woken == 2


@pytest.mark.parametrize(
    "path",
    [*ENDS, (S.CREATED, S.DELETING)],
    ids=lambda path: path[-1].value,
)
def test_only_a_running_backup_can_be_cancelled(
    requests: RecordedRequests, database: Database, path: tuple[BackupStatus, ...]
) -> None:
    backup = requests.create_backup(ALL)
    brought_to(database, backup, *path)
    with pytest.raises(Conflict, match=rf"{backup.id} is {path[-1].value}; only .* CREATING"):
        requests.cancel_backup(backup.id)


@pytest.mark.parametrize(
    "path",
    [*ENDS, (S.CREATED, S.DELETING, S.DELETE_FAILED)],
    ids=lambda path: path[-1].value,
)
def test_a_finished_backup_can_be_deleted(
    requests: RecordedRequests, database: Database, path: tuple[BackupStatus, ...]
) -> None:
    backup = requests.create_backup(ALL)
    brought_to(database, backup, *path)
    assert requests.delete_backup(backup.id).status is BackupStatus.DELETING
    assert pending(database) == [JobKind.DELETION]


def test_a_running_backup_is_cancelled_before_its_deletion(
    requests: RecordedRequests, database: Database
) -> None:
    backup = requests.create_backup(ALL)
    assert requests.delete_backup(backup.id).status is BackupStatus.CREATING
    jobs = {job.kind: job for job in database.jobs.unfinished()}
    assert jobs[JobKind.BACKUP].cancel_requested
    assert not jobs[JobKind.DELETION].cancel_requested


def test_a_deletion_is_not_asked_for_twice(requests: RecordedRequests, database: Database) -> None:
    backup = requests.create_backup(ALL)
    brought_to(database, backup, BackupStatus.CREATED)
    requests.delete_backup(backup.id)
    with pytest.raises(Conflict, match=rf"a deletion of backup {backup.id} is PENDING"):
        requests.delete_backup(backup.id)
    (job,) = database.jobs.unfinished()
    database.jobs.finish(job.id, JobStatus.DONE)
    database.backups.set_status(backup.id, BackupStatus.DELETED)
    with pytest.raises(Conflict, match=rf"{backup.id} is already DELETED"):
        requests.delete_backup(backup.id)
    assert pending(database) == []


@pytest.mark.parametrize("status", [BackupStatus.CREATED, BackupStatus.PARTIAL])
@pytest.mark.parametrize("read_data", [False, True])
def test_a_complete_backup_can_be_verified(
    requests: RecordedRequests, database: Database, status: BackupStatus, read_data: bool
) -> None:
    backup = requests.create_backup(ALL)
    brought_to(database, backup, status)
    job = requests.verify_backup(backup.id, read_data=read_data)
    assert database.jobs.unfinished() == (job,)
    assert (job.kind, job.backup_id) == (JobKind.VERIFICATION, backup.id)
    rung = "read-data" if read_data else "exists"
    assert job.parameters == {"read_data": read_data, "rungs": [rung]}
    assert database.backups.get(backup.id).status is status
    with pytest.raises(Conflict, match=r"a verification of backup .* is PENDING"):
        requests.verify_backup(backup.id, read_data=read_data)


@pytest.mark.parametrize(
    ("rungs", "recorded"),
    [
        (["parse"], ["exists", "parse"]),
        (["schema", "read-data", "parse"], ["read-data", "parse", "schema"]),
        (["exists", "schema"], ["exists", "schema"]),
    ],
)
def test_rungs_are_recorded_in_their_order(
    requests: RecordedRequests, database: Database, rungs: list[str], recorded: list[str]
) -> None:
    backup = requests.create_backup(ALL)
    brought_to(database, backup, BackupStatus.CREATED)
    job = requests.verify_backup(backup.id, rungs=rungs)
    assert job.parameters == {"read_data": "read-data" in rungs, "rungs": recorded}


def test_a_rung_that_does_not_exist_is_named(
    requests: RecordedRequests, database: Database
) -> None:
    backup = requests.create_backup(ALL)
    brought_to(database, backup, BackupStatus.CREATED)
    with pytest.raises(InvalidValue, match="'parsed' is not a rung; use one of exists, read-data"):
        requests.verify_backup(backup.id, rungs=["parsed"])
    assert len(pending(database)) == 0


@pytest.mark.parametrize("path", [(), (BackupStatus.CREATE_FAILED,), (BackupStatus.CANCELLED,)])
def test_an_incomplete_backup_cannot_be_verified(
    requests: RecordedRequests, database: Database, path: tuple[BackupStatus, ...]
) -> None:
    backup = requests.create_backup(ALL)
    brought_to(database, backup, *path)
    status = path[-1] if path else BackupStatus.CREATING
    with pytest.raises(Conflict, match=rf"is {status.value}; only CREATED and PARTIAL ones"):
        requests.verify_backup(backup.id, read_data=False)


def test_a_verification_can_be_cancelled(requests: RecordedRequests, database: Database) -> None:
    backup = requests.create_backup(ALL)
    brought_to(database, backup, BackupStatus.CREATED)
    job = requests.verify_backup(backup.id, rungs=["parse"])
    assert requests.cancel_backup(backup.id).status is BackupStatus.CREATED
    assert database.jobs.get(job.id).cancel_requested
    database.jobs.finish(job.id, JobStatus.CANCELLED)
    with pytest.raises(Conflict, match=r"is CREATED; only a backup that is CREATING can be"):
        requests.cancel_backup(backup.id)


def test_a_backup_that_is_verified_is_not_deleted(
    requests: RecordedRequests, database: Database
) -> None:
    backup = requests.create_backup(ALL)
    brought_to(database, backup, BackupStatus.CREATED)
    verification = requests.verify_backup(backup.id, read_data=True)
    with pytest.raises(Conflict, match=f"{backup.id} is read by verification {verification.id}; "):
        requests.delete_backup(backup.id)
    assert database.backups.get(backup.id).status is BackupStatus.CREATED
    assert not database.jobs.get(verification.id).cancel_requested
    requests.cancel_backup(backup.id)
    database.jobs.finish(verification.id, JobStatus.CANCELLED)
    assert requests.delete_backup(backup.id).status is BackupStatus.DELETING


def test_unknown_backups_are_named(requests: RecordedRequests) -> None:
    for ask in (
        requests.cancel_backup,
        requests.delete_backup,
        requests.undelete_backup,
        lambda name: requests.verify_backup(name, read_data=False),
    ):
        with pytest.raises(NotFound, match=rf"there is no backup '{BACKUP_ID}'; see backup list"):
            ask(BACKUP_ID)


def test_cluster_whose_name_no_container_can_have(
    requests: RecordedRequests, database: Database
) -> None:
    """It is refused at once; it used to become a job that could neither work nor end."""
    name = "\u6771" * 30
    database.nodes.report(replace(REPORT, worker_id="other", cluster=name))
    with pytest.raises(InvalidValue, match="too long for Swift"):
        requests.create_backup(replace(ALL, cluster=name))
    assert pending(database) == []
