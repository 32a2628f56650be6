# SPDX-License-Identifier: Apache-2.0
"""How a run of a schedule ended whose jobs have ended."""

from __future__ import annotations

from collections.abc import Iterable

from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus
from magnetodb_backup.domain.schedule.records import RunStatus


def problem_of(job: Job) -> str:
    """Return what is wrong with a finished job, as a text; empty if nothing is."""
    if job.status is not JobStatus.DONE:
        return f"{_name(job)} is {job.status.value}: {job.error}"
    result = job.result or {}
    if job.kind == JobKind.VERIFICATION and (count := result.get("problem_count", 0)):
        found = "1 problem" if count == 1 else f"{count} problems"
        return f"{_name(job)} found {found}, see backup show {job.backup_id}"
    return ""


def remark_of(job: Job) -> str:
    """Return what a finished job without a problem could not do; empty if there is nothing."""
    left = (job.result or {}).get("left", ())
    if job.kind != JobKind.RETENTION or not left:
        return ""
    refused = "1 deletion was" if len(left) == 1 else f"{len(left)} deletions were"
    return f"{refused} refused; the next run repeats what is refused"


def status_of(ends: Iterable[tuple[JobStatus, str]]) -> RunStatus:
    """Return the end of a run by the statuses of its jobs and their problems."""
    found = list(ends)
    statuses = {status for status, _ in found}
    if JobStatus.FAILED in statuses or any(
        problem for status, problem in found if status is JobStatus.DONE
    ):
        return RunStatus.FAILED
    return RunStatus.CANCELLED if JobStatus.CANCELLED in statuses else RunStatus.DONE


def _name(job: Job) -> str:
    subject = f" of backup {job.backup_id}" if job.backup_id else ""
    return f"the {job.kind}{subject}"
