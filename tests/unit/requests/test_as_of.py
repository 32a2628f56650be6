# SPDX-License-Identifier: Apache-2.0
"""Requests to verify a backup in an earlier state of the store."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.errors import Conflict, InvalidValue
from magnetodb_backup.plugins.loading import load_scope
from magnetodb_backup.requests.service import RecordedRequests
from tests.lab.catalogue import recorded
from tests.unit.domain.samples import REPORT

S = BackupStatus
CLUSTER = REPORT.cluster


@pytest.fixture
def requests(database: Database) -> RecordedRequests:
    return RecordedRequests(database, load_scope, lambda: None, known_within=60, prefix="p")


@pytest.fixture
def then(database: Database) -> datetime:
    return database.deletions.now().astimezone(timezone.utc) - timedelta(days=1)


@pytest.mark.parametrize("status", [S.CREATED, S.PARTIAL, S.DELETED])
def test_the_time_is_recorded(
    requests: RecordedRequests, database: Database, then: datetime, status: BackupStatus
) -> None:
    """A backup that was deleted through the service too can be looked at."""
    backup = recorded(database, CLUSTER, status)
    job = requests.verify_backup(backup.id, as_of=then)
    assert database.jobs.get(job.id).parameters == {
        "read_data": False, "rungs": ["exists"], "as_of": then.isoformat(),
    }  # fmt: skip


@pytest.mark.parametrize("status", [S.CREATING, S.CREATE_FAILED, S.CANCELLED])
def test_what_never_was_whole_is_refused(
    requests: RecordedRequests, database: Database, then: datetime, status: BackupStatus
) -> None:
    with pytest.raises(Conflict, match=status.value):
        requests.verify_backup(recorded(database, CLUSTER, status).id, as_of=then)


def test_the_future_is_refused(
    requests: RecordedRequests, database: Database, then: datetime
) -> None:
    backup = recorded(database, CLUSTER, S.CREATED)
    with pytest.raises(InvalidValue, match="in the future"):
        requests.verify_backup(backup.id, as_of=then + timedelta(days=2))


def test_its_sample_is_not_one_of_the_series(
    requests: RecordedRequests, database: Database, then: datetime
) -> None:
    backup = recorded(database, CLUSTER, S.CREATED)
    seeds = []
    for as_of in (None, then, None):
        job = requests.verify_backup(backup.id, read_data=True, sample=5, as_of=as_of)
        seeds.append(job.parameters["sample"]["seed"])
        database.jobs.finish(job.id, JobStatus.CANCELLED)
    assert seeds[2] == seeds[0] + 1
