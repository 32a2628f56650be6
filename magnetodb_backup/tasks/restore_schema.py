# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that compare and change the schema: one node does them for all.

Fields that were added later have defaults, so that messages of older releases can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from msgspec import UNSET, UnsetType

from magnetodb_backup.domain.restore.parts import TableRef
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.tasks.restore import RestoreTask


@dataclass(frozen=True)
class Compared:
    """The backup's schema against the cluster's; tables are named as in CQL.

    ``create`` and ``views`` are statements that would be executed; ``present_views`` and
    ``present_indexes`` make what exists now; ``differences`` refuse the restore, ``notes`` do not.
    ``replication`` is that of all keyspaces; ``gc_grace_seconds`` (the smaller value of the
    backup's and the target's) and ``default_time_to_live`` of the backup's (0 for none) are in
    seconds, by target. ``grown`` are tables whose rows have columns or fields that the backup's
    lack. ``skipped`` are the options ``skip`` that matched; ``grants`` the statements that give the
    grants on what is created, None if the backup does not know them. ``lost`` refuse a restore that
    is ``exact``: cells that would not come back. ``masked`` has by target the columns of which the
    service's role reads masks instead of values; ``user_tables`` are all that the cluster has, 0
    from older releases.
    """

    create: tuple[str, ...]
    views: tuple[str, ...]
    present_views: tuple[str, ...]
    present_indexes: tuple[str, ...]
    differences: tuple[str, ...]
    notes: tuple[str, ...]
    exists: Mapping[str, bool]
    has_rows: Mapping[str, bool]
    replication: Mapping[str, Mapping[str, str]]
    gc_grace_seconds: Mapping[str, int]
    default_time_to_live: Mapping[str, int] = field(default_factory=dict)
    grown: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    grants: tuple[str, ...] | None = None
    lost: tuple[str, ...] = ()
    masked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    user_tables: int = 0


@dataclass(frozen=True, kw_only=True)
class Compare(RestoreTask[Compared]):
    """Compare the schemas; of ``own_tables``, which Cassandra creates, look for rows only.

    ``skip`` has the objects to leave out, as ``kind=name``.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_COMPARE
    result: ClassVar[type[Any]] = Compared

    tables: tuple[TableRef, ...]
    whole_keyspaces: tuple[str, ...]
    own_tables: tuple[TableName, ...] = ()
    skip: tuple[str, ...] = ()


@dataclass(frozen=True)
class SchemaMade:
    """The statements that were executed, each shortened."""

    made: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MakeSchema(RestoreTask[SchemaMade]):
    """Execute the statements that are not in effect; refuse what differs in ``tables`` by now.

    ``skip`` as of ``Compare``. With ``exact`` cells that would not come back are refused, too.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_SCHEMA
    result: ClassVar[type[Any]] = SchemaMade

    statements: tuple[str, ...]
    tables: tuple[TableRef, ...] = ()
    whole_keyspaces: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    exact: bool = False


@dataclass(frozen=True)
class Truncated:
    """The tables that were truncated, as in CQL."""

    truncated: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Truncate(RestoreTask[Truncated]):
    """Drop the indexes (keyspace, name) and the views of ``tables``, then empty the tables.

    ``refuse_rows``: refuse, before any change, tables that have live rows. ``truncate`` empties all
    tables, ``truncate_empty`` those that were just found without live rows. ``planned`` has the
    statements that will create indexes and views again; other views, and other storage-attached
    indexes of ``streamed`` tables, are refused before any change. A conductor of an older release
    sends none of these.
    """

    kind: ClassVar[TaskKind] = TaskKind.RESTORE_TRUNCATE
    result: ClassVar[type[Any]] = Truncated

    tables: tuple[TableName, ...]
    truncate: bool
    indexes: tuple[tuple[str, str], ...]
    refuse_rows: bool = False
    truncate_empty: bool = False
    planned: tuple[str, ...] | UnsetType = UNSET
    streamed: tuple[TableName, ...] = ()
