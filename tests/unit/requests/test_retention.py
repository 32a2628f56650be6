# SPDX-License-Identifier: Apache-2.0
"""Requests about retention are checked, recorded, and then the conductor is woken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.errors import Conflict, InvalidValue, NotFound
from magnetodb_backup.requests.service import RecordedRequests
from tests.lab.catalogue import recorded
from tests.unit.domain.samples import REPORT
from tests.unit.requests.test_backups import Conductor, conductor, database, requests

__all__ = ["conductor", "database", "requests"]  # fixtures
CLUSTER, S = REPORT.cluster, BackupStatus
POLICY = Policy(redundancy=2)


def test_a_policy_of_the_only_cluster(requests: RecordedRequests, database: Database) -> None:
    made = requests.set_retention(None, POLICY)
    assert (made.cluster, made.policy) == (CLUSTER, POLICY)
    assert database.retention.list() == (made,)
    assert requests.clear_retention(None) == made
    assert database.retention.list() == ()


def test_a_wrong_policy_changes_nothing(requests: RecordedRequests, database: Database) -> None:
    requests.set_retention(None, POLICY)
    for wrong in (Policy(), Policy(redundancy=-1), Policy(daily=1, time_zone="Mars")):
        with pytest.raises(InvalidValue):
            requests.set_retention(None, wrong)
    assert database.retention.get(CLUSTER).policy == POLICY


def test_a_cluster_without_workers_that_has_backups(
    requests: RecordedRequests, database: Database
) -> None:
    with pytest.raises(NotFound, match="no cluster 'old' with a worker or a backup; known: 'Test"):
        requests.set_retention("old", POLICY)
    recorded(database, "old", S.CREATED)
    with pytest.raises(InvalidValue, match="several clusters, name one: 'Test Cluster', 'old'"):
        requests.set_retention(None, POLICY)
    assert requests.set_retention("old", POLICY).cluster == "old"
    assert requests.plan_retention(None).cluster == "old"


def test_a_policy_is_asked_for_by_its_cluster(requests: RecordedRequests) -> None:
    for wanted in (None, CLUSTER):
        for work in (
            requests.clear_retention, requests.plan_retention, requests.apply_retention,
        ):  # fmt: skip
            with pytest.raises(NotFound, match=r"no cluster .*with a retention policy, see"):
                work(wanted)


def test_applying_is_a_job(
    requests: RecordedRequests, database: Database, conductor: Conductor
) -> None:
    requests.set_retention(None, POLICY)
    assert conductor.woken == 1  # to copy the policy to the store
    job = requests.apply_retention(CLUSTER)
    assert (job.kind, job.cluster, job.subject.id) == (JobKind.RETENTION, CLUSTER, CLUSTER)
    assert database.jobs.unfinished() == (job,)
    assert conductor.woken == 2
    with pytest.raises(Conflict, match="a retention of cluster Test Cluster is PENDING; wait"):
        requests.apply_retention(CLUSTER)


def test_marks(requests: RecordedRequests, database: Database) -> None:
    backup = recorded(database, CLUSTER, S.CREATED)
    kept = requests.keep_backup(backup.id, " audit ")
    assert kept == database.backups.get(backup.id)
    assert kept.kept_reason == "audit"
    with pytest.raises(InvalidValue, match="reason is empty"):
        requests.keep_backup(backup.id, " ")
    with pytest.raises(Conflict, match="is to be kept: audit"):
        requests.delete_backup(backup.id)
    assert requests.unkeep_backup(backup.id).kept_reason == ""
    assert requests.unkeep_backup(backup.id).kept_at is None
    assert requests.delete_backup(backup.id).status is S.DELETING


def test_a_loss_is_allowed_explicitly(requests: RecordedRequests, database: Database) -> None:
    requests.set_retention(None, POLICY)
    backup = recorded(database, CLUSTER, S.CREATED)
    with pytest.raises(Conflict, match=r"0 of 2 restorable backups.*--allow-loss"):
        requests.delete_backup(backup.id)
    assert requests.delete_backup(backup.id, allow_loss=True).status is S.DELETING


def test_each_change_wakes_the_conductor_which_copies_it(
    requests: RecordedRequests, database: Database, conductor: Conductor
) -> None:
    """An unreachable conductor finds the change at its next look."""
    backup = recorded(database, CLUSTER, S.CREATED)
    conductor.reachable = False
    changes: list[Callable[[], object]] = [
        lambda: requests.set_retention(CLUSTER, POLICY),
        lambda: requests.keep_backup(backup.id, "audit"),
        lambda: requests.unkeep_backup(backup.id),
        lambda: requests.clear_retention(CLUSTER),
    ]
    for number, change in enumerate(changes, start=1):
        change()
        assert conductor.woken == number
    assert len(database.settings.pending(10)) == 2
