# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that compare, make and empty tables; one worker does them for all."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from magnetodb_backup.domain.schema import (
    SchemaPlan,
    Statement,
    Target,
    plan_schema,
    split_statements,
    table_options,
)
from magnetodb_backup.domain.tables import TableName, quote
from magnetodb_backup.domain.tasks import TaskKind
from magnetodb_backup.errors import SchemaDiffers
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restoring import table_name
from magnetodb_backup.worker.tasks import Handler, TaskContext

LOG = logging.getLogger(__name__)
_AGREEMENT = 60.0  # seconds
_SHOWN = 120  # characters of a statement in a plan


class SchemaWork:
    """Compares the backup's schema with the cluster's and carries the difference out."""

    def __init__(self, node: LocalNode, storage: StorageDriver, prefix: str) -> None:
        self._node, self._storage, self._prefix = node, storage, prefix

    def handlers(self) -> Mapping[TaskKind, Handler]:
        """Return what does each kind of task."""
        return {
            TaskKind.RESTORE_COMPARE: self._compare,
            TaskKind.RESTORE_SCHEMA: self._make,
            TaskKind.RESTORE_TRUNCATE: self._truncate,
        }

    def _compare(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Say what would be made, what differs, which tables exist and have rows."""
        targets = _targets(arguments)
        plan, present = self._plan(arguments, targets)
        cql = self._node.cql()
        catalogue = cql.catalogue()
        existing = {t.name for t in catalogue.tables}
        backup = split_statements(self._backup_schema(arguments))
        return {
            "create": [s.text[:_SHOWN] for s in plan.create],
            "views": [[s.keyspace, s.name] for s in plan.views],
            "present_views": [s.text for s in _views_of(present, [t.target for t in targets])],
            "differences": list(plan.differences),
            "notes": list(plan.notes),
            "exists": {str(t.target): t.target in existing for t in targets},
            "has_rows": {
                str(t.target): t.target in existing and cql.has_rows(t.target) for t in targets
            },
            "replication": {k.name: dict(k.replication) for k in catalogue.keyspaces},
            "gc_grace_seconds": {
                str(t.target): _gc_grace(
                    present if t.target in existing else backup,
                    t.target if t.target in existing else t.source,
                )
                for t in targets
            },
        }

    def _make(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Make what is missing: tables, or with ``views`` the views; may be repeated."""
        plan, present = self._plan(arguments, _targets(arguments))
        if plan.differences:
            raise SchemaDiffers("\n".join(plan.differences))
        wanted: dict[tuple[str, str], Statement] = {}
        if arguments.get("views"):
            extra = [s for text in arguments["kept_views"] for s in split_statements(str(text))]
            known = {(s.keyspace, s.name) for s in present if s.kind == "view"}
            wanted = {(s.keyspace, s.name): s for s in (*plan.views, *extra)}
            statements = [s for name, s in wanted.items() if name not in known]
        else:
            statements = list(plan.create)
        for statement in statements:
            context.check()
            LOG.info("schema: %s", statement.text[:_SHOWN])
            self._node.cql().execute(statement.text)
            self._node.cql().await_schema_agreement(_AGREEMENT)
        return {
            "made": [s.text[:_SHOWN] for s in statements],
            "views": [list(name) for name in sorted(wanted)],
        }

    def _truncate(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Drop the tables' views, which an import would leave stale, and empty the tables.

        Preflight has kept the views' statements.
        """
        cql = self._node.cql()
        tables = [table_name(t) for t in arguments["tables"]]
        existing = {t.name for t in cql.catalogue().tables}
        for statement in _views_of(split_statements(cql.schema_text()), tables):
            context.check()
            name = TableName(statement.keyspace, statement.name)
            cql.execute(f"DROP MATERIALIZED VIEW IF EXISTS {name}")
            cql.await_schema_agreement(_AGREEMENT)
        truncated = []
        for table in tables if arguments["truncate"] else ():
            context.check()
            if table in existing:
                cql.execute(f"TRUNCATE TABLE {quote(table.keyspace)}.{quote(table.table)}")
                truncated.append(str(table))
        return {"truncated": truncated}

    # Parts.

    def _plan(
        self, arguments: Mapping[str, Any], targets: Sequence[Target]
    ) -> tuple[SchemaPlan, tuple[Statement, ...]]:
        present = self._node.cql().schema_text()
        plan = plan_schema(
            self._backup_schema(arguments),
            present,
            targets,
            [str(k) for k in arguments["whole_keyspaces"]],
        )
        return plan, split_statements(present)

    def _backup_schema(self, arguments: Mapping[str, Any]) -> str:
        repository = ClusterRepository(
            self._storage, self._prefix, str(arguments["source_cluster"])
        )
        return repository.read_schema(str(arguments["backup_id"]))


def _targets(arguments: Mapping[str, Any]) -> list[Target]:
    return [Target(table_name(s), table_name(t)) for s, t in arguments["tables"]]


def _views_of(statements: Sequence[Statement], tables: Sequence[TableName]) -> list[Statement]:
    wanted = set(tables)
    return [s for s in statements if s.kind == "view" and TableName(s.keyspace, s.table) in wanted]


def _gc_grace(statements: Sequence[Statement], table: TableName) -> int:
    text = table_options(statements, table).get("gc_grace_seconds", "864000")
    return int(text) if text.isdigit() else 864000
