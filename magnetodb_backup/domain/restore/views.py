# SPDX-License-Identifier: Apache-2.0
"""Restores as the REST API and ``-f json`` show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from magnetodb_backup.domain.backup.views import time_view, with_progress
from magnetodb_backup.domain.restore.records import NodeRestore, Restore


def restore_view(restore: Restore, nodes: Sequence[NodeRestore] | None = None) -> dict[str, Any]:
    """Return a restore's fields; with ``nodes`` all: its plan, tables and nodes too."""
    view: dict[str, Any] = {
        "id": restore.id,
        "backup_id": restore.backup_id,
        "source_cluster": restore.source_cluster,
        "cluster": restore.cluster,
        "status": restore.status.value,
        "phase": restore.phase,
        "error": restore.error,
        "waiting_for": restore.waiting_for,
        "request": restore.request.as_json(),
        "created_at": time_view(restore.created_at),
        "updated_at": time_view(restore.updated_at),
        "finished_at": time_view(restore.finished_at),
    }
    if nodes is not None:  # thousands of tables: too much for lists
        view["plan"] = dict(restore.plan) if restore.plan is not None else None
        view["tables"] = dict(restore.tables)
        view["checks"] = dict(restore.checks) if restore.checks is not None else None
        view["nodes"] = [node_restore_view(n) for n in nodes]
    return view


def node_restore_view(node: NodeRestore) -> dict[str, Any]:
    """Return the fields of a node's part of a restore."""
    return with_progress(node)
