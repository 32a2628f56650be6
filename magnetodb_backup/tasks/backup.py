# SPDX-License-Identifier: Apache-2.0
"""The tasks of a backup: what the conductor asks of a node, and what the node returns.

Fields that were added later have defaults, so that messages of older releases can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from magnetodb_backup.domain.backup.growth import TableBytes
from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.backup.records import CommittedBackup, Progress
from magnetodb_backup.domain.fingerprints import TableFingerprints
from magnetodb_backup.tasks.cluster import Member, SelectedTable, SelectedTables
from magnetodb_backup.tasks.kinds import Result, Task, TaskKind


@dataclass(frozen=True, kw_only=True)
class BackupTask(Task[Result]):
    """What each task of a backup names: the node, the backup, and the tag of its snapshot."""

    host_id: str
    cluster: str
    backup_id: str
    tag: str


@dataclass(frozen=True, kw_only=True)
class ReadTask(Task[Result]):
    """What a task that only reads names: the node, and the IDs of the backup or the restore."""

    host_id: str
    cluster: str = ""
    backup_id: str = ""
    tag: str = ""
    restore_id: str = ""
    source_cluster: str = ""


@dataclass(frozen=True)
class NodeDescription:
    """A node as it sees itself, and the ring as it sees that; ``mode`` is NORMAL or another.

    ``partitioner`` is the name of its class, empty from workers of older releases.
    ``unsettled`` has, by address, the nodes that join, leave or move, as this node sees them; None
    from older releases, and for backups, which do not ask.
    """

    member: Member
    ring: tuple[Member, ...]
    data_directories: tuple[str, ...]
    mode: str
    partitioner: str = ""
    unsettled: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Describe(ReadTask[NodeDescription]):
    """Describe the node and the ring; backups and restores use it.

    A ring with the digest ``ring_sha256`` is left out of the description.
    """

    kind: ClassVar[TaskKind] = TaskKind.DESCRIBE
    result: ClassVar[type[Any]] = NodeDescription

    ring_sha256: str = ""


@dataclass(frozen=True)
class Resolved:
    """The tables that a scope selects now."""

    selection: SelectedTables


@dataclass(frozen=True, kw_only=True)
class Resolve(ReadTask[Resolved]):
    """Turn a scope into a selection; ``scope`` is ``{"type": …, …}``, defined by its plugin."""

    kind: ClassVar[TaskKind] = TaskKind.RESOLVE
    result: ClassVar[type[Any]] = Resolved

    scope: Mapping[str, Any]


@dataclass(frozen=True)
class Prepared:
    """The time at which a node was ready for its snapshot, ISO 8601 in UTC.

    ``ring_sha256`` is the digest of the ring that the node itself sees; empty from older releases.
    """

    prepared_at: str
    ring_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Prepare(BackupTask[Prepared]):
    """Check the node, its disks and the object store; flush the tables."""

    kind: ClassVar[TaskKind] = TaskKind.PREPARE
    result: ClassVar[type[Any]] = Prepared

    tables: tuple[SelectedTable, ...]


@dataclass(frozen=True)
class SchemaSeen:
    """The digest of the schema's text, its version, and host ID and tokens of each ring member.

    ``schema`` is the stored object, if it was to be stored. ``selected_sha256`` is the digest of
    the schema of the task's keyspaces alone, ``release`` that of the Cassandra that described it,
    and ``selection`` what the scope selects from the same schema; older releases return none.
    ``own_version`` is the node's own schema version, empty if it changed during the read.
    """

    sha256: str
    version: str
    ring: tuple[tuple[str, ...], ...]
    schema: StoredObject | None = None
    selected_sha256: str = ""
    release: str = ""
    selection: SelectedTables | None = None
    own_version: str = ""


@dataclass(frozen=True, kw_only=True)
class ReadSchema(BackupTask[SchemaSeen]):
    """Read the schema and the ring, and store the schema if ``store``.

    ``absent`` are the host IDs whose schema version does not matter; with ``any_version`` no
    node's does, because each node reports the digest of its own schema with its snapshot.
    ``keyspaces`` and ``scope`` are those of the backup.
    """

    kind: ClassVar[TaskKind] = TaskKind.SCHEMA
    result: ClassVar[type[Any]] = SchemaSeen

    store: bool = False
    absent: tuple[str, ...] = ()
    any_version: bool = False
    keyspaces: tuple[str, ...] = ()
    scope: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SnapshotTaken:
    """When a snapshot was begun and finished (ISO 8601 in UTC), its files and their bytes.

    ``ring_sha256`` is the digest of the ring and ``schema_sha256`` that of the schema of the task's
    keyspaces, as the node itself saw them afterwards; ``schema_version`` is the version of that
    schema, empty if it changed meanwhile, and ``tables_sha256`` the digest of the tables that the
    task's scope selects from it. All are empty from older releases.
    """

    started_at: str
    finished_at: str
    files: int
    bytes: int
    ring_sha256: str = ""
    schema_sha256: str = ""
    schema_version: str = ""
    tables_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class TakeSnapshot(BackupTask[SnapshotTaken]):
    """Flush the tables and take a snapshot of them under the tag.

    ``keyspaces`` are all selected ones, ``scope`` is that of the backup.
    """

    kind: ClassVar[TaskKind] = TaskKind.SNAPSHOT
    result: ClassVar[type[Any]] = SnapshotTaken

    tables: tuple[SelectedTable, ...]
    keyspaces: tuple[str, ...] = ()
    scope: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Uploaded:
    """A stored node backup; sizes in bytes, ``corrupt_files`` are the paths of the first ones.

    ``corrupt_count`` is the number of all corrupt files; older releases name all and count none.
    ``lost`` are the first of ``lost_count`` packs that the store has lost since, and that only
    earlier backups need: ``harmed`` has the newest ones' IDs with the numbers of files in such
    packs. If ``recounted``, these are in all packs that the store lacks now.

    ``replaced`` has the damaged packs that were uploaded again, with the IDs of the verifications
    that found them damaged. ``unrestorable`` has by SSTable version, which a restore of this
    release would object to, the tables that have such SSTables. ``tables`` has the bytes of each
    table; None from older releases, and in the stored results of a step.
    """

    manifest: StoredObject
    files: int
    bytes: int
    corrupt_files: tuple[str, ...]
    progress: Progress
    member: Member
    replaced: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unrestorable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    corrupt_count: int = 0
    lost: tuple[str, ...] = ()
    lost_count: int = 0
    harmed: Mapping[str, int] = field(default_factory=dict)
    recounted: bool = False
    tables: tuple[TableBytes, ...] | None = None

    @property
    def corrupt(self) -> int:
        """The number of corrupt files."""
        return max(self.corrupt_count, len(self.corrupt_files))


@dataclass(frozen=True, kw_only=True)
class Upload(BackupTask[Uploaded]):
    """Store the snapshot's files and the node manifest, then remove the snapshot.

    ``snapshot_files`` and ``snapshot_bytes`` are what the snapshot had when it was taken;
    ``distrusted`` are damaged packs, with the IDs of the verifications that found them; with
    ``distrust_all`` there are more than these, so no stored pack is used again. ``earlier`` are the
    newest complete backups of the cluster.
    """

    kind: ClassVar[TaskKind] = TaskKind.UPLOAD
    result: ClassVar[type[Any]] = Uploaded

    tables: tuple[SelectedTable, ...]
    on_corrupt: str
    snapshot_started_at: str
    snapshot_finished_at: str
    snapshot_files: int | None = None
    snapshot_bytes: int | None = None
    distrusted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    distrust_all: bool = False
    earlier: tuple[CommittedBackup, ...] = ()


@dataclass(frozen=True)
class Released:
    """A snapshot is gone."""


@dataclass(frozen=True, kw_only=True)
class Release(BackupTask[Released]):
    """Remove the snapshot, and what is kept of its upload."""

    kind: ClassVar[TaskKind] = TaskKind.RELEASE
    result: ClassVar[type[Any]] = Released


@dataclass(frozen=True)
class FirstRead:
    """The tables that could not be read, with the reason."""

    unread: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FingerprintsBefore(BackupTask[FirstRead]):
    """Read the token ranges of the tables for the first time.

    A table is its keyspace and its name; a range is its two tokens as text. With ``local`` the
    replicas of other data centres are not needed.
    """

    kind: ClassVar[TaskKind] = TaskKind.FIGURES_BEFORE
    result: ClassVar[type[Any]] = FirstRead

    tables: tuple[tuple[str, str], ...]
    ranges: tuple[tuple[str, str], ...]
    local: bool = False


@dataclass(frozen=True)
class FingerprintsStored:
    """The stored fingerprints of a node and their ranges by table, or the ``problem``."""

    figures: StoredObject | None = None
    tables: Mapping[str, TableFingerprints] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class FingerprintsAfter(BackupTask[FingerprintsStored]):
    """Read the same token ranges again, from the same replicas, and store their fingerprints."""

    kind: ClassVar[TaskKind] = TaskKind.FIGURES_AFTER
    result: ClassVar[type[Any]] = FingerprintsStored

    local: bool = False
