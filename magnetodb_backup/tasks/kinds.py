# SPDX-License-Identifier: Apache-2.0
"""What the conductor asks of a worker, and the names that both derive from a job."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

TAG_PREFIX = "mdbb-"
_TAG = re.compile(r"mdbb-(?P<id>[0-9a-f]{32})-(?P<round>[0-9]{1,2})")


class TaskKind(str, enum.Enum):
    """Kinds of node work."""

    RESOLVE = "resolve"
    DESCRIBE = "describe"
    PREPARE = "prepare"
    SCHEMA = "schema"
    SNAPSHOT = "snapshot"
    UPLOAD = "upload"
    RELEASE = "release"
    FIGURES_BEFORE = "figures_before"
    FIGURES_AFTER = "figures_after"
    RESTORE_COMPARE = "restore_compare"
    RESTORE_PREFLIGHT = "restore_preflight"
    RESTORE_DOWNLOAD = "restore_download"
    RESTORE_SCHEMA = "restore_schema"
    RESTORE_CONFIRM = "restore_confirm"
    RESTORE_COMPACTION = "restore_compaction"
    RESTORE_TRUNCATE = "restore_truncate"
    RESTORE_IMPORT = "restore_import"
    RESTORE_STREAM = "restore_stream"
    RESTORE_VIEWS = "restore_views"
    RESTORE_REPAIR = "restore_repair"
    RESTORE_CHECK = "restore_check"
    RESTORE_CLEANUP = "restore_cleanup"
    RESTORE_READY = "restore_ready"
    RESTORE_QUIESCE = "restore_quiesce"
    RESTORE_STOP = "restore_stop"
    RESTORE_PLACE = "restore_place"
    RESTORE_START = "restore_start"
    RESTORE_INDEXES = "restore_indexes"
    RESTORE_PUT_BACK = "restore_put_back"
    RESTORE_DISCARD = "restore_discard"
    VERIFY_READ = "verify_read"
    VERIFY_PARSE = "verify_parse"
    VERIFY_SCHEMA = "verify_schema"
    VERIFY_READ_AS_OF = "verify_read_as_of"
    VERIFY_PARSE_AS_OF = "verify_parse_as_of"
    VERIFY_SCHEMA_AS_OF = "verify_schema_as_of"
    COLLECT = "collect"


# What can be done on a node whose Cassandra does not run.
WITHOUT_CASSANDRA = frozenset(
    {
        TaskKind.RESTORE_PREFLIGHT,
        TaskKind.RESTORE_DOWNLOAD,
        TaskKind.RESTORE_CONFIRM,
        TaskKind.RESTORE_CLEANUP,
        TaskKind.RESTORE_READY,
        TaskKind.RESTORE_QUIESCE,
        TaskKind.RESTORE_STOP,
        TaskKind.RESTORE_PLACE,
        TaskKind.RESTORE_START,
        TaskKind.RESTORE_PUT_BACK,
        TaskKind.RESTORE_DISCARD,
        TaskKind.VERIFY_READ,
        TaskKind.VERIFY_PARSE,
        TaskKind.VERIFY_SCHEMA,
        TaskKind.VERIFY_READ_AS_OF,
        TaskKind.VERIFY_PARSE_AS_OF,
        TaskKind.VERIFY_SCHEMA_AS_OF,
        TaskKind.COLLECT,
    }
)

# What takes room on the node's disks by itself: downloads write, and an upload keeps its snapshot.
TAKES_ROOM = frozenset(
    {
        TaskKind.UPLOAD,
        TaskKind.RESTORE_DOWNLOAD,
        TaskKind.VERIFY_PARSE,
        TaskKind.VERIFY_PARSE_AS_OF,
    }
)


# What must get on all the time; the others wait for Cassandra's own long work.
STALLING = frozenset(
    {
        TaskKind.RESOLVE,
        TaskKind.DESCRIBE,
        TaskKind.PREPARE,
        TaskKind.SCHEMA,
        TaskKind.SNAPSHOT,
        TaskKind.UPLOAD,
        TaskKind.RELEASE,
        TaskKind.FIGURES_BEFORE,
        TaskKind.FIGURES_AFTER,
        TaskKind.RESTORE_DOWNLOAD,
        TaskKind.COLLECT,
        TaskKind.VERIFY_READ,
        TaskKind.VERIFY_READ_AS_OF,
    }
)


# What waits for a command of Cassandra, which counts as activity as long as the command runs.
COMMANDS = frozenset({TaskKind.PREPARE, TaskKind.SNAPSHOT, TaskKind.RELEASE})


# A dataclass as a JSON object: arguments and results on the bus, step results in the database.
Encoded = Mapping[str, Any]
Result = TypeVar("Result", covariant=True)


class Task(Generic[Result]):
    """The arguments of one task: a frozen dataclass that names its kind and its result.

    A subclass is declared as ``class Upload(Task[Uploaded])`` with ``result = Uploaded``.
    """

    kind: ClassVar[TaskKind]
    result: ClassVar[type[Any]]


class TaskState(str, enum.Enum):
    """State of a task in a worker; a worker that was restarted knows none of its tasks."""

    UNKNOWN = "unknown"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class TaskStatus:
    """A worker's answer about one task; ``error`` is ``BackupError.as_record()``.

    ``activity`` grows while the task gets on, also where its progress shows nothing; None from
    older releases.
    """

    state: TaskState
    progress: Mapping[str, int] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, str] = field(default_factory=dict)
    activity: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the form that travels on the bus."""
        return {
            "state": self.state.value,
            "progress": dict(self.progress),
            "result": dict(self.result),
            "error": dict(self.error),
            "activity": self.activity,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskStatus:
        """Read what ``as_json()`` returned."""
        return cls(
            TaskState(data["state"]),
            data["progress"],
            data["result"],
            data["error"],
            data.get("activity"),
        )


def snapshot_tag(backup_id: str, round_: int) -> str:
    """Return the tag of a backup's snapshot; each round has its own."""
    return f"{TAG_PREFIX}{backup_id.replace('-', '')}-{round_}"


def backup_of_tag(tag: str) -> str | None:
    """Return the backup's ID (with dashes) of one of our tags, None for a foreign tag."""
    match = _TAG.fullmatch(tag)
    if match is None:
        return None
    h = match["id"]
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
