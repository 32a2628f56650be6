# SPDX-License-Identifier: Apache-2.0
"""What a job is about, and what a conductor owns while it runs the job."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass


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
