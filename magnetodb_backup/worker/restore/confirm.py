# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore around its delivery: everything is staged; compaction stays as it was."""

from __future__ import annotations

from collections.abc import Sequence

from magnetodb_backup.cassandra.files.ledger import Ledger
from magnetodb_backup.cassandra.files.staging import Staging
from magnetodb_backup.domain.restore.compaction import is_switched_off
from magnetodb_backup.domain.restore.parts import Part, checked_name
from magnetodb_backup.tasks.restore import Confirm, Confirmed, Done, ExpectedPart, KeepCompactionOff
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import TaskContext


class ConfirmWork:
    """Looks at one node before anything is emptied or stopped."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(Confirm, self._confirm), handles(KeepCompactionOff, self._keep_off)]

    def _confirm(self, task: Confirm, context: TaskContext) -> Confirmed:
        """Compare what is staged with what was downloaded; report how tables are compacted."""
        directories = self._node.known().data_directories
        confirm_staged(Staging(directories, task.restore_id), task.own_parts(), task.expected)
        if not task.tables:
            return Confirmed()
        settings = self._node.cql().table_settings([checked_name(t) for t in task.tables])
        compacted = {t: s.compaction for t, s in settings.items()}
        compacted = {t: options for t, options in compacted.items() if not is_switched_off(options)}
        off = self._node.control.autocompaction_off(sorted(compacted))
        return Confirmed({str(t): options for t, options in sorted(compacted.items())}, tuple(off))

    def _keep_off(self, task: KeepCompactionOff, context: TaskContext) -> Done:
        self._node.control.disable_autocompaction([checked_name(t) for t in task.tables])
        return Done()


def confirm_staged(
    staging: Staging, parts: Sequence[Part], expected: Sequence[ExpectedPart]
) -> None:
    """Compare what was delivered and is staged of each part with what is expected.

    :raises StagedFilesLost: naming what is missing.
    """
    ledger = Ledger(staging)
    for number, part in enumerate(parts):
        wanted = expected[number] if number < len(expected) else None
        ledger.check(
            part.source,
            {ref.target for ref in part.tables},
            (wanted.sstables, wanted.digest) if wanted else None,
        )
