# SPDX-License-Identifier: Apache-2.0
"""The tasks that take and remove a snapshot, and the kept results of finished uploads."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

from magnetodb_backup import disk
from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.domain.ring import ring_digest
from magnetodb_backup.domain.schema.rows import keyspaces_digest
from magnetodb_backup.domain.tables import ClusterSchema
from magnetodb_backup.errors import (
    BackupError,
    EmptySelection,
    SnapshotLeft,
    UnknownTable,
)
from magnetodb_backup.plugins.loading import load_scope
from magnetodb_backup.tasks.backup import Release, Released, SnapshotTaken, TakeSnapshot, Uploaded
from magnetodb_backup.tasks.cluster import SelectedTables
from magnetodb_backup.tasks.codec import decode, encode
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import TaskContext

LOG = logging.getLogger(__name__)
_FIRST_WITH_TTL = (4, 1)  # CASSANDRA-16789


_KEPT = 10  # results of uploads


class FinishedUploads:
    """Keeps the results of the newest uploads until the conductor has them, files in ``state_dir``.

    Without its snapshot an upload cannot be repeated.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def find(self, tag: str) -> Uploaded | None:
        """Return the result of the upload of a snapshot, None if none is kept."""
        path = self._path(tag)
        return decode(Uploaded, json.loads(path.read_bytes())) if path.exists() else None

    def keep(self, tag: str, result: Uploaded) -> None:
        """Write a result durably; the oldest ones are removed.

        An upload of a backup that has ended may finish after the one of the next backup.
        """
        disk.write_file(self._path(tag), json.dumps(encode(result)).encode())
        kept = sorted(self._state_dir.glob("finished-*.json"), key=lambda p: p.stat().st_mtime_ns)
        torn = self._state_dir.glob("finished-*.part")  # by a crash: there is one writer at a time
        for older in (*kept[:-_KEPT], *torn):
            older.unlink(missing_ok=True)

    def forget(self, tag: str) -> None:
        """Remove the result of the upload of a snapshot, if one is kept."""
        self._path(tag).unlink(missing_ok=True)

    def _path(self, tag: str) -> Path:
        return self._state_dir / f"finished-{quote(tag, safe='')}.json"


class SnapshotWork:
    """Takes and removes snapshots; ``ttl`` in seconds."""

    def __init__(self, node: LocalNode, finished: FinishedUploads, ttl: int) -> None:
        self._node, self._finished, self._ttl = node, finished, ttl

    def handlers(self) -> tuple[TaskHandler, ...]:
        """Return the handler of each kind of task."""
        return handles(TakeSnapshot, self._take), handles(Release, self._release)

    def tree(self) -> SnapshotTree:
        """Return the snapshots on the node's disks."""
        return SnapshotTree(self._node.data_directories())

    def remove(self, tag: str) -> None:
        """Remove a snapshot and verify that it is gone.

        Cassandra says ok although it finds nothing behind a symbolic link, or is down. What is left
        then is removed here, if this worker may.

        :raises CassandraUnavailable: if Cassandra does not answer.
        :raises SnapshotLeft: if a part of it stays, naming the directories.
        """
        tree = self.tree()
        if not tree.exists(tag):
            return
        self._node.control.clear_snapshot(tag)
        left = tree.remove(tag) if tree.exists(tag) else {}
        if left:
            (first, reason), *others = left.items()
            more = f" and {len(others)} more directories" if others else ""
            raise SnapshotLeft(
                f"snapshot {tag} is still on disk after clearsnapshot, which does not follow "
                f"symbolic links, and this worker cannot remove {first} ({reason}){more}; run "
                f"find -L {' '.join(tree.directories)} -type d -path '*/snapshots/{tag}' -prune "
                "-exec rm -r {} + as a user who may"
            )

    def drop(self, tag: str) -> None:
        """Remove a snapshot that is not needed any more; if that fails, a later release does it."""
        try:
            self.remove(tag)
        except BackupError as error:
            LOG.warning("snapshot %s is left for now: %s", tag, error)

    def _take(self, task: TakeSnapshot, context: TaskContext) -> SnapshotTaken:
        tables = tuple(t.description() for t in task.tables)
        with context.command_of_cassandra():
            self.remove(task.tag)  # a repeated task never adds to a part of a snapshot
        self._finished.forget(task.tag)  # it belongs to the removed snapshot
        ttl = self._ttl if _knows_ttl(self._node.member().version) else None
        started = _now()
        with context.command_of_cassandra():
            self._node.control.take_snapshot(task.tag, [t.name for t in tables], ttl_seconds=ttl)
        finished = _now()
        files, size = self.tree().count(task.tag, tables)
        cql = self._node.cql()
        before = cql.local().schema_version
        schema = keyspaces_digest(cql.schema_rows(), task.keyspaces) if task.keyspaces else ""
        selected = _digest_of_tables(task.scope, cql.cluster_schema()) if task.scope else ""
        after = cql.local().schema_version
        return SnapshotTaken(
            started_at=started,
            finished_at=finished,
            files=files,
            bytes=size,
            ring_sha256=ring_digest(cql.ring()),
            schema_sha256=schema,
            schema_version=after if after == before else "",
            tables_sha256=selected,
        )

    def _release(self, task: Release, context: TaskContext) -> Released:
        with context.command_of_cassandra():
            self.remove(task.tag)
        self._finished.forget(task.tag)
        return Released()


def _knows_ttl(version: str) -> bool:
    """Return whether a release of Cassandra removes snapshots itself; 4.0 and older do not.

    4.0 takes ``--ttl`` of nodetool for the name of a keyspace, and refuses the command.
    """
    release = tuple(int(number) for number in re.findall("[0-9]+", version)[:2])
    return release >= _FIRST_WITH_TTL


def _digest_of_tables(scope: Mapping[str, Any], schema: ClusterSchema) -> str:
    """Return the digest of the tables that a scope selects; another text if it selects none."""
    try:
        return SelectedTables.of(load_scope(scope).select(schema)).digest()
    except (EmptySelection, UnknownTable) as error:
        return error.code


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()
