# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that compare and create tables; one node does them for all."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from magnetodb_backup.domain.restore.parts import checked_name
from magnetodb_backup.domain.schema.grants import lost_grants
from magnetodb_backup.domain.schema.parts import Schema
from magnetodb_backup.domain.schema.planner import (
    Statement,
    Target,
    plan_schema,
    split_statements,
    table_options,
)
from magnetodb_backup.domain.schema.skips import Skips
from magnetodb_backup.domain.schema.steps import has_other_id, is_carried_out, is_sai
from magnetodb_backup.domain.tables import SYSTEM_KEYSPACES, TableName
from magnetodb_backup.errors import CommandFailed, SchemaDiffers
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format.schema_rows import StoredSchema
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.restore_schema import Compare, Compared, MakeSchema, SchemaMade
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restore.store import store_of
from magnetodb_backup.worker.restore.view_creation import settle_schema, unsettle_schema
from magnetodb_backup.worker.tasks import TaskContext

LOG = logging.getLogger(__name__)
_AGREEMENT = 60.0  # seconds
_SHOWN = 120  # characters of a statement in a result


class SchemaWork:
    """Compares the backup's schema with the cluster's and executes the missing statements."""

    def __init__(self, node: LocalNode, storage: StorageDriver, prefix: str) -> None:
        self._node, self._storage, self._prefix = node, storage, prefix

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [
            handles(Compare, self._compare),
            handles(MakeSchema, self._make),
        ]

    def _compare(self, task: Compare, context: TaskContext) -> Compared:
        """Compare the schemas; look which tables exist and have rows.

        The statements are returned in full: later steps execute exactly these.
        """
        targets = _targets(task)
        stored = self._stored_schema(task)
        backup, present = Schema.read(stored.rows), self._present()
        skips = Skips.parse(task.skip)
        plan = plan_schema(backup, present, targets, task.whole_keyspaces, skips)
        cql = self._node.cql()
        schema = cql.cluster_schema()
        existing = {t.name for t in schema.tables}
        names = [t.target for t in targets]
        known = [*names, *(checked_name(t) for t in task.own_tables)]
        indexes = [s for s in _of_tables(present, "index", names) if is_sai(s)]
        return Compared(
            create=_texts(plan.create),
            views=_texts(plan.views),
            present_views=_texts(_of_tables(present, "view", names)),
            present_indexes=_texts(indexes),
            differences=tuple(plan.differences),
            notes=tuple(plan.notes),
            exists={str(name): name in existing for name in known},
            has_rows={str(name): name in existing and cql.has_rows(name) for name in known},
            replication={
                k.name: {name: str(value) for name, value in k.replication.items()}
                for k in schema.keyspaces
            },
            gc_grace_seconds=self._gc_grace(targets, known, backup),
            default_time_to_live={
                str(t.target): _seconds("default_time_to_live", backup, t.source, default=0)
                for t in targets
            },
            grown=tuple(str(name) for name in plan.grown),
            skipped=skips.used(),
            grants=None if stored.grants is None else lost_grants(stored.grants, plan.create),
            lost=plan.lost,
            user_tables=sum(
                t.name.keyspace not in SYSTEM_KEYSPACES and not t.is_view for t in schema.tables
            ),
            masked={
                str(name): columns
                for name in names
                if name in existing and (columns := cql.masked_columns(name))
            },
        )

    def _gc_grace(
        self, targets: Sequence[Target], known: Sequence[TableName], backup: Schema
    ) -> Mapping[str, int]:
        """Return the smaller value of the backup's and the target's tables."""
        present = self._node.cql().table_settings(known)
        found = {str(name): settings.gc_grace_seconds for name, settings in present.items()}
        for t in targets:
            seconds = _seconds("gc_grace_seconds", backup, t.source, default=864000)
            found[str(t.target)] = min(seconds, found.get(str(t.target), seconds))
        return found

    def _make(self, task: MakeSchema, context: TaskContext) -> SchemaMade:
        """Execute the planned statements, skipping those already in effect.

        So the task can be repeated. ``task.tables`` are compared as in preflight, because the
        schema may have been changed since.
        """
        statements = [s for text in task.statements for s in split_statements(text)]
        targets = _targets(task)
        planned = {_name(s) for s in statements if s.kind == "table"}
        backup = Schema.read(self._stored_schema(task).rows) if targets else Schema()
        self._refuse_differences(task, [t for t in targets if t.target not in planned], backup)
        present = self._present()
        made = []
        try:
            for statement in statements:
                context.raise_if_cancelled()
                _refuse_other_id(statement, present)
                if is_carried_out(statement, present):
                    continue
                LOG.info("schema: %s", statement.text)
                self._execute(statement)
                made.append(statement.text[:_SHOWN])
        finally:
            settle_schema(self._node.cql(), [s.keyspace for s in statements if s.kind == "view"])
        self._node.cql().await_schema_agreement(_AGREEMENT)  # on what an earlier attempt made
        self._refuse_differences(task, [t for t in targets if t.target in planned], backup)
        return SchemaMade(tuple(made))

    def _execute(self, statement: Statement) -> None:
        cql = self._node.cql()
        if statement.kind == "view":
            unsettle_schema(cql, statement.keyspace)
        try:
            cql.execute(statement.text)
        except CommandFailed:
            # An attempt that was abandoned may still be running.
            if not is_carried_out(statement, self._present()):
                raise
        cql.await_schema_agreement(_AGREEMENT)
        if statement.kind == "table":
            # Its directory may have files that a crash during a drop has left.
            cql.execute(f"TRUNCATE TABLE {_name(statement)}")

    def _present(self) -> Schema:
        return Schema.read(self._node.cql().schema_rows())

    def _refuse_differences(
        self, task: MakeSchema, targets: Sequence[Target], backup: Schema
    ) -> None:
        if not targets:
            return
        plan = plan_schema(
            backup, self._present(), targets, task.whole_keyspaces, Skips.parse(task.skip)
        )
        refused = (*plan.differences, *(plan.lost if task.exact else ()))
        if refused:
            raise SchemaDiffers("\n".join(refused))

    def _stored_schema(self, task: Compare | MakeSchema) -> StoredSchema:
        storage = store_of(task, self._storage)
        repository = ClusterRepository(storage, self._prefix, task.source_cluster)
        return repository.schema_rows(task.backup_id)


def _targets(task: Compare | MakeSchema) -> list[Target]:
    return [Target(*ref.checked()) for ref in task.tables]


def _name(statement: Statement) -> TableName:
    return TableName(statement.keyspace, statement.name)


def _texts(statements: Iterable[Statement]) -> tuple[str, ...]:
    return tuple(statement.text for statement in statements)


def _of_tables(schema: Schema, kind: str, tables: Sequence[TableName]) -> list[Statement]:
    wanted = set(tables)
    return [
        s for s in schema.statements if s.kind == kind and TableName(s.keyspace, s.table) in wanted
    ]


def _refuse_other_id(statement: Statement, present: Schema) -> None:
    if has_other_id(statement, present):
        raise SchemaDiffers(
            f"table {TableName(statement.keyspace, statement.name)} was created after preflight "
            "outside of this restore, with another ID than in the backup; drop it, or repeat the "
            "restore with --existing replace or merge"
        )


def _seconds(option: str, schema: Schema, table: TableName, default: int) -> int:
    text = table_options(schema.statements, table).get(option, "")
    return int(text) if text.isdigit() else default
