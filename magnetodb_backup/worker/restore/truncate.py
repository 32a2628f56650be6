# SPDX-License-Identifier: Apache-2.0
"""The task of a restore that empties tables; one node does it for all."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from magnetodb_backup.domain.restore.parts import checked_name
from magnetodb_backup.domain.schema.cql_structure import same_text
from magnetodb_backup.domain.schema.parts import Schema
from magnetodb_backup.domain.schema.planner import Statement, split_statements
from magnetodb_backup.domain.schema.steps import is_sai
from magnetodb_backup.domain.tables import TableName, quote
from magnetodb_backup.errors import RestoreRefused, SchemaDiffers
from magnetodb_backup.tasks.restore_schema import Truncate, Truncated
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import TaskContext

_AGREEMENT = 60.0  # seconds


class TruncateWork:
    """Truncates tables right before the delivery, so that they have the delivered rows only.

    Otherwise newer deletions, files of a dropped table, and hints would hide or replace these.
    """

    def __init__(self, node: LocalNode) -> None:
        self._node = node

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(Truncate, self._truncate)]

    def _truncate(self, task: Truncate, context: TaskContext) -> Truncated:
        """Check everything that may have changed since preflight; drop, then truncate.

        Imports bypass views. Preflight has stored the statements that create views and indexes
        again.
        """
        cql = self._node.cql()
        tables = [checked_name(t) for t in task.tables]
        existing = {t.name for t in cql.cluster_schema().tables}
        present = [t for t in tables if t in existing]
        if task.refuse_rows:
            self._refuse_rows(present, context)
        statements = Schema.read(cql.schema_rows()).statements
        views = _of_tables(statements, "view", tables)
        _refuse_unplanned(task, statements, views)
        for keyspace, index in task.indexes:
            context.raise_if_cancelled()
            cql.execute(f"DROP INDEX IF EXISTS {quote(keyspace)}.{quote(index)}")
            cql.await_schema_agreement(_AGREEMENT)
        for view in views:
            context.raise_if_cancelled()
            name = TableName(view.keyspace, view.name)
            cql.execute(f"DROP MATERIALIZED VIEW IF EXISTS {name}")
            cql.await_schema_agreement(_AGREEMENT)
        truncated = []
        for table in present if task.truncate or task.truncate_empty else ():
            context.raise_if_cancelled()
            if task.refuse_rows:
                self._refuse_rows([table], context)
            cql.execute(f"TRUNCATE TABLE {table}")
            truncated.append(str(table))
        return Truncated(tuple(truncated))

    def _refuse_rows(self, tables: Sequence[TableName], context: TaskContext) -> None:
        cql = self._node.cql()
        filled = []
        for table in tables:
            context.raise_if_cancelled()
            if cql.has_rows(table):
                filled.append(str(table))
        if filled:
            raise RestoreRefused(
                f"rows were written to {', '.join(filled)} after preflight; the restore would "
                "delete them. Repeat it with --existing replace, or --existing merge to keep them"
            )


def _of_tables(
    statements: Sequence[Statement], kind: str, tables: Sequence[TableName]
) -> list[Statement]:
    wanted = set(tables)
    return [s for s in statements if s.kind == kind and TableName(s.keyspace, s.table) in wanted]


def _refuse_unplanned(
    task: Truncate, statements: Sequence[Statement], views: Sequence[Statement]
) -> None:
    """Raise if there is a view or an index that the restore would drop for good."""
    if task.planned is UNSET:
        return
    planned = [s for text in task.planned for s in split_statements(text)]
    unplanned = [
        f"materialized view {TableName(view.keyspace, view.name)} of "
        f"{TableName(view.keyspace, view.table)}"
        for view in views
        if not any(s.kind == "view" and same_text(s, view) for s in planned)
    ]
    unplanned += [
        f"storage-attached index {quote(index.keyspace)}.{quote(index.name)} of "
        f"{TableName(index.keyspace, index.table)}"
        for index in _of_tables(statements, "index", task.streamed)
        if is_sai(index) and (index.keyspace, index.name) not in task.indexes
    ]
    if unplanned:
        raise SchemaDiffers(
            f"created or changed after preflight: {'; '.join(unplanned)}. The restore would drop "
            "what it cannot create again; nothing was dropped. Repeat the restore"
        )
