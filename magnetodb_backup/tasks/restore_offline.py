# SPDX-License-Identifier: Apache-2.0
"""The tasks of an offline restore: they stop a node, exchange its files, and start it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from msgspec import UNSET, UnsetType

from magnetodb_backup.domain.restore.parts import Part
from magnetodb_backup.tasks.cluster import Member, SelectedTable
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.tasks.restore import Done, ExpectedPart, RestoreTask


@dataclass(frozen=True)
class Readiness:
    """What refuses an exchange on this node, and the free bytes of each data directory.

    ``left`` has the directories of original files that earlier restores left, by their ID.
    """

    problems: tuple[str, ...]
    free: tuple[int, ...]
    left: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Rehearse(RestoreTask[Readiness]):
    """Report what would keep the node from being stopped, exchanged and started."""

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_READY
    result: ClassVar[type[Any]] = Readiness

    tables: tuple[SelectedTable, ...]


@dataclass(frozen=True, kw_only=True)
class Quiesce(RestoreTask[Done]):
    """Refuse clients, and finish the writes that have begun."""

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_QUIESCE
    result: ClassVar[type[Any]] = Done


@dataclass(frozen=True)
class Stopped:
    """``drained`` if Cassandra has nothing to replay at its next start."""

    drained: bool


@dataclass(frozen=True, kw_only=True)
class Stop(RestoreTask[Stopped]):
    """Drain and stop Cassandra.

    ``everything``: every table of users is restored. ``single``: only this node is restored.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_STOP
    result: ClassVar[type[Any]] = Stopped

    everything: bool
    single: bool


@dataclass(frozen=True)
class Placed:
    """The SSTables in place; absent if an earlier attempt has started Cassandra on them."""

    sstables: int | UnsetType = UNSET


@dataclass(frozen=True, kw_only=True)
class Place(RestoreTask[Placed]):
    """Exchange the tables' files for those staged from ``sources`` (host IDs).

    ``expected`` has an entry for each of the ``parts``; both are empty if that is not known.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_PLACE
    result: ClassVar[type[Any]] = Placed

    tables: tuple[SelectedTable, ...]
    sources: tuple[str, ...]
    everything: bool
    single: bool
    parts: tuple[Part, ...] = ()
    expected: tuple[ExpectedPart, ...] = ()


@dataclass(frozen=True)
class Started:
    """The node as it sees itself."""

    member: Member


@dataclass(frozen=True, kw_only=True)
class Start(RestoreTask[Started]):
    """Start Cassandra and prove that it has the ``tokens`` that it had."""

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_START
    result: ClassVar[type[Any]] = Started

    tokens: tuple[str, ...]


@dataclass(frozen=True)
class IndexesBuilt:
    """The indexes of the restored tables: keyspace and name."""

    indexes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class BuildIndexes(RestoreTask[IndexesBuilt]):
    """Rebuild the indexes that Cassandra does not build by itself; wait for all.

    ``seconds`` bounds the time without progress, ``longest`` the whole time; 0 is no bound.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_INDEXES
    result: ClassVar[type[Any]] = IndexesBuilt

    tables: tuple[SelectedTable, ...]
    seconds: float
    longest: float = 0.0


@dataclass(frozen=True)
class PutBackDone:
    """``put_back`` if the original files are in place."""

    put_back: bool


@dataclass(frozen=True, kw_only=True)
class PutBack(RestoreTask[PutBackDone]):
    """After a failure: put the original ``files`` back if possible, and start Cassandra.

    ``down``: the node did not run before the restore.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_PUT_BACK
    result: ClassVar[type[Any]] = PutBackDone

    files: bool
    down: bool


@dataclass(frozen=True, kw_only=True)
class Discard(RestoreTask[Done]):
    """Remove the original files after a success."""

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_DISCARD
    result: ClassVar[type[Any]] = Done
