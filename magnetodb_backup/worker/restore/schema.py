# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that compare, make and empty tables; one worker does them for all."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from magnetodb_backup.domain.schema.parts import Schema
from magnetodb_backup.domain.schema.planner import (
    SchemaPlan,
    Statement,
    Target,
    plan_schema,
    split_statements,
    table_options,
)
from magnetodb_backup.domain.schema.steps import has_other_id, is_carried_out, is_sai
from magnetodb_backup.domain.tables import TableName, quote
from magnetodb_backup.errors import CommandFailed, SchemaDiffers
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restore.preflight import table_name
from magnetodb_backup.worker.tasks import Handler, TaskContext

LOG = logging.getLogger(__name__)
_AGREEMENT = 60.0  # seconds
_SHOWN = 120  # characters of a statement in a result


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
        """Say what would be made, what differs, which tables exist and have rows.

        Of ``own_tables``, which Cassandra makes itself, the latter is said only.
        Statements are told in full: the steps to come carry out these, not what they find then.
        """
        targets = _targets(arguments)
        plan, present = self._plan(arguments, targets)
        cql = self._node.cql()
        schema = cql.cluster_schema()
        existing = {t.name for t in schema.tables}
        backup = split_statements(self._backup_schema(arguments))
        names = [t.target for t in targets]
        known = [*names, *(table_name(t) for t in arguments.get("own_tables", ()))]
        return {
            "create": [s.text for s in plan.create],
            "views": [s.text for s in plan.views],
            "present_views": [s.text for s in _of_tables(present, "view", names)],
            "present_indexes": [s.text for s in _of_tables(present, "index", names) if is_sai(s)],
            "differences": list(plan.differences),
            "notes": list(plan.notes),
            "exists": {str(name): name in existing for name in known},
            "has_rows": {str(name): name in existing and cql.has_rows(name) for name in known},
            "replication": {k.name: dict(k.replication) for k in schema.keyspaces},
            "gc_grace_seconds": {
                str(t.target): _gc_grace(
                    present if t.target in existing else backup,
                    t.target if t.target in existing else t.source,
                )
                for t in targets
            },
        }

    def _make(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Carry out planned statements, but for those that are; so it may be repeated.

        With ``tables``, those are compared as in preflight: who changes the schema meanwhile
        must not be overlooked.
        """
        statements = [s for text in arguments["statements"] for s in split_statements(str(text))]
        targets = _targets(arguments)
        planned = {TableName(s.keyspace, s.name) for s in statements if s.kind == "table"}
        self._refuse_differences(arguments, [t for t in targets if t.target not in planned])
        present = self._present()
        made = []
        for statement in statements:
            context.check()
            _refuse_other_id(statement, present)
            if is_carried_out(statement, present):
                continue
            LOG.info("schema: %s", statement.text)
            self._execute(statement)
            made.append(statement.text[:_SHOWN])
        self._node.cql().await_schema_agreement(_AGREEMENT)  # on what an earlier attempt made
        self._refuse_differences(arguments, [t for t in targets if t.target in planned])
        return {"made": made}

    def _execute(self, statement: Statement) -> None:
        cql = self._node.cql()
        try:
            cql.execute(statement.text)
        except CommandFailed:
            # An attempt that was given up may still be at work.
            if not is_carried_out(statement, self._present()):
                raise
        cql.await_schema_agreement(_AGREEMENT)

    def _present(self) -> Schema:
        return Schema.read(self._node.cql().schema_text())

    def _refuse_differences(self, arguments: Mapping[str, Any], targets: Sequence[Target]) -> None:
        if targets and (differences := self._plan(arguments, targets)[0].differences):
            raise SchemaDiffers("\n".join(differences))

    def _truncate(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Drop the tables' views, which an import would leave stale, and empty the tables.

        ``indexes`` hinder streaming and are dropped too. Preflight has kept all statements.
        """
        cql = self._node.cql()
        for keyspace, index in arguments["indexes"]:
            context.check()
            cql.execute(f"DROP INDEX IF EXISTS {quote(str(keyspace))}.{quote(str(index))}")
            cql.await_schema_agreement(_AGREEMENT)
        tables = [table_name(t) for t in arguments["tables"]]
        existing = {t.name for t in cql.cluster_schema().tables}
        for statement in _of_tables(split_statements(cql.schema_text()), "view", tables):
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
    return [Target(table_name(s), table_name(t)) for s, t in arguments.get("tables", ())]


def _of_tables(
    statements: Sequence[Statement], kind: str, tables: Sequence[TableName]
) -> list[Statement]:
    wanted = set(tables)
    return [s for s in statements if s.kind == kind and TableName(s.keyspace, s.table) in wanted]


def _refuse_other_id(statement: Statement, present: Schema) -> None:
    if has_other_id(statement, present):
        raise SchemaDiffers(
            f"table {TableName(statement.keyspace, statement.name)} has been made by somebody else "
            "since preflight, with another ID than in the backup; drop it, or repeat the restore "
            "with --existing replace or merge"
        )


def _gc_grace(statements: Sequence[Statement], table: TableName) -> int:
    text = table_options(statements, table).get("gc_grace_seconds", "864000")
    return int(text) if text.isdigit() else 864000
