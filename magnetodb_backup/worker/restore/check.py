# SPDX-License-Identifier: Apache-2.0
"""The task that compares the rows of restored tables with the backup's fingerprints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.fingerprints import (
    Fingerprint,
    RangeFingerprint,
    RangeState,
    TableCheck,
    TokenRange,
)
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.range_reader import digest_range, side_by_side
from magnetodb_backup.worker.restore.preflight import table_name
from magnetodb_backup.worker.tasks import Handler, TaskContext


class CheckWork:
    """Reads the node's token ranges of restored tables, ``concurrency`` of them at once."""

    def __init__(
        self, node: LocalNode, storage: StorageDriver, prefix: str, concurrency: int
    ) -> None:
        self._node, self._storage = node, storage
        self._prefix, self._concurrency = prefix, concurrency

    def handlers(self) -> Mapping[TaskKind, Handler]:
        """Return the handler of each kind of task."""
        return {TaskKind.RESTORE_CHECK: self._check}

    def _check(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Read this node's ranges of the restored tables and compare them."""
        targets = {table_name(s): table_name(t) for s, t in arguments["tables"]}
        ranges = frozenset(TokenRange.from_json(r) for r in arguments["ranges"])
        backup_id = str(arguments["backup_id"])
        source = ClusterRepository(self._storage, self._prefix, str(arguments["source_cluster"]))
        reader = self._node.cql().row_reader(context.raise_if_cancelled)
        checks: dict[str, TableCheck] = {}

        def expected() -> Iterator[RangeFingerprint]:
            for stored in arguments["figures"]:
                for fingerprint in source.fingerprints(backup_id, StoredObject(**stored)):
                    if fingerprint.table in targets and fingerprint.range in ranges:
                        yield fingerprint

        def read(fingerprint: RangeFingerprint) -> Fingerprint | None:
            if fingerprint.state is not RangeState.STEADY:
                return None
            return digest_range(reader, targets[fingerprint.table], fingerprint.range)

        for fingerprint, found in side_by_side(expected(), read, self._concurrency):
            name = f"{targets[fingerprint.table].keyspace}.{targets[fingerprint.table].table}"
            check = checks.get(name, TableCheck())
            checks[name] = (
                check.left_out(fingerprint.state)
                if found is None
                else check.compared(fingerprint, found)
            )
        return {"checks": {name: check.as_json() for name, check in checks.items()}}
