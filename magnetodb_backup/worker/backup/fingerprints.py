# SPDX-License-Identifier: Apache-2.0
"""The tasks that take the fingerprints of a backup: read its token ranges twice, store the result.

Stored names and wire keys call them ``figures``.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator
from itertools import tee
from pathlib import Path
from urllib.parse import quote

from magnetodb_backup.domain.fingerprints import (
    Fingerprint,
    RangeFingerprint,
    TableFingerprints,
    TokenRange,
    read_once,
    settled,
)
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import BackupError, FileVanished
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format.fingerprints import FingerprintsReader, FingerprintsWriter
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.backup import (
    FingerprintsAfter,
    FingerprintsBefore,
    FingerprintsStored,
    FirstRead,
)
from magnetodb_backup.tasks.cluster import table_name
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.range_reader import digest_range, side_by_side
from magnetodb_backup.worker.tasks import TaskContext

LOG = logging.getLogger(__name__)
_PIECE = 1 << 16


class FingerprintWork:
    """Reads token ranges, ``concurrency`` of them at once.

    The result of the first read is a file in ``state_dir`` until the next backup's first read.
    """

    def __init__(
        self,
        node: LocalNode,
        storage: StorageDriver,
        *,
        prefix: str,
        state_dir: Path,
        concurrency: int,
    ) -> None:
        self._node, self._storage = node, storage
        self._prefix, self._state_dir, self._concurrency = prefix, state_dir, concurrency

    def handlers(self) -> tuple[TaskHandler, ...]:
        """Return the handler of each kind of task."""
        return handles(FingerprintsBefore, self._before), handles(FingerprintsAfter, self._after)

    def _before(self, task: FingerprintsBefore, context: TaskContext) -> FirstRead:
        """Read all rows for the first time."""
        for older in self._state_dir.glob("figures-*"):
            older.unlink()
        reasons: dict[str, str] = {}
        part = self._kept(task.tag).with_suffix(".part")
        with part.open("wb") as file:
            writer = FingerprintsWriter(file, task.backup_id, task.host_id)
            for fingerprint in self._read(_wanted(task), reasons, context, local=task.local):
                writer.add(fingerprint)
            writer.finish()
        part.replace(self._kept(task.tag))
        return FirstRead(reasons)

    def _after(self, task: FingerprintsAfter, context: TaskContext) -> FingerprintsStored:
        """Read again, and store what both reads agree on.

        The backup does not fail for lack of fingerprints: a problem is returned as the result.
        """
        try:
            return self._settle(task, context)
        except (BackupError, OSError) as error:
            context.raise_if_cancelled()
            LOG.warning("no fingerprints: %s", error)
            return FingerprintsStored(problem=str(error))

    def _settle(self, task: FingerprintsAfter, context: TaskContext) -> FingerprintsStored:
        body, reasons = io.BytesIO(), dict[str, str]()
        writer = FingerprintsWriter(body, task.backup_id, task.host_id)
        tables: dict[str, TableFingerprints] = {}
        path = self._kept(task.tag)
        if not path.exists():
            raise FileVanished(
                f"{path} is gone; let no other program remove files from the worker's state_dir"
            )
        with path.open("rb") as kept:
            pieces = iter(lambda: kept.read(_PIECE), b"")
            before, again = tee(FingerprintsReader(pieces, str(kept.name), task.backup_id))
            wanted = ((f.table, f.range) for f in again)
            for old, new in zip(
                before, self._read(wanted, reasons, context, local=task.local), strict=True
            ):
                fingerprint = settled(old, new)
                writer.add(fingerprint)
                name = str(fingerprint.table)
                tables[name] = tables.get(name, TableFingerprints()).plus(fingerprint.state)
        writer.finish()
        cluster = ClusterRepository(self._storage, self._prefix, task.cluster)
        stored = cluster.put_fingerprints(task.backup_id, task.host_id, body.getvalue())
        return FingerprintsStored(stored, tables, reasons)

    def _kept(self, tag: str) -> Path:
        """Return the file with the result of a backup's first read."""
        return self._state_dir / f"figures-{quote(tag, safe='')}.jsonl.zst"

    def _read(
        self,
        wanted: Iterable[tuple[TableName, TokenRange]],
        reasons: dict[str, str],
        context: TaskContext,
        *,
        local: bool,
    ) -> Iterator[RangeFingerprint]:
        """Read ranges; ``reasons`` gets for each table that cannot be read the error."""

        def before_page() -> None:
            context.raise_if_cancelled()
            context.get_on()

        reader = self._node.cql().row_reader(before_page, local=local)

        def read(what: tuple[TableName, TokenRange]) -> Fingerprint | None:
            table, range_ = what
            if str(table) in reasons:
                return None  # it would fail again, and each failure takes its time
            try:
                return digest_range(reader, table, range_)
            except BackupError as error:
                context.raise_if_cancelled()
                LOG.warning("no fingerprints of %s, range %s: %s", table, range_, error)
                reasons.setdefault(str(table), str(error))
                return None

        for (table, range_), fingerprint in side_by_side(wanted, read, self._concurrency):
            yield read_once(table, range_, fingerprint)


def _wanted(task: FingerprintsBefore) -> Iterator[tuple[TableName, TokenRange]]:
    ranges = sorted(TokenRange.from_json(r) for r in task.ranges)
    for table in sorted(table_name(t) for t in task.tables):
        for each in ranges:
            yield table, each
