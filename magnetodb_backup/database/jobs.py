# SPDX-License-Identifier: Apache-2.0
"""Jobs and the stored results of their steps."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from magnetodb_backup.database import ownership
from magnetodb_backup.database.backup_rows import BACKUPS, UNFINISHED, unfinished_about
from magnetodb_backup.database.models import BackupRow, JobRow, JobStepRow, RestoreRow
from magnetodb_backup.database.records import now
from magnetodb_backup.database.schedule_runs import record_job_outcome
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.domain.jobs import Fence, Job, JobStatus, Resource, Subject, SubjectKind
from magnetodb_backup.errors import Conflict, NotFound

# The records that show what their jobs wait for.
_SUBJECTS: dict[str, type[BackupRow | RestoreRow]] = {
    SubjectKind.BACKUP.value: BackupRow,
    SubjectKind.RESTORE.value: RestoreRow,
}


def _row(session: Session, job_id: str, *, lock: bool = False) -> JobRow:
    row = session.get(JobRow, job_id, with_for_update=lock or None)
    if row is None:
        raise NotFound(f"there is no job {job_id!r}")
    return row


def _unfinished_row(session: Session, job_id: str, *, lock: bool) -> JobRow:
    row = _row(session, job_id, lock=lock)
    if JobStatus(row.status).finished:
        raise Conflict(f"job {job_id} is already {row.status}")
    return row


class JobStore:
    """Reads and writes jobs; each method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def create(
        self, kind: str, subject: Subject, cluster: str, parameters: Mapping[str, Any]
    ) -> Job:
        """Record a job.

        :raises NotFound: if the subject is a backup that does not exist.
        :raises Conflict: if another job about the subject is not finished, unless it is NONE, or
            a cluster, which may have one of each kind.
        """
        has_row = subject.kind is SubjectKind.BACKUP

        def work(session: Session) -> Job:
            if has_row:
                BACKUPS.get(session, subject.id, lock=True)  # serialises requests about one backup
            if subject.kind is SubjectKind.NONE:
                others: list[JobRow] = []
            else:
                others = unfinished_about(session, subject)
            if subject.kind is SubjectKind.CLUSTER:
                others = [other for other in others if other.kind == kind]
            for other in others:
                raise Conflict(
                    f"a {other.kind} of {subject.kind.value} {subject.id} is {other.status}; wait "
                    "for its end"
                )
            row = JobRow.pending(
                str(uuid.uuid4()), kind, subject, cluster, created_at=now(), parameters=parameters
            )
            session.add(row)
            session.flush()
            return row.record()

        return self._transactions.write(work, serializable=not has_row)

    def get(self, job_id: str) -> Job:
        """Return a job; NotFound if there is none."""
        return self._transactions.run(lambda s: _row(s, job_id).record())

    def latest(self, subject: Subject, kind: str) -> Job | None:
        """Return the newest job of a kind about the subject."""

        def work(session: Session) -> Job | None:
            query = select(JobRow).where(
                JobRow.subject_kind == subject.kind.value,
                JobRow.subject_id == subject.id,
                JobRow.kind == kind,
            )
            row = session.scalars(query.order_by(JobRow.created_at.desc()).limit(1)).first()
            return row.record() if row else None

        return self._transactions.run(work)

    def newest_parameters(
        self, kind: str, cluster: str, limit: int
    ) -> tuple[Mapping[str, Any], ...]:
        """Return the parameters of the newest jobs of a kind in a cluster, newest first."""

        def work(session: Session) -> tuple[Mapping[str, Any], ...]:
            query = select(JobRow.parameters).where(JobRow.kind == kind, JobRow.cluster == cluster)
            newest = query.order_by(JobRow.created_at.desc(), JobRow.id).limit(limit)
            return tuple(session.scalars(newest))

        return self._transactions.run(work)

    def unfinished(self) -> tuple[Job, ...]:
        """Return the jobs that are not finished, oldest first."""

        def work(session: Session) -> tuple[Job, ...]:
            query = select(JobRow).where(JobRow.status.in_(UNFINISHED))
            rows = session.scalars(query.order_by(JobRow.created_at, JobRow.id))
            return tuple(row.record() for row in rows)

        return self._transactions.run(work)

    def current(self, job_id: str) -> Job:
        """Return a job as ``get()`` does.

        :raises OwnershipLost: in a fenced database, if the fence does not hold any more.
        """

        def work(session: Session) -> Job:
            self._transactions.confirm(session, lock=False)
            return _row(session, job_id).record()

        return self._transactions.run(work)

    def claim(
        self, job_id: str, owner: str, *, timeout: float, exclusive: bool = False
    ) -> tuple[Job, Fence] | None:
        """Claim an unfinished job, and its cluster where it works ``exclusive`` on that.

        Returns None if the job or the cluster has a live owner: one whose last heartbeat is
        less than ``timeout`` seconds old.

        :raises Conflict: if the job is finished.
        """

        def work(session: Session) -> tuple[Job, Fence] | None:
            row = _unfinished_row(session, job_id, lock=False)
            resources = [Resource.job(job_id)]
            if exclusive:
                resources.append(Resource.cluster(row.cluster))
            fence = ownership.claim(session, resources, owner, timeout)
            if fence is None:
                return None
            row = _unfinished_row(session, job_id, lock=True)
            row.status, row.owner, row.updated_at = JobStatus.RUNNING.value, owner, now()
            session.flush()
            return row.record(), fence

        return self._transactions.run(work)

    def finish(
        self,
        job_id: str,
        status: JobStatus,
        *,
        result: Mapping[str, Any] | None = None,
        error: str = "",
        error_code: str = "",
    ) -> Job:
        """Record how the job ended; it has no owner afterwards, and no fence of it holds."""

        def work(session: Session) -> Job:
            row = _row(session, job_id, lock=True)
            row.status, row.updated_at = status.value, now()
            row.result = dict(result) if result is not None else None
            row.error, row.error_code = error, error_code
            ownership.forget(session, Resource.job(job_id))
            record_job_outcome(session, row.record(), row.updated_at)
            session.flush()
            return row.record()

        return self._transactions.write(work)

    def request_cancel(self, job_id: str) -> Job:
        """Ask the job to end; it does at its next check."""

        def work(session: Session) -> Job:
            row = _row(session, job_id, lock=True)
            row.cancel_requested, row.updated_at = True, now()
            session.flush()
            return row.record()

        return self._transactions.write(work)

    def show_waiting(self, job_id: str, text: str) -> None:
        """Show in the record of a backup or restore what its job, still PENDING, waits for."""

        def work(session: Session) -> None:
            job = _row(session, job_id, lock=True)
            row = _SUBJECTS.get(job.subject_kind)
            if row is not None and job.status == JobStatus.PENDING.value:
                values = {"waiting_for": text, "updated_at": now()}
                session.execute(update(row).where(row.id == job.subject_id).values(values))

        self._transactions.write(work)

    def next_round(self, job_id: str) -> Job:
        """Begin the next round: no step of it has a result yet."""

        def work(session: Session) -> Job:
            row = _row(session, job_id, lock=True)
            row.round, row.updated_at = row.round + 1, now()
            session.flush()
            return row.record()

        return self._transactions.write(work)

    def show_progress(self, job_id: str, progress: Mapping[str, Any]) -> None:
        """Record how far a job is."""

        def work(session: Session) -> None:
            row = _row(session, job_id, lock=True)
            row.progress, row.updated_at = dict(progress), now()

        self._transactions.write(work)

    def step_results(self, job_id: str, round_: int) -> dict[str, dict[str, Any]]:
        """Return the round's stored results by step name."""

        def work(session: Session) -> dict[str, dict[str, Any]]:
            query = select(JobStepRow).where(
                JobStepRow.job_id == job_id, JobStepRow.round == round_
            )
            return {row.name: row.result for row in session.scalars(query)}

        return self._transactions.run(work)

    def save_step(self, job_id: str, round_: int, name: str, result: Mapping[str, Any]) -> None:
        """Store a step's result; the first one stays."""

        def work(session: Session) -> None:
            if session.get(JobStepRow, (job_id, round_, name)) is None:
                session.add(
                    JobStepRow(
                        job_id=job_id,
                        round=round_,
                        name=name,
                        result=dict(result),
                        finished_at=now(),
                    )
                )

        self._transactions.write(work)
