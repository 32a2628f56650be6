# SPDX-License-Identifier: Apache-2.0
"""The stored results of a backup job's steps, one class a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.tasks.backup import Prepared, Resolved, SchemaSeen, SnapshotTaken, Uploaded
from magnetodb_backup.tasks.cluster import Member, PresentMember

NodeResult = TypeVar("NodeResult")


@dataclass(frozen=True)
class NodeResults(Generic[NodeResult]):
    """What a task returned on each node, and the errors of nodes that left the backup.

    Both by host ID.
    """

    results: Mapping[str, NodeResult]
    failed: Mapping[str, str]


@dataclass(frozen=True)
class ResolveDone(Resolved):
    """Step *resolve*: the selection of the backup."""

    step: ClassVar[str] = Phase.RESOLVE.value


@dataclass(frozen=True)
class CensusTaken:
    """Step *census*: the ring, the nodes that take part, and why others do not, by host ID.

    Nodes of data centres that the backup does not name are among neither. ``excluded`` are the
    selected keyspaces that are not backed up, because the data centres have no complete copy.
    """

    step: ClassVar[str] = Phase.CENSUS.value

    ring: tuple[Member, ...]
    present: tuple[PresentMember, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    partitioner: str = ""
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FingerprintsRead:
    """What a read of all token ranges found, or the problem that ended it.

    ``hosts`` are the host IDs that read ranges, ``figures`` the stored fingerprints, ``unread``
    the tables that could not be read, with the reason.
    """

    hosts: tuple[str, ...] = ()
    figures: tuple[StoredObject, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class FingerprintsBeforeDone(FingerprintsRead):
    """Step *figures_before*: the first read."""

    step: ClassVar[str] = Phase.FIGURES_BEFORE.value


@dataclass(frozen=True)
class PrepareDone(NodeResults[Prepared]):
    """Step *prepare*."""

    step: ClassVar[str] = Phase.PREPARE.value


@dataclass(frozen=True)
class SchemaBefore(SchemaSeen):
    """Step *schema_before*: the schema that is stored."""

    step: ClassVar[str] = Phase.SCHEMA_BEFORE.value


@dataclass(frozen=True)
class SnapshotDone(NodeResults[SnapshotTaken]):
    """Step *snapshot*."""

    step: ClassVar[str] = Phase.SNAPSHOT.value


@dataclass(frozen=True)
class SchemaAfter(SchemaSeen):
    """Step *schema_after*: the schema after the snapshots, equal to the one before."""

    step: ClassVar[str] = Phase.SCHEMA_AFTER.value


@dataclass(frozen=True, kw_only=True)
class FingerprintsAfterDone(FingerprintsRead):
    """Step *figures_after*: the second read, whose results are stored."""

    step: ClassVar[str] = Phase.FIGURES_AFTER.value


@dataclass(frozen=True)
class UploadDone(NodeResults[Uploaded]):
    """Step *upload*."""

    step: ClassVar[str] = Phase.UPLOAD.value


@dataclass(frozen=True)
class ReleaseDone:
    """Step *release*: the nodes that still have a snapshot, with the error, by host ID.

    ``lasting`` are the errors of those whose workers cannot remove it later either.
    """

    step: ClassVar[str] = Phase.RELEASE.value

    left: Mapping[str, str] = field(default_factory=dict)
    lasting: tuple[str, ...] = ()


@dataclass(frozen=True)
class CommitPlan:
    """Step *commit_plan*: the text of the backup manifest, stored before it is written.

    Each conductor that runs the commit writes this text, so two of them write identical bytes.
    """

    step: ClassVar[str] = "commit_plan"

    manifest: str


@dataclass(frozen=True)
class CommitDone:
    """Step *commit*: the written backup manifest and the status of the backup."""

    step: ClassVar[str] = Phase.COMMIT.value

    manifest: StoredObject
    status: str


@dataclass(frozen=True)
class JobFailed:
    """Stored as a step before a failed job is cleaned up: ``BackupError.as_record()``."""

    step: ClassVar[str] = "failed"

    code: str
    message: str
