# SPDX-License-Identifier: Apache-2.0
"""The results of a restore's steps as the database stores them.

Fields that were added later have defaults, so that results of older releases can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from msgspec import UNSET, UnsetType

from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.fingerprints import TableCheck
from magnetodb_backup.domain.restore.parts import Part, TableRef
from magnetodb_backup.domain.restore.records import RestorePhase
from magnetodb_backup.domain.schema.steps import SchemaSteps
from magnetodb_backup.domain.tables import KeyspaceDescription, TableName
from magnetodb_backup.tasks.cluster import Member, PresentMember, SelectedTable
from magnetodb_backup.tasks.restore import ExpectedPart


def _is_system(keyspace: str) -> bool:
    return KeyspaceDescription(keyspace).is_system


@dataclass(frozen=True)
class Selected:
    """What is restored: tables, keyspaces (source and target name), and keyspaces as a whole.

    ``views`` are those whose files a single node gets, too.
    """

    step: ClassVar[str] = RestorePhase.SELECT.value

    tables: tuple[TableRef, ...]
    keyspaces: tuple[tuple[str, str], ...]
    whole_keyspaces: tuple[str, ...]
    views: tuple[TableRef, ...] = ()

    def all_tables(self) -> tuple[TableRef, ...]:
        """Return the tables and views whose files are restored."""
        return (*self.tables, *self.views)

    def users(self) -> tuple[TableRef, ...]:
        """Return the tables that users created."""
        return tuple(ref for ref in self.tables if not _is_system(ref.target.keyspace))

    def own(self) -> tuple[TableRef, ...]:
        """Return Cassandra's own tables, which are in no schema."""
        return tuple(ref for ref in self.tables if _is_system(ref.target.keyspace))

    def user_keyspaces(self) -> tuple[str, ...]:
        """Return the keyspaces of users that are restored whole."""
        return tuple(name for name in self.whole_keyspaces if not _is_system(name))


@dataclass(frozen=True)
class RingTaken:
    """The target's ring, its nodes with their workers, and (host IDs) nodes that do not answer.

    ``reasons`` are, by host ID, what the workers of the nodes in ``down`` report.
    ``absent`` are, by host ID, the reasons why members of other data centres than the backup's
    have no usable worker. ``partitioner`` is the name of its class; empty from older releases.
    """

    step: ClassVar[str] = RestorePhase.CENSUS.value

    ring: tuple[Member, ...]
    present: tuple[PresentMember, ...]
    down: tuple[str, ...] = ()
    partitioner: str = ""
    absent: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def absent_members(self) -> tuple[Member, ...]:
        """Return the members without a usable worker."""
        return tuple(member for member in self.ring if member.host_id in self.absent)


@dataclass(frozen=True)
class NodeSize:
    """What a node downloads; ``room`` is the free bytes of each data directory, if it counts."""

    files: int
    bytes: int
    room: tuple[int, ...] | UnsetType = UNSET


@dataclass(frozen=True)
class CheckBasis:
    """What a check compares with: stored fingerprints and their ranges (two tokens as text).

    ``found_in`` has for each stored object the positions of its ranges in ``ranges``; an older
    release did not note them.
    """

    stored: tuple[StoredObject, ...] = ()
    ranges: tuple[tuple[str, str], ...] = ()
    found_in: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Prepared:
    """What the steps after preflight execute.

    ``exists``: the target tables (as in CQL) that existed; ``work`` the parts by host ID;
    ``incomplete`` keyspaces that lack a replica; ``streams`` if rows are sent to other nodes;
    ``everything`` if no table of users is left out. ``by_repair`` are those of the incomplete
    keyspaces of which the backup has a complete copy, so that only nodes of other data centres
    need the repair. ``unsaved_views`` are views of a single node's tables whose files it does not
    get: the repair brings their rows.
    """

    step: ClassVar[str] = RestorePhase.PREFLIGHT.value

    exists: Mapping[str, bool]
    schema: SchemaSteps
    work: Mapping[str, tuple[Part, ...]]
    sizes: Mapping[str, NodeSize]
    incomplete: tuple[str, ...]
    streams: bool
    figures: CheckBasis = CheckBasis()
    everything: bool = False
    by_repair: tuple[str, ...] = ()
    unsaved_views: tuple[TableName, ...] = ()


@dataclass(frozen=True)
class FilesStaged:
    """All files are staged and verified; what is expected of each node's parts, by host ID.

    Nodes whose worker is of an older release are not in ``expected``.
    """

    step: ClassVar[str] = RestorePhase.DOWNLOAD.value

    expected: Mapping[str, tuple[ExpectedPart, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class SchemaReady:
    """The statements that were executed, shortened."""

    step: ClassVar[str] = RestorePhase.SCHEMA.value

    made: tuple[str, ...] = ()


@dataclass(frozen=True)
class StagingConfirmed:
    """Everything is staged; how the tables are compacted, as of ``Confirmed``; ``off`` by host."""

    step: ClassVar[str] = RestorePhase.CONFIRM.value

    compaction: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    off: Mapping[str, tuple[TableName, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class TablesEmptied:
    """The tables that were truncated, as in CQL."""

    step: ClassVar[str] = RestorePhase.TRUNCATE.value

    truncated: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowsDelivered:
    """The refused SSTables with the reason and the node, by table as in CQL."""

    step: ClassVar[str] = RestorePhase.IMPORT.value

    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class NodesStopped:
    """Cassandra is stopped; the tables whose files are exchanged, with their IDs."""

    step: ClassVar[str] = RestorePhase.STOP.value

    tables: tuple[SelectedTable, ...]


@dataclass(frozen=True)
class FilesPlaced:
    """The restored files are in place on all nodes."""

    step: ClassVar[str] = RestorePhase.PLACE.value


@dataclass(frozen=True)
class NodesStarted:
    """Cassandra runs again on all nodes."""

    step: ClassVar[str] = RestorePhase.START.value


@dataclass(frozen=True)
class IndexesReady:
    """All secondary indexes are built."""

    step: ClassVar[str] = RestorePhase.INDEXES.value


@dataclass(frozen=True)
class ViewsReady:
    """Views and late indexes are built; ``made`` are their statements, shortened."""

    step: ClassVar[str] = RestorePhase.VIEWS.value

    made: tuple[str, ...] = ()


@dataclass(frozen=True)
class TablesRepaired:
    """The repaired tables by keyspace."""

    step: ClassVar[str] = RestorePhase.REPAIR.value

    repaired: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class RowsCompared:
    """What the comparison found, by target table (``keyspace.table``)."""

    step: ClassVar[str] = RestorePhase.CHECK.value

    checks: Mapping[str, TableCheck] = field(default_factory=dict)


@dataclass(frozen=True)
class CleanedUp:
    """Nothing of the restore is left on the nodes."""

    step: ClassVar[str] = RestorePhase.CLEANUP.value


@dataclass(frozen=True)
class Failure:
    """The error that ends the restore, persisted before the clean-up."""

    step: ClassVar[str] = "failed"

    code: str
    message: str
