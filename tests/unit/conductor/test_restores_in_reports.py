# SPDX-License-Identifier: Apache-2.0
"""Reports of workers are answered with the restores whose files must stay."""

from __future__ import annotations

import uuid
from dataclasses import replace

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.domain.restore.records import RestorePhase, RestoreRequest, RestoreStatus
from magnetodb_backup.domain.ring import NodeReport
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.conductors import Start
from tests.unit.worker.fake_cql import CLUSTER

CREATED = BackupStatus.CREATED


def test_reports_are_answered_with_restores_into_the_cluster(
    cluster: Cluster, start: Start
) -> None:
    """What they staged must stay."""
    backup, database = cluster.request(), cluster.database
    database.backups.set_status(backup.id, CREATED)
    cluster.database.jobs.finish(cluster.job(backup).id, JobStatus.DONE)
    conductor = start(runner=cluster.runner(definitions=()))  # the jobs stay where they are
    request = RestoreRequest(backup.id)
    into, other = (
        database.restores.create(request, str(uuid.uuid4()), CLUSTER, target)
        for target in (CLUSTER, "another cluster")
    )
    report = NodeReport("worker-9", CLUSTER, "machine-9", None, (), "nodetool")
    assert conductor.loop.take_report(report) == (into.id,)
    assert conductor.loop.take_report(replace(report, cluster="another cluster")) == (other.id,)
    database.restores.set_status(into.id, RestoreStatus.RESTORED)
    assert conductor.loop.take_report(report) == ()


def test_ended_restores(cluster: Cluster, start: Start) -> None:
    """What only another database may know is not said to have ended."""
    backup, database = cluster.request(), cluster.database
    database.backups.set_status(backup.id, CREATED)
    conductor = start(runner=cluster.runner(definitions=()))

    def ended(status: RestoreStatus, phase: RestorePhase) -> str:
        request = RestoreRequest(backup.id)
        restore = database.restores.create(request, str(uuid.uuid4()), CLUSTER, CLUSTER)
        database.restores.update(restore.id, phase=phase.value)
        database.restores.set_status(restore.id, status)
        return restore.id

    failed = ended(RestoreStatus.RESTORE_FAILED, RestorePhase.DOWNLOAD)
    early = ended(RestoreStatus.CANCELLED, RestorePhase.DOWNLOAD)
    late = ended(RestoreStatus.CANCELLED, RestorePhase.SCHEMA)
    restored = ended(RestoreStatus.RESTORED, RestorePhase.CLEANUP)
    running = ended(RestoreStatus.RESTORING, RestorePhase.IMPORT)
    asked = [failed, early, late, restored, running, str(uuid.uuid4())]
    assert conductor.loop.ended_restores(asked) == {
        failed: True,
        early: False,
        late: True,
        restored: False,
    }
