# SPDX-License-Identifier: Apache-2.0
"""The indexes and views that are dropped before the delivery and created after it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from magnetodb_backup.conductor.job import Results
from magnetodb_backup.domain.schema.steps import statements_by_table
from magnetodb_backup.errors import BackupError
from magnetodb_backup.tasks.restore_schema import MakeSchema
from magnetodb_backup.tasks.restore_steps import Prepared

LOG = logging.getLogger(__name__)


class LateSchema:
    """After a failure: creates again what was dropped, or remembers that it is missing."""

    def __init__(self, restore_id: str) -> None:
        self._restore_id = restore_id
        self._missing = False

    def create_again(self, results: Results, create: Callable[[MakeSchema], object] | None) -> None:
        """Let ``create`` execute the statements that are not in effect; None if nothing may."""
        statements = results.of(Prepared).schema.after
        if not statements:
            return
        self._missing = True
        if create is None:
            return
        try:
            create(MakeSchema(statements=statements))
        except BackupError as error:
            LOG.warning("views of restore %s are not created again: %s", self._restore_id, error)
        else:
            self._missing = False

    def missing(self, results: Results) -> Mapping[str, Sequence[str]]:
        """Return the statements of what may be missing, by table (``keyspace.table``)."""
        return statements_by_table(results.of(Prepared).schema.after) if self._missing else {}
