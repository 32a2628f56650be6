# SPDX-License-Identifier: Apache-2.0
"""A restore's request and records, its status, and the transitions, as data."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from magnetodb_backup.domain.as_of import parse_as_of
from magnetodb_backup.errors import Conflict


class RestoreStatus(str, enum.Enum):
    """Status of a restore; PLANNED is the end of a dry run."""

    RESTORING = "RESTORING"
    RESTORED = "RESTORED"
    PLANNED = "PLANNED"
    RESTORE_FAILED = "RESTORE_FAILED"
    CANCELLED = "CANCELLED"


class RestorePhase(str, enum.Enum):
    """Steps of a restore job, in order; each delivery has its own of them."""

    SELECT = "select"
    CENSUS = "census"
    PREFLIGHT = "preflight"
    DOWNLOAD = "download"
    SCHEMA = "schema"
    CONFIRM = "confirm"
    TRUNCATE = "truncate"
    IMPORT = "import"
    STOP = "stop"
    PLACE = "place"
    START = "start"
    INDEXES = "indexes"
    VIEWS = "views"
    REPAIR = "repair"
    CHECK = "check"
    CLEANUP = "cleanup"


_ORDER = list(RestorePhase)


def has_reached(phase: str, wanted: RestorePhase) -> bool:
    """Return whether a restore in ``phase``, empty before the first one, has entered ``wanted``."""
    return bool(phase) and _ORDER.index(RestorePhase(phase)) >= _ORDER.index(wanted)


def keeps_fetched_files(status: RestoreStatus, phase: str) -> bool:
    """Return whether a restore that has ended leaves its fetched files to a later one.

    Not after a success, nor if it was cancelled before it had begun to change the cluster.
    """
    if status is RestoreStatus.CANCELLED:
        return has_reached(phase, RestorePhase.SCHEMA)
    return status is RestoreStatus.RESTORE_FAILED


# Only an offline restore has them; it has no TRUNCATE's truncating and no IMPORT.
OFFLINE_PHASES = frozenset(
    {RestorePhase.STOP, RestorePhase.PLACE, RestorePhase.START, RestorePhase.INDEXES}
)


class Existing(str, enum.Enum):
    """What happens to a table that has data: the restore is refused, it is replaced, or merged.

    Merged, Cassandra's usual rule decides for each cell: the newest write timestamp wins, and a
    newer deletion hides what the backup has.
    """

    REFUSE = "refuse"
    REPLACE = "replace"
    MERGE = "merge"


TRANSITIONS: dict[RestoreStatus, dict[str, RestoreStatus]] = {
    RestoreStatus.RESTORING: {
        "every table is readable": RestoreStatus.RESTORED,
        "dry run: the plan is made": RestoreStatus.PLANNED,
        "failed": RestoreStatus.RESTORE_FAILED,
        "cancelled": RestoreStatus.CANCELLED,
    },
    RestoreStatus.RESTORED: {},
    RestoreStatus.PLANNED: {},
    RestoreStatus.RESTORE_FAILED: {},
    RestoreStatus.CANCELLED: {},
}


def check_restore_transition(restore_id: str, old: RestoreStatus, new: RestoreStatus) -> None:
    """Allow staying or a transition of the table.

    :raises Conflict: otherwise, naming the restore and its status.
    """
    if new is not old and new not in TRANSITIONS[old].values():
        raise Conflict(f"restore {restore_id} is {old.value} and cannot become {new.value}")


@dataclass(frozen=True)
class RestoreRequest:
    """What a user asks for.

    ``cluster`` is the target, None if there is only one. ``keyspaces`` and ``tables`` (as typed,
    ``keyspace.table``) narrow the backup's selection; both empty: all but Cassandra's own
    keyspaces. ``node`` is the host ID or address of the only target node that is to be
    restored, empty for all. ``source_replicas`` is ``all`` or ``one``: which copies of a range
    are sent to another ring. ``offline`` exchanges the files of nodes that are stopped for it;
    with ``system_auth`` those of Cassandra's roles and grants too. With ``check`` the restored
    rows are compared with the backup's fingerprints. ``skip`` has objects of the schema that are
    left out, as ``index|view|function|trigger=[keyspace.]name``. ``allow_resurrection`` accepts
    that rows deleted since an old backup come back. ``as_of`` (ISO 8601, empty for now) is when
    the store had what is to be restored.
    """

    backup_id: str
    cluster: str | None = None
    keyspaces: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    to_keyspace: str = ""
    to_table: str = ""
    existing: Existing = Existing.REFUSE
    node: str = ""
    source_replicas: str = "all"
    allow_partial: bool = False
    dry_run: bool = False
    offline: bool = False
    system_auth: bool = False
    check: bool = False
    skip: tuple[str, ...] = ()
    allow_resurrection: bool = False
    as_of: str = ""

    @property
    def moment(self) -> datetime | None:
        """The moment whose state of the store is read; None for the present one."""
        return parse_as_of(self.as_of) if self.as_of else None

    @property
    def is_exact(self) -> bool:
        """Return whether the tables have exactly the backup's rows afterwards."""
        return self.existing is not Existing.MERGE and not self.node

    def as_json(self) -> dict[str, Any]:
        """Return the request as the REST API has it."""
        return {
            "backup_id": self.backup_id,
            "cluster": self.cluster,
            "keyspaces": list(self.keyspaces),
            "tables": list(self.tables),
            "to_keyspace": self.to_keyspace,
            "to_table": self.to_table,
            "existing": self.existing.value,
            "node": self.node,
            "source_replicas": self.source_replicas,
            "allow_partial": self.allow_partial,
            "dry_run": self.dry_run,
            "offline": self.offline,
            "system_auth": self.system_auth,
            "check": self.check,
            "skip": list(self.skip),
            "allow_resurrection": self.allow_resurrection,
            "as_of": self.as_of,
        }

    def as_record(self) -> dict[str, Any]:
        """Return the request as records have it, without members that have their default.

        A process of an older release refuses members that it does not know.
        """
        usual = RestoreRequest("").as_json()
        return {name: value for name, value in self.as_json().items() if value != usual[name]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RestoreRequest:
        """Read what ``as_json()`` or ``as_record()`` returned, also of a newer release.

        Absent members have their default, unknown ones are ignored.
        """
        known = {f.name for f in fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        for name in ("keyspaces", "tables", "skip"):
            values[name] = tuple(values.get(name, ()))
        values["existing"] = Existing(values.get("existing", Existing.REFUSE))
        return cls(**values)


@dataclass(frozen=True)
class Restore:
    """A restore's record; its ID is also its job's.

    ``plan`` is what preflight found (``domain.restore.plan.Plan.as_json()``), None before.
    ``error`` says why it failed, ``waiting_for`` what it waits for while it runs.
    ``tables`` has each table's state by its target name, ``checks`` the results of the comparison
    with the backup's fingerprints (``domain.fingerprints.TableCheck.as_json()``), None without one.
    """

    id: str
    backup_id: str
    source_cluster: str
    cluster: str
    status: RestoreStatus
    request: RestoreRequest
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None
    phase: str = ""
    error: str = ""
    plan: Mapping[str, Any] | None = None
    tables: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, Any] | None = None
    waiting_for: str = ""


@dataclass(frozen=True)
class RestoreProgress:
    """How far a node's part of a restore is. Counts are of files, sizes in bytes.

    ``bytes_done`` counts file bytes that are staged and verified; ``bytes_resumed`` those of them
    that an earlier attempt had left; ``sstables_imported`` what Cassandra has taken;
    ``bytes_sent`` what was streamed, to all owners together.
    """

    files_total: int = 0
    files_done: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    bytes_downloaded: int = 0
    bytes_resumed: int = 0
    sstables_imported: int = 0
    bytes_sent: int = 0


@dataclass(frozen=True)
class NodeRestore:
    """One target node's part of a restore; ``phase`` as of the restore, ``done`` or ``failed``."""

    restore_id: str
    host_id: str
    address: str
    dc: str
    rack: str
    phase: str = ""
    error: str = ""
    progress: RestoreProgress = field(default_factory=RestoreProgress)
