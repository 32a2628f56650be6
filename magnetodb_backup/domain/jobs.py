# SPDX-License-Identifier: Apache-2.0
"""Jobs: kinds, states and records, their subjects, and what a conductor owns while it runs one."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class JobStatus(str, enum.Enum):
    """Status of a job: PENDING until a conductor owns it."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def finished(self) -> bool:
        """True for the three final states."""
        return self in (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED)


class JobKind:
    """The kinds of jobs that requests make. A kind is a text: definitions may add others."""

    BACKUP = "backup"
    VERIFICATION = "verification"
    DELETION = "deletion"
    UNDELETION = "undeletion"
    RESTORE = "restore"
    COLLECTION = "collection"
    SURVEY = "survey"


class SubjectKind(str, enum.Enum):
    """What kind of thing a job is about."""

    BACKUP = "backup"
    RESTORE = "restore"
    NODE = "node"
    CLUSTER = "cluster"
    SCHEDULE = "schedule"
    NONE = "none"


@dataclass(frozen=True)
class Subject:
    """The thing that a job is about. ``id`` has at most 255 characters, none for NONE."""

    kind: SubjectKind
    id: str = ""

    @classmethod
    def backup(cls, backup_id: str) -> Subject:
        """Return a backup as the subject."""
        return cls(SubjectKind.BACKUP, backup_id)

    @classmethod
    def restore(cls, restore_id: str) -> Subject:
        """Return a restore as the subject."""
        return cls(SubjectKind.RESTORE, restore_id)

    @classmethod
    def cluster(cls, name: str) -> Subject:
        """Return a cluster as the subject."""
        return cls(SubjectKind.CLUSTER, name)


@dataclass(frozen=True)
class Job:
    """A job's record. ``kind`` is that of a definition; ``round`` counts the rounds of steps.

    ``progress`` is how far a running job is, where its subject's record does not show it.
    """

    id: str
    kind: str
    subject: Subject
    cluster: str
    status: JobStatus
    created_at: datetime
    updated_at: datetime
    parameters: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None
    error: str = ""
    error_code: str = ""
    round: int = 1
    cancel_requested: bool = False
    owner: str = ""
    progress: Mapping[str, Any] | None = None

    @property
    def backup_id(self) -> str:
        """The backup that the job works on or restores, empty if there is none."""
        if self.subject.kind is SubjectKind.BACKUP:
            return self.subject.id
        return str(self.parameters.get("backup_id", ""))  # of a restore's request


@dataclass(frozen=True, order=True)
class Resource:
    """A job or a cluster that one conductor owns. ``key`` has at most 64 ASCII characters."""

    key: str

    @classmethod
    def job(cls, job_id: str) -> Resource:
        """Return a job as a resource."""
        return cls(f"job:{job_id}")

    @classmethod
    def cluster(cls, name: str) -> Resource:
        """Return a cluster as a resource; names are hashed, so they may have any characters."""
        return cls(f"cluster:{hashlib.sha256(name.encode()).hexdigest()[:48]}")


@dataclass(frozen=True)
class Fence:
    """The generations of the resources that ``owner`` claimed together, by resource.

    A write that carries a fence is refused once one of them has another owner or generation.
    """

    owner: str
    generations: tuple[tuple[Resource, int], ...]
