# SPDX-License-Identifier: Apache-2.0
"""Workers of an older release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.tasks import NodeWork, TaskContext

# What results have that the first release did not know.
_NEW = {
    TaskKind.PREPARE: ("ring_sha256",),
    TaskKind.SNAPSHOT: ("ring_sha256", "schema_sha256", "schema_version", "tables_sha256"),
    TaskKind.SCHEMA: ("selected_sha256", "release", "selection", "own_version"),
}


class OlderWork:
    """Another work whose results lack what the first release did not know."""

    def __init__(self, work: NodeWork) -> None:
        self._work = work

    def perform(
        self, kind: TaskKind, arguments: Mapping[str, Any], context: TaskContext
    ) -> Mapping[str, Any]:
        result = self._work.perform(kind, arguments, context)
        return {k: v for k, v in result.items() if k not in _NEW.get(kind, ())}
