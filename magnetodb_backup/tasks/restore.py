# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that each node does for itself: preflight, download, cleaning up.

Fields that were added later have defaults, so that messages of older releases can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar, Protocol

from msgspec import UNSET, UnsetType

from magnetodb_backup.domain.restore.parts import Part
from magnetodb_backup.domain.restore.plan import DirectoryRoom
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.tasks.kinds import Result, Task, TaskKind


@dataclass(frozen=True, kw_only=True)
class RestoreTask(Task[Result]):
    """What each task of a restore names: the node, the restore, and the backup.

    A job fills them in when it sends the task (``for_node``). With ``as_of`` (UTC) the store is
    read as it was then.
    """

    host_id: str = ""
    restore_id: str = ""
    backup_id: str = ""
    source_cluster: str = ""
    as_of: datetime | None = None


@dataclass(frozen=True)
class Done:
    """A task that has nothing to report but its end."""


class _WithParts(Protocol):
    @property
    def parts(self) -> tuple[Part, ...]: ...
    @property
    def source_cluster(self) -> str: ...
    @property
    def backup_id(self) -> str: ...


def own_parts(task: _WithParts) -> list[Part]:
    """Return the parts, with the task's cluster and backup where a part names none.

    :raises InvalidValue: for a table that Cassandra could not have.
    """
    return [
        replace(
            part,
            cluster=part.cluster or task.source_cluster,
            backup_id=part.backup_id or task.backup_id,
            tables=tuple(ref.checked() for ref in part.tables),
        )
        for part in task.parts
    ]


@dataclass(frozen=True, kw_only=True)
class PartsTask(RestoreTask[Result]):
    """A task that works on parts; ``own_parts()`` name their cluster and backup in any case."""

    parts: tuple[Part, ...]

    def own_parts(self) -> list[Part]:
        """Return the parts, with the task's cluster and backup where a part names none.

        :raises InvalidValue: for a table that Cassandra could not have.
        """
        return own_parts(self)


@dataclass(frozen=True)
class FileTotals:
    """A number of files and their size in bytes."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class NodePreflight:
    """What a node would download, by target table as in CQL, what refuses it, and what may fail.

    ``packs`` counts objects to read; ``bytes_per_second`` is the measured rate of one stream from
    the store, 0 if there was nothing to read; ``version`` is Cassandra's; ``settings`` are those of
    its cassandra.yaml that a restore looks at.
    With ``spread`` the files are placed by the free bytes in ``free``. ``spare`` is what is left on
    the node beyond them and the head-room, in bytes, -1 from older releases. ``bytes_staged`` of
    ``bytes`` were fetched for an earlier restore and are still on the node. ``superuser`` if the
    worker's role is one.
    """

    tables: Mapping[str, FileTotals]
    files: int
    bytes: int
    packs: int
    free: tuple[DirectoryRoom, ...]
    bytes_per_second: float
    problems: tuple[str, ...]
    version: str
    warnings: tuple[str, ...] = ()
    spread: bool = False
    spare: int = -1
    settings: Mapping[str, str] = field(default_factory=dict)
    bytes_staged: int = 0
    superuser: bool = False
    as_of: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RunPreflight(PartsTask[NodePreflight]):
    """Look at everything that the node would need, and rehearse the delivery.

    ``room`` as of ``Download``; ``contacts`` are the nodes' addresses in the ring, empty if
    nothing is to be rehearsed.
    With ``spread`` the node takes its present room for ``room``.
    ``proves`` are the node backups whose packs the node asks the store for, absent for all.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_PREFLIGHT
    result: ClassVar[type[Any]] = NodePreflight

    room: tuple[int, ...] | UnsetType = UNSET
    spread: bool = False
    contacts: tuple[str, ...] = ()
    proves: tuple[str, ...] | UnsetType = UNSET


@dataclass(frozen=True)
class ExpectedPart:
    """How many SSTables of a part are staged, and a digest of their names and files."""

    sstables: int
    digest: str


@dataclass(frozen=True)
class Downloaded:
    """The progress of the whole download at its end, and what is expected of each part, in order.

    A worker of an older release does not return the latter.
    """

    progress: RestoreProgress
    expected: tuple[ExpectedPart, ...] | UnsetType = UNSET


@dataclass(frozen=True, kw_only=True)
class Download(PartsTask[Downloaded]):
    """Stage and verify the parts' files, ``files`` of ``bytes`` in all.

    ``room`` has the free bytes of each data directory, where files are placed without Cassandra;
    absent where Cassandra chooses the directories.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_DOWNLOAD
    result: ClassVar[type[Any]] = Downloaded

    files: int
    bytes: int
    room: tuple[int, ...] | UnsetType = UNSET


@dataclass(frozen=True)
class StagingRemoved:
    """The tables, as in CQL, whose imports still ran when their task had ended.

    ``awaited`` were waited for; because of ``importing`` the staged files stay. ``kept`` are
    shell patterns of the directories with fetched files that stay for a later restore,
    ``kept_bytes`` in all, for ``kept_seconds``.
    """

    awaited: tuple[str, ...] = ()
    importing: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    kept_bytes: int = 0
    kept_seconds: float = 0.0


@dataclass(frozen=True)
class Confirmed:
    """The compaction options of the tables (as in CQL), and those that nodetool has switched off.

    Tables whose options switch automatic compaction off are in neither.
    """

    compaction: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    off: tuple[TableName, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Confirm(PartsTask[Confirmed]):
    """Compare what is staged with ``expected``; report how ``tables`` are compacted."""

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_CONFIRM
    result: ClassVar[type[Any]] = Confirmed

    expected: tuple[ExpectedPart, ...]
    tables: tuple[TableName, ...] = ()


@dataclass(frozen=True, kw_only=True)
class KeepCompactionOff(RestoreTask[Done]):
    """Switch automatic compaction of tables off on the node, as nodetool had done before."""

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_COMPACTION
    result: ClassVar[type[Any]] = Done

    tables: tuple[TableName, ...]


@dataclass(frozen=True, kw_only=True)
class CleanUp(RestoreTask[StagingRemoved]):
    """Remove what the restore has staged, after the end of imports that still run.

    Without ``wait`` the staged files stay while one runs; the worker removes them later. With
    ``keep`` the fetched files stay for a later restore of the same backup.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_CLEANUP
    result: ClassVar[type[Any]] = StagingRemoved

    wait: bool = True
    keep: bool = False
