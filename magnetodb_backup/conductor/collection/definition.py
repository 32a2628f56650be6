# SPDX-License-Identifier: Apache-2.0
"""The kinds of jobs that look at the packs of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magnetodb_backup.conductor.collection.job import CollectionJob
from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.domain.jobs import Job, JobKind, SubjectKind
from magnetodb_backup.errors import BackupError


class Collection:
    """Removes packs; no backup or restore works on the cluster meanwhile."""

    kind = JobKind.COLLECTION
    subject = SubjectKind.CLUSTER
    exclusive = True
    background = False

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Return what was found and freed."""
        return CollectionJob(job, context).run()

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Do nothing: the job's record has the error, and the next collection continues."""


class Survey:
    """Counts what is stored and what each backup holds; removes nothing, and waits for no job."""

    kind = JobKind.SURVEY
    subject = SubjectKind.NONE
    exclusive = False
    background = True

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Return what was found."""
        return CollectionJob(job, context, survey=True).run()

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Do nothing: the job's record has the error."""
