# SPDX-License-Identifier: Apache-2.0
"""The tasks of a backup on one node."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from magnetodb_backup import disk
from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.domain.backup.manifest import NodeManifestHeader
from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.domain.tables import TableDescription
from magnetodb_backup.errors import (
    BackupError,
    Cancelled,
    CassandraUnavailable,
    FileVanished,
    Transient,
)
from magnetodb_backup.plugins.loading import load_scope
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.file_index import FileIndex
from magnetodb_backup.repository.upload.upload import UploadSettings, upload_node
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.kinds import WITHOUT_CASSANDRA, TaskKind
from magnetodb_backup.worker.head_room import check_head_room
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import Handler, TaskContext

LOG = logging.getLogger(__name__)
_LOOK_EVERY = 0.5  # seconds between two looks whether a waiting upload is cancelled


@dataclass(frozen=True)
class WorkSettings:
    """How this worker works; sizes in bytes, times in seconds."""

    prefix: str
    upload: UploadSettings
    snapshot_ttl: int
    head_room_percent: float
    state_dir: Path


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()


def _tables(arguments: Mapping[str, Any]) -> tuple[TableDescription, ...]:
    return tuple(TableDescription.from_json(t) for t in arguments["tables"])


def _require_whole(arguments: Mapping[str, Any], files: int, size: int) -> None:
    """Raise unless a snapshot has what it had when it was taken.

    :raises FileVanished: a directory that is just being removed looks like a small snapshot.
    """
    taken = arguments.get("snapshot_files", files), arguments.get("snapshot_bytes", size)
    if (files, size) != taken:
        raise FileVanished(
            f"snapshot {arguments['tag']} has {files} files of {size} bytes, but {taken[0]} of "
            f"{taken[1]} when it was taken; somebody clears it, or [worker] snapshot_ttl is too "
            "short"
        )


class BackupWork:
    """Performs tasks; each first proves that it works on the host ID that it is meant for.

    ``others`` do kinds of tasks that are no part of a backup.
    """

    def __init__(
        self,
        node: LocalNode,
        storage: StorageDriver,
        settings: WorkSettings,
        others: Mapping[TaskKind, Handler] | None = None,
    ) -> None:
        self._node = node
        self._storage = storage
        self._settings = settings
        self._uploading = threading.Lock()
        self._handlers: dict[TaskKind, Handler] = {
            TaskKind.DESCRIBE: self._describe,
            TaskKind.RESOLVE: self._resolve,
            TaskKind.PREPARE: self._prepare,
            TaskKind.SCHEMA: self._schema,
            TaskKind.SNAPSHOT: self._snapshot,
            TaskKind.UPLOAD: self._upload,
            TaskKind.RELEASE: self._release,
            **(others or {}),
        }

    def perform(
        self, kind: TaskKind, arguments: Mapping[str, Any], context: TaskContext
    ) -> Mapping[str, Any]:
        if kind in WITHOUT_CASSANDRA:
            self._node.prove_known(str(arguments["host_id"]))
        elif kind is not TaskKind.RELEASE:
            self._node.prove(str(arguments["host_id"]))
        return self._handlers[kind](arguments, context)

    def release(self, tag: str) -> None:
        """Remove a snapshot and look whether it is gone.

        :raises CassandraUnavailable: if it is still there; clearsnapshot says ok even while
            Cassandra is down.
        """
        tree = self._tree()
        if not tree.exists(tag):
            return
        self._node.control.clear_snapshot(tag)
        if tree.exists(tag):
            raise CassandraUnavailable(
                f"snapshot {tag} is still on disk after clearsnapshot; is Cassandra running?"
            )

    def _tree(self) -> SnapshotTree:
        return SnapshotTree(self._node.data_directories())

    def _describe(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        cql = self._node.cql()
        return {
            "member": self._node.member().as_json(),
            "ring": [m.as_json() for m in cql.ring()],
            "data_directories": list(self._node.data_directories()),
            "mode": self._node.control.operation_mode(),
        }

    def _resolve(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        scope = load_scope(arguments["scope"])
        return {"selection": scope.select(self._node.cql().cluster_schema()).as_json()}

    def _prepare(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        mode = self._node.control.operation_mode()
        if mode != "NORMAL":
            raise CassandraUnavailable(
                f"the node is {mode}, not NORMAL; wait until it has joined, or start it"
            )
        tree = self._tree()
        tree.check()
        check_head_room(tree.space(), self._settings.head_room_percent)
        cluster = str(arguments["cluster"])
        ClusterRepository(self._storage, self._settings.prefix, cluster).ensure()
        self._node_repository(cluster, str(arguments["host_id"])).ensure()
        context.check()
        self._node.control.flush([t.name for t in _tables(arguments)])
        return {"prepared_at": _now()}

    def _schema(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        cql = self._node.cql()
        ring = cql.ring()
        text = cql.schema_text()
        absent = arguments.get("absent", ())
        disagreeing = {
            m.schema_version
            for m in (*ring, *cql.ring())
            if m.schema_version and m.host_id not in absent
        }
        if len(disagreeing) > 1:
            raise CassandraUnavailable(
                f"the nodes do not agree on the schema: versions {', '.join(sorted(disagreeing))}; "
                "see nodetool describecluster"
            )
        result: dict[str, Any] = {
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "version": next(iter(disagreeing), ""),
            "ring": sorted([m.host_id, *map(str, m.tokens)] for m in ring),
        }
        if arguments.get("store"):
            repository = ClusterRepository(
                self._storage, self._settings.prefix, str(arguments["cluster"])
            )
            result["schema"] = asdict(repository.put_schema(str(arguments["backup_id"]), text))
        return result

    def _snapshot(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        tag, tables = str(arguments["tag"]), _tables(arguments)
        self.release(tag)  # a repeated task begins anew, never on top of half a snapshot
        self._finished(tag).unlink(missing_ok=True)  # an upload of what was there before
        started = _now()
        self._node.control.take_snapshot(
            tag, [t.name for t in tables], ttl_seconds=self._settings.snapshot_ttl
        )
        finished = _now()
        files, size = self._tree().count(tag, tables)
        return {"started_at": started, "finished_at": finished, "files": files, "bytes": size}

    def _upload(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        # One writer of packs and index; a cancelled upload may still wait for the object store.
        while not self._uploading.acquire(timeout=_LOOK_EVERY):
            context.check()
        try:
            return self._upload_alone(arguments, context)
        except (Transient, Cancelled):
            raise  # another attempt needs the snapshot, or who cancels also removes it
        except Exception:
            self._drop(str(arguments["tag"]))
            raise
        finally:
            self._uploading.release()

    def _upload_alone(
        self, arguments: Mapping[str, Any], context: TaskContext
    ) -> Mapping[str, Any]:
        tag, tables = str(arguments["tag"]), _tables(arguments)
        cluster, host_id = str(arguments["cluster"]), str(arguments["host_id"])
        distrusted: Mapping[str, Any] = arguments.get("distrusted", {})
        member, directories = self._node.member(), self._node.data_directories()
        tree = SnapshotTree(directories)
        if (finished := self._finished(tag)).exists():
            # Its snapshot may be half removed: what is left must not be taken for the whole.
            self._drop(tag)
            return cast("Mapping[str, Any]", json.loads(finished.read_bytes()))
        if tables and not tree.exists(tag):
            raise FileVanished(
                f"snapshot {tag} is gone before it was uploaded; somebody cleared it, or "
                "[worker] snapshot_ttl is too short"
            )
        files_total, bytes_total = tree.count(tag, tables)
        _require_whole(arguments, files_total, bytes_total)
        header = NodeManifestHeader(
            backup_id=str(arguments["backup_id"]),
            cluster=cluster,
            host_id=host_id,
            address=member.address,
            dc=member.dc,
            rack=member.rack,
            version=member.version,
            tokens=member.tokens,
            data_directories=directories,
            snapshot_tag=tag,
            snapshot_started_at=str(arguments["snapshot_started_at"]),
            snapshot_finished_at=str(arguments["snapshot_finished_at"]),
        )

        def report(progress: Progress) -> None:
            context.report(
                Progress(
                    **{**asdict(progress), "files_total": files_total, "bytes_total": bytes_total}
                )
            )

        index = FileIndex(self._settings.state_dir / f"files-{host_id}.sqlite")
        try:
            settings = self._settings.upload
            uploaded = upload_node(
                self._node_repository(cluster, host_id),
                index,
                header,
                lambda: tree.files(tag, tables),
                settings=UploadSettings(
                    **{**asdict(settings), "on_corrupt": str(arguments["on_corrupt"])}
                ),
                spool_directory=self._settings.state_dir,
                progress=report,
                check_cancelled=context.check,
                distrusted=frozenset(distrusted),
            )
        finally:
            index.close()
        _require_whole(arguments, uploaded.files, uploaded.bytes)
        report(uploaded.progress)
        result = {
            "manifest": asdict(uploaded.manifest),
            "files": uploaded.files,
            "bytes": uploaded.bytes,
            "corrupt_files": list(uploaded.corrupt_files),
            "progress": asdict(context.progress),
            "member": member.as_json(),
            "replaced": {pack: distrusted[pack] for pack in uploaded.replaced},
        }
        self._keep(tag, result)
        self._drop(tag)
        return result

    def _release(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        tag = str(arguments["tag"])
        self.release(tag)
        self._finished(tag).unlink(missing_ok=True)
        return {}

    def _drop(self, tag: str) -> None:
        """Remove a snapshot that nobody needs; what cannot be done now, a later release does."""
        try:
            self.release(tag)
        except BackupError as error:
            LOG.warning("snapshot %s is left for now: %s", tag, error)

    def _keep(self, tag: str, result: Mapping[str, Any]) -> None:
        """Write an upload's result to disk: without its snapshot it cannot be repeated."""
        path, directory = self._finished(tag), self._settings.state_dir
        for older in directory.glob("finished-*"):
            older.unlink()
        disk.write_file(path, json.dumps(result).encode())

    def _finished(self, tag: str) -> Path:
        """Return where an upload's result lies until the conductor has it."""
        return self._settings.state_dir / f"finished-{quote(tag, safe='')}.json"

    def _node_repository(self, cluster: str, host_id: str) -> NodeRepository:
        return NodeRepository(self._storage, self._settings.prefix, cluster, host_id)
