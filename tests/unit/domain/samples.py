# SPDX-License-Identifier: Apache-2.0
"""Small complete records that tests alter with ``dataclasses.replace``."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from magnetodb_backup.domain.backup.findings import DamagedObject, Finding
from magnetodb_backup.domain.backup.proofs import Outcome, Proof, Rung
from magnetodb_backup.domain.backup.records import (
    Backup,
    BackupRequest,
    Node,
    NodeBackup,
    Progress,
)
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus, Subject
from magnetodb_backup.domain.restore.records import (
    NodeRestore,
    Restore,
    RestoreProgress,
    RestoreRequest,
    RestoreStatus,
)
from magnetodb_backup.domain.ring import DirectorySpace, NodeReport, RingMember
from magnetodb_backup.domain.schedule.records import (
    RunStatus,
    Schedule,
    ScheduleRun,
    ScheduleState,
    ScheduleStatus,
    Timing,
)

BACKUP_ID = "8c7a66f6-5b9e-4f0c-9d43-0a3b7c1f2ad1"
HOST_ID = "2f3c0a56-6f0c-4d0e-8f1e-0d7f4a9b8c11"
# 14:30:00.123 in Tokyo is 05:30:00.123 in UTC.
TIME = datetime(2024, 5, 6, 14, 30, 0, 123456, timezone(timedelta(hours=9)))
LOWEST_TOKEN, HIGHEST_TOKEN = -(1 << 63), (1 << 63) - 1

MEMBER = RingMember(
    host_id=HOST_ID,
    address="10.0.0.1",
    dc="dc1",
    rack="r1",
    version="5.0.9",
    tokens=(LOWEST_TOKEN, 0, HIGHEST_TOKEN),
    schema_version="c9b1a0a4-0000-4000-8000-000000000001",
)
REPORT = NodeReport(
    worker_id="w1",
    cluster="Test Cluster",
    hostname="node1",
    member=MEMBER,
    directories=(DirectorySpace("/data1", 10, 100), DirectorySpace("/data2", 20, 200)),
    node_control="nodetool",
)
NODE = Node(REPORT, first_seen=TIME, last_seen=TIME, live=True)
BACKUP = Backup(
    id=BACKUP_ID,
    name="nightly",
    cluster="Test Cluster",
    status=BackupStatus.CREATED,
    scope={"type": "all"},
    type="full",
    allow_partial=False,
    on_corrupt="fail",
    created_at=TIME,
    updated_at=TIME,
)
NODE_BACKUP = NodeBackup(
    backup_id=BACKUP_ID,
    host_id=HOST_ID,
    address="10.0.0.1",
    dc="dc1",
    rack="r1",
    phase="upload",
    progress=Progress(files_total=7, files_done=3),
    corrupt_files=("/data1/ks/t/nb-1-big-Data.db",),
)
PROOF = Proof(
    keyspace="shop",
    table="orders",
    rung=Rung.PARSE,
    outcome=Outcome.FAILED,
    proved_at=TIME,
    job_id="11111111-2222-4333-8444-555555555555",
    detail="node 10.0.0.1: sstable nb-1-big: EOFException",
)
FINDING = Finding(
    object=DamagedObject.PACK,
    cluster="Test Cluster",
    host_id="44444444-2222-4333-8444-555555555555",
    name="ab" * 32,
    problem="missing",
    detail="the pack is not in the store",
    first_seen=TIME,
    last_seen=TIME,
    job_id="11111111-2222-4333-8444-555555555555",
    backup_id=BACKUP_ID,
    found_in=(BACKUP_ID,),
)
JOB = Job(
    id="11111111-2222-4333-8444-555555555555",
    kind=JobKind.VERIFICATION,
    subject=Subject.backup(BACKUP_ID),
    cluster="Test Cluster",
    status=JobStatus.RUNNING,
    created_at=TIME,
    updated_at=TIME,
    parameters={"read_data": True},
)
RESTORE = Restore(
    id="33333333-2222-4333-8444-555555555555",
    backup_id=BACKUP_ID,
    source_cluster="Test Cluster",
    cluster="Other Cluster",
    status=RestoreStatus.RESTORING,
    request=RestoreRequest(BACKUP_ID, tables=("ks.t",)),
    created_at=TIME,
    updated_at=TIME,
    plan={"bytes": 7, "problems": []},
    tables={"ks.t": "untouched"},
)
NODE_RESTORE = NodeRestore(
    restore_id=RESTORE.id,
    host_id=HOST_ID,
    address="10.0.0.1",
    dc="dc1",
    rack="r1",
    phase="download",
    progress=RestoreProgress(files_total=7, files_done=3, bytes_total=100, bytes_done=40),
)
SCHEDULE = Schedule(
    id="3b0d5a52-7c0b-4a53-8f0e-6a1f0c2d9e77",
    name="nightly",
    cluster="Test Cluster",
    status=ScheduleStatus.ACTIVE,
    timing=Timing("30 2 * * *", "Europe/Berlin"),
    backup=BackupRequest({"type": "all"}, cluster="Test Cluster"),
    planned_until=TIME,
    created_at=TIME,
    updated_at=TIME,
)
SCHEDULE_RUN = ScheduleRun(
    SCHEDULE.id, TIME, TIME, RunStatus.CREATED, TIME, BACKUP_ID, finished_at=TIME
)
SCHEDULE_STATE = ScheduleState(SCHEDULE, SCHEDULE_RUN, TIME, runs=(SCHEDULE_RUN,))
