# SPDX-License-Identifier: Apache-2.0
"""Applies the schema of a backup to a scratch Cassandra."""

from __future__ import annotations

import logging
from collections.abc import Callable

from magnetodb_backup.domain.schema.cql_text import Statement
from magnetodb_backup.domain.schema.trial import Trial, whole_trial
from magnetodb_backup.domain.tables import Selection
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.verification import ApplySchema, ApplySchemaAsOf, SchemaApplied
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.tasks import TaskContext
from magnetodb_backup.worker.verification.failures import FailureList
from magnetodb_backup.worker.verification.interface import Scratch, ScratchCql

LOG = logging.getLogger(__name__)
DATA_CENTRE = "datacenter1"  # of a scratch Cassandra


class SchemaTrialWork:
    """Executes the statements of a restore on an empty node; a refused one does not end it."""

    def __init__(self, scratch: Scratch, storage: StorageDriver, prefix: str) -> None:
        self._scratch, self._storage, self._prefix = scratch, storage, prefix

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(ApplySchema, self._apply), handles(ApplySchemaAsOf, self._apply_as_of)]

    def _apply(self, task: ApplySchema, context: TaskContext) -> SchemaApplied:
        return self._apply_from(self._storage, task, context)

    def _apply_as_of(self, task: ApplySchemaAsOf, context: TaskContext) -> SchemaApplied:
        return self._apply_from(self._storage.as_of(task.as_of), task, context)

    def _apply_from(
        self, storage: StorageDriver, task: ApplySchema, context: TaskContext
    ) -> SchemaApplied:
        repository = ClusterRepository(storage, self._prefix, task.cluster)
        rows = repository.schema_rows(task.backup_id).rows
        selection = Selection.from_json(repository.read_backup(task.backup_id).selection)
        trial = whole_trial(
            rows,
            [t.name for t in selection.tables],
            [k.name for k in selection.keyspaces],
            DATA_CENTRE,
        )
        failures = FailureList()
        stop = context.raise_if_cancelled
        with self._scratch.home(stop) as home, home.node(stop, lenient=False) as cql:
            execute_trial(cql, trial, failures, stop)
            version = cql.version()
        return SchemaApplied(len(trial.statements), failures.result(), version)


def execute_trial(
    cql: ScratchCql, trial: Trial, failures: FailureList, raise_if_cancelled: Callable[[], None]
) -> None:
    """Execute all statements, and add what Cassandra refuses to ``failures``."""
    for table, reason in trial.impossible.items():
        failures.add("table", *table, table.table, reason)
    for lost in trial.unreadable:
        of = lost.of
        failures.add(of.kind, of.keyspace, of.table, of.name, lost.reason)
    for statement in trial.statements:
        raise_if_cancelled()
        if message := cql.execute(statement.text):
            LOG.info("the scratch Cassandra refuses %r: %s", statement.text[:200], message)
            failures.add(
                statement.kind, statement.keyspace, _table_of(statement), statement.name, message
            )


def _table_of(statement: Statement) -> str:
    """Return the table that lacks something without this statement; a view is a table itself."""
    return statement.name if statement.kind == "view" else statement.table
