# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that bring rows into the tables, and what follows them.

Fields that were added later have defaults, so that messages of older releases can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.fingerprints import TableCheck
from magnetodb_backup.domain.restore.parts import TableRef
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.tasks.restore import Done, ExpectedPart, PartsTask, RestoreTask


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """The SSTables that were refused, with the reason, by table as in CQL."""

    refused: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Imported(Delivered):
    """How many SSTables were imported."""

    sstables: int


@dataclass(frozen=True, kw_only=True)
class ImportParts(PartsTask[Imported]):
    """Let Cassandra take over the staged SSTables; ``contacts`` is not used.

    ``expected`` has an entry for each part; empty if that is not known.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_IMPORT
    result: ClassVar[type[Any]] = Imported

    contacts: tuple[str, ...] = ()
    expected: tuple[ExpectedPart, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Streamed(Delivered):
    """How many bytes were sent."""

    bytes_sent: int


@dataclass(frozen=True, kw_only=True)
class StreamParts(PartsTask[Streamed]):
    """Send the staged SSTables to the owners of their rows, found by the ``contacts``.

    ``expected`` as of ``ImportParts``.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_STREAM
    result: ClassVar[type[Any]] = Streamed

    contacts: tuple[str, ...]
    expected: tuple[ExpectedPart, ...] = ()


# What takes its time inside Cassandra.


@dataclass(frozen=True, kw_only=True)
class AwaitViews(RestoreTask[Done]):
    """Wait until the node has built views and indexes (keyspace, name), and sent all view updates.

    ``seconds`` bounds the time without progress, ``longest`` the whole time; 0 is no bound.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_VIEWS
    result: ClassVar[type[Any]] = Done

    views: tuple[TableName, ...]
    indexes: tuple[tuple[str, str], ...]
    seconds: float
    longest: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Repair(RestoreTask[Done]):
    """Repair the node's ranges of the tables, by keyspace.

    With ``primary_ranges`` only those of which it is the first replica; a worker of an older
    release repairs all.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_REPAIR
    result: ClassVar[type[Any]] = Done

    tables: Mapping[str, tuple[str, ...]]
    primary_ranges: bool = False


@dataclass(frozen=True)
class RowsChecked:
    """What the comparison found, by target table (``keyspace.table``)."""

    checks: Mapping[str, TableCheck] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CheckRows(RestoreTask[RowsChecked]):
    """Read the ranges (two tokens as text) again and compare them with the stored fingerprints."""

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_CHECK
    result: ClassVar[type[Any]] = RowsChecked

    tables: tuple[TableRef, ...]
    figures: tuple[StoredObject, ...]
    ranges: tuple[tuple[str, str], ...]
