# SPDX-License-Identifier: Apache-2.0
"""What the API and the command line ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from magnetodb_backup.database.retention import Plan
from magnetodb_backup.domain.backup.records import Backup, BackupRequest
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.domain.restore.records import Restore, RestoreRequest
from magnetodb_backup.domain.retention.policy import ClusterPolicy, Policy
from magnetodb_backup.domain.schedule.records import Schedule, ScheduleRequest, ScheduleRun


class Requests(Protocol):
    """Takes requests; each method raises InvalidValue, NotFound or Conflict."""

    def create_backup(self, request: BackupRequest) -> Backup:
        """Record a backup that is to be made."""

    def cancel_backup(self, backup_id: str) -> Backup:
        """Ask for the end of a running backup, or of its verification."""

    def delete_backup(self, backup_id: str, *, allow_loss: bool = False) -> Backup:
        """Ask for a backup's deletion; one that runs is cancelled first."""

    def undelete_backup(self, backup_id: str) -> Backup:
        """Ask for the undeletion of a deleted backup."""

    def keep_backup(self, backup_id: str, reason: str) -> Backup:
        """Keep a backup for ever."""

    def unkeep_backup(self, backup_id: str) -> Backup:
        """Keep a backup only as long as the retention policy does."""

    def verify_backup(
        self,
        backup_id: str,
        *,
        read_data: bool = False,
        rungs: Sequence[str] = (),
        sample: float | None = None,
        seed: int | None = None,
        as_of: datetime | None = None,
    ) -> Job:
        """Ask for a verification of the named rungs; return its job.

        With ``sample`` (a percentage) only so much of the data is read. Without a ``seed`` it is
        the sample after the last one of backups with the same scope. With ``as_of`` the store is
        read as it was then, and nothing is recorded of its present state.
        """

    def create_collection(
        self,
        cluster: str | None,
        *,
        dry_run: bool = False,
        grace: float | None = None,
        repack: int | None = None,
        repack_minimum: int | None = None,
    ) -> Job:
        """Ask for the removal of the packs that no backup needs; return its job."""

    def create_survey(self, cluster: str | None, together: Sequence[str] = ()) -> Job:
        """Ask for a report of what is stored; return its job."""

    def create_restore(self, request: RestoreRequest) -> Restore:
        """Record a restore that is to be made, or planned."""

    def cancel_restore(self, restore_id: str) -> Restore:
        """Ask for the end of a running restore."""

    def create_schedule(self, request: ScheduleRequest) -> Schedule:
        """Record a schedule."""

    def change_schedule(self, schedule_id: str, changes: Mapping[str, Any]) -> Schedule:
        """Change fields of a schedule."""

    def delete_schedule(self, schedule_id: str) -> None:
        """Remove a schedule; its backups stay."""

    def pause_schedule(self, schedule_id: str) -> Schedule:
        """Let a schedule begin nothing by itself."""

    def resume_schedule(self, schedule_id: str) -> Schedule:
        """Let a paused schedule run again."""

    def run_schedule(self, schedule_id: str) -> ScheduleRun:
        """Begin a run of a schedule now."""

    def known_clusters(self) -> tuple[str, ...]:
        """Return the names of the clusters that have workers or backups."""

    def set_retention(self, cluster: str | None, policy: Policy) -> ClusterPolicy:
        """Give a cluster a retention policy, in place of one that it has."""

    def clear_retention(self, cluster: str | None) -> ClusterPolicy:
        """Remove the retention policy of a cluster; return it."""

    def plan_retention(self, cluster: str | None) -> Plan:
        """Return what the retention policies of a cluster and its schedules decide now."""

    def apply_retention(self, cluster: str | None) -> Job:
        """Ask for the deletion of what expires; return the job."""
