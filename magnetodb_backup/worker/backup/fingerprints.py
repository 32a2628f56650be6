# SPDX-License-Identifier: Apache-2.0
"""The tasks that read rows: take the fingerprints of a backup, check a restore against them."""

from __future__ import annotations

import io
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import tee
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.fingerprints import (
    Fingerprint,
    RangeFingerprint,
    RangeState,
    RowDigest,
    TableCheck,
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
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.node import LocalNode, RowSource
from magnetodb_backup.worker.restore.preflight import table_name
from magnetodb_backup.worker.tasks import Handler, TaskContext

LOG = logging.getLogger(__name__)
_PIECE = 1 << 16
Item = TypeVar("Item")
Found = TypeVar("Found")


class FingerprintWork:
    """Reads token ranges, ``concurrency`` of them at once.

    What a backup's first look finds lies in ``state_dir`` until the next backup's.
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

    def handlers(self) -> Mapping[TaskKind, Handler]:
        """Return what does each kind of task."""
        return {
            TaskKind.FIGURES_BEFORE: self._before,
            TaskKind.FIGURES_AFTER: self._after,
            TaskKind.RESTORE_CHECK: self._check,
        }

    # The tasks.

    def _before(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Look at all rows for the first time."""
        for older in self._state_dir.glob("figures-*"):
            older.unlink()
        reasons: dict[str, str] = {}
        part = self._kept(arguments).with_suffix(".part")
        with part.open("wb") as file:
            writer = FingerprintsWriter(
                file, str(arguments["backup_id"]), str(arguments["host_id"])
            )
            for fingerprint in self._look(_wanted(arguments), reasons, context):
                writer.add(fingerprint)
            writer.finish()
        part.replace(self._kept(arguments))
        return {"unread": reasons}

    def _after(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Look again, and store what both looks together tell.

        The backup does not fail for lack of fingerprints: a problem is its own result.
        """
        try:
            return self._settle(arguments, context)
        except (BackupError, OSError) as error:
            context.check()
            LOG.warning("no fingerprints: %s", error)
            return {"problem": str(error)}

    def _settle(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        backup_id, host_id = str(arguments["backup_id"]), str(arguments["host_id"])
        body, reasons = io.BytesIO(), dict[str, str]()
        writer = FingerprintsWriter(body, backup_id, host_id)
        tables: dict[str, TableFingerprints] = {}
        if not self._kept(arguments).exists():
            raise FileVanished(
                f"{self._kept(arguments)} is gone; who removes files from the worker's state_dir?"
            )
        with self._kept(arguments).open("rb") as kept:
            pieces = iter(lambda: kept.read(_PIECE), b"")
            before, again = tee(FingerprintsReader(pieces, str(kept.name), backup_id))
            wanted = ((f.table, f.range) for f in again)
            for old, new in zip(before, self._look(wanted, reasons, context), strict=True):
                fingerprint = settled(old, new)
                writer.add(fingerprint)
                name = str(fingerprint.table)
                tables[name] = tables.get(name, TableFingerprints()).plus(fingerprint.state)
        writer.finish()
        cluster = ClusterRepository(self._storage, self._prefix, str(arguments["cluster"]))
        stored = cluster.put_fingerprints(backup_id, host_id, body.getvalue())
        return {
            "figures": asdict(stored),
            "tables": {name: asdict(found) for name, found in tables.items()},
            "unread": reasons,
        }

    def _check(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Read this node's ranges of the restored tables and compare them."""
        targets = {table_name(s): table_name(t) for s, t in arguments["tables"]}
        ranges = frozenset(TokenRange.from_json(r) for r in arguments["ranges"])
        backup_id = str(arguments["backup_id"])
        source = ClusterRepository(self._storage, self._prefix, str(arguments["source_cluster"]))
        reader = self._node.cql().row_reader(context.check)
        checks: dict[str, TableCheck] = {}

        def expected() -> Iterator[RangeFingerprint]:
            for stored in arguments["figures"]:
                for fingerprint in source.fingerprints(backup_id, StoredObject(**stored)):
                    if fingerprint.table in targets and fingerprint.range in ranges:
                        yield fingerprint

        def read(fingerprint: RangeFingerprint) -> Fingerprint | None:
            if fingerprint.state is not RangeState.STEADY:
                return None
            return _digest(reader, targets[fingerprint.table], fingerprint.range)

        for fingerprint, found in self._side_by_side(expected(), read):
            name = f"{targets[fingerprint.table].keyspace}.{targets[fingerprint.table].table}"
            check = checks.get(name, TableCheck())
            checks[name] = (
                check.left_out(fingerprint.state)
                if found is None
                else check.compared(fingerprint, found)
            )
        return {"checks": {name: check.as_json() for name, check in checks.items()}}

    # Parts.

    def _kept(self, arguments: Mapping[str, Any]) -> Path:
        """Return where what a backup's first look has found lies."""
        return self._state_dir / f"figures-{quote(str(arguments['tag']), safe='')}.jsonl.zst"

    def _look(
        self,
        wanted: Iterable[tuple[TableName, TokenRange]],
        reasons: dict[str, str],
        context: TaskContext,
    ) -> Iterator[RangeFingerprint]:
        """Read ranges; why one cannot be read is told in ``reasons``, by table."""
        reader = self._node.cql().row_reader(context.check)

        def read(what: tuple[TableName, TokenRange]) -> Fingerprint | None:
            table, range_ = what
            if str(table) in reasons:
                return None  # it would fail again, and each failure takes its time
            try:
                return _digest(reader, table, range_)
            except BackupError as error:
                context.check()
                LOG.warning("no fingerprints of %s, range %s: %s", table, range_, error)
                reasons.setdefault(str(table), str(error))
                return None

        for (table, range_), fingerprint in self._side_by_side(wanted, read):
            yield read_once(table, range_, fingerprint)

    def _side_by_side(
        self, items: Iterable[Item], read: Callable[[Item], Found]
    ) -> Iterator[tuple[Item, Found]]:
        """Yield each item with what ``read`` found, in order; few are waited for at a time."""
        pending: deque[tuple[Item, Future[Found]]] = deque()
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="figures") as pool:
            try:
                for item in items:
                    pending.append((item, pool.submit(read, item)))
                    if len(pending) > 2 * self._concurrency:
                        done, future = pending.popleft()
                        yield done, future.result()
                while pending:
                    done, future = pending.popleft()
                    yield done, future.result()
            finally:
                for _, future in pending:
                    future.cancel()


def _wanted(arguments: Mapping[str, Any]) -> Iterator[tuple[TableName, TokenRange]]:
    ranges = sorted(TokenRange.from_json(r) for r in arguments["ranges"])
    for table in sorted(table_name(t) for t in arguments["tables"]):
        for each in ranges:
            yield table, each


def _digest(reader: RowSource, table: TableName, range_: TokenRange) -> Fingerprint:
    digest = RowDigest()
    for page in reader.pages(table, range_):
        digest.add(page)
    return digest.fingerprint()
