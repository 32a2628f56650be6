# SPDX-License-Identifier: Apache-2.0
"""Requests for restores are checked, recorded, and then the conductor is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind
from magnetodb_backup.domain.restore.records import RestoreRequest, RestoreStatus
from magnetodb_backup.domain.tables import (
    KeyspaceDescription,
    Selection,
    TableDescription,
    TableName,
)
from magnetodb_backup.errors import Conflict, InvalidValue, NotFound
from magnetodb_backup.requests.service import RecordedRequests
from tests.lab.catalogue import MISSING, recorded
from tests.unit.domain.samples import REPORT

SELECTION = Selection(
    (KeyspaceDescription("shop"),), (TableDescription(TableName("shop", "orders"), "0" * 32),)
)


@pytest.fixture
def woken() -> list[str]:
    """What told the conductor to look."""
    return []


@pytest.fixture
def requests(database: Database, woken: list[str]) -> RecordedRequests:
    return RecordedRequests(
        database, lambda _: None, lambda: woken.append(""), known_within=60, prefix="p"
    )


def of(database: Database, cluster: str = REPORT.cluster) -> Backup:
    """Return a complete backup of one table."""
    backup = recorded(database, cluster, BackupStatus.CREATED)
    return database.backups.update(backup.id, selection=SELECTION.as_json())


def test_a_restore_is_recorded_with_its_job(
    requests: RecordedRequests, database: Database, woken: list[str]
) -> None:
    asked = RestoreRequest(of(database).id, tables=("shop.orders",), to_keyspace='"Copy"')
    restore = requests.create_restore(asked)
    assert database.restores.get(restore.id) == restore
    assert restore.request == replace(asked, to_keyspace="Copy")
    assert (restore.status, restore.cluster) == (RestoreStatus.RESTORING, REPORT.cluster)
    (job,) = database.jobs.unfinished()
    assert (job.id, job.kind) == (restore.id, JobKind.RESTORE)
    assert len(woken) == 1


def test_a_wrong_request_leaves_nothing_behind(
    requests: RecordedRequests, database: Database, woken: list[str]
) -> None:
    backup = of(database)
    for error, wrong in (
        (NotFound, RestoreRequest(MISSING)),
        (NotFound, RestoreRequest(backup.id, tables=("shop.nope",))),
        (NotFound, RestoreRequest(backup.id, cluster="other")),
        (InvalidValue, RestoreRequest(backup.id, to_table="new")),
        (Conflict, RestoreRequest(recorded(database, "c", BackupStatus.CREATE_FAILED).id)),
    ):
        with pytest.raises(error):
            requests.create_restore(wrong)
    assert database.restores.list() == ()
    assert database.jobs.unfinished() == ()
    assert woken == []


def test_the_target_is_the_backups_own_cluster_if_it_is_there(
    requests: RecordedRequests, database: Database
) -> None:
    database.nodes.report(replace(REPORT, worker_id="w2", cluster="Other"))
    own, foreign = of(database), of(database, "Gone")
    assert requests.create_restore(RestoreRequest(own.id)).cluster == REPORT.cluster
    elsewhere = requests.create_restore(RestoreRequest(own.id, cluster="Other"))
    assert (elsewhere.source_cluster, elsewhere.cluster) == (REPORT.cluster, "Other")
    with pytest.raises(InvalidValue, match=r"\(REST: cluster\): 'Other', 'Test Cluster'$"):
        requests.create_restore(RestoreRequest(foreign.id))


def test_another_cluster_is_not_chosen_though_it_is_the_only_one(
    requests: RecordedRequests, database: Database
) -> None:
    """The backup's own has not reported for a while: replace would empty tables of the other."""
    foreign = of(database, "Gone")
    with pytest.raises(InvalidValue, match=r"own cluster 'Gone'; name .*: 'Test Cluster'$"):
        requests.create_restore(RestoreRequest(foreign.id))
    restore = requests.create_restore(RestoreRequest(foreign.id, cluster=REPORT.cluster))
    assert (restore.source_cluster, restore.cluster) == ("Gone", REPORT.cluster)


def test_a_running_restore_is_asked_to_end(
    requests: RecordedRequests, database: Database, woken: list[str]
) -> None:
    backup = of(database)
    stays, ends = (requests.create_restore(RestoreRequest(backup.id)) for _ in range(2))
    assert requests.cancel_restore(ends.id).status is RestoreStatus.RESTORING
    assert database.jobs.get(ends.id).cancel_requested
    assert not database.jobs.get(stays.id).cancel_requested
    assert len(woken) == 3


@pytest.mark.parametrize("status", [s for s in RestoreStatus if s is not RestoreStatus.RESTORING])
def test_only_a_running_restore_can_be_cancelled(
    requests: RecordedRequests, database: Database, status: RestoreStatus
) -> None:
    restore = requests.create_restore(RestoreRequest(of(database).id))
    database.restores.set_status(restore.id, status)
    with pytest.raises(Conflict, match=rf"{restore.id} is {status.value}; only .* RESTORING"):
        requests.cancel_restore(restore.id)
    with pytest.raises(NotFound, match=MISSING):
        requests.cancel_restore(MISSING)


def test_a_backup_that_is_restored_is_not_deleted(
    requests: RecordedRequests, database: Database
) -> None:
    backup = of(database)
    restore = requests.create_restore(RestoreRequest(backup.id))
    with pytest.raises(Conflict, match=f"is read by restore {restore.id}"):
        requests.delete_backup(backup.id)
    database.restores.set_status(restore.id, RestoreStatus.PLANNED)
    assert requests.delete_backup(backup.id).status is BackupStatus.DELETING
