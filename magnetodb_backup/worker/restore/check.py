# SPDX-License-Identifier: Apache-2.0
"""The task that compares the rows of restored tables with the backup's fingerprints."""

from __future__ import annotations

from collections.abc import Iterator

from magnetodb_backup.domain.fingerprints import (
    Fingerprint,
    RangeFingerprint,
    RangeState,
    TableCheck,
    TokenRange,
)
from magnetodb_backup.domain.restore.parts import table_key
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.restore_delivery import CheckRows, RowsChecked
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.range_reader import digest_range, side_by_side
from magnetodb_backup.worker.restore.store import store_of
from magnetodb_backup.worker.tasks import TaskContext


class CheckWork:
    """Reads the node's token ranges of restored tables, ``concurrency`` of them at once."""

    def __init__(
        self, node: LocalNode, storage: StorageDriver, prefix: str, concurrency: int
    ) -> None:
        self._node, self._storage = node, storage
        self._prefix, self._concurrency = prefix, concurrency

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(CheckRows, self._check)]

    def _check(self, task: CheckRows, context: TaskContext) -> RowsChecked:
        """Read this node's ranges of the restored tables and compare them."""
        targets = {ref.source: ref.target for ref in (r.checked() for r in task.tables)}
        ranges = frozenset(TokenRange.from_json(r) for r in task.ranges)
        storage = store_of(task, self._storage)
        source = ClusterRepository(storage, self._prefix, task.source_cluster)
        reader = self._node.cql().row_reader(context.raise_if_cancelled)
        checks: dict[str, TableCheck] = {}

        def expected() -> Iterator[RangeFingerprint]:
            for stored in task.figures:
                for fingerprint in source.fingerprints(task.backup_id, stored):
                    if fingerprint.table in targets and fingerprint.range in ranges:
                        yield fingerprint

        def read(fingerprint: RangeFingerprint) -> Fingerprint | None:
            if fingerprint.state is not RangeState.STEADY:
                return None
            return digest_range(reader, targets[fingerprint.table], fingerprint.range)

        for fingerprint, found in side_by_side(expected(), read, self._concurrency):
            name = table_key(targets[fingerprint.table])
            check = checks.get(name, TableCheck())
            checks[name] = (
                check.left_out(fingerprint.state)
                if found is None
                else check.compared(fingerprint, found)
            )
        return RowsChecked(checks)
