# SPDX-License-Identifier: Apache-2.0
"""Keeps Cassandra from compacting tables until all parts are in them.

The step CONFIRM stores the options that the tables have, so any conductor can give them back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from magnetodb_backup.conductor.fanout import Fanout
from magnetodb_backup.conductor.job import Results
from magnetodb_backup.conductor.restore.nodes import TargetNodes
from magnetodb_backup.domain.restore.compaction import hold_statements, release_statements
from magnetodb_backup.errors import BackupError
from magnetodb_backup.tasks.restore import KeepCompactionOff
from magnetodb_backup.tasks.restore_schema import MakeSchema
from magnetodb_backup.tasks.restore_steps import Selected, StagingConfirmed

LOG = logging.getLogger(__name__)


class CompactionHold:
    """Switches automatic compaction of the restored tables off and on; each can be repeated."""

    def __init__(self, nodes: TargetNodes, restore_id: str) -> None:
        self._nodes, self._restore_id = nodes, restore_id
        self._left: Mapping[str, str] = {}

    def hold(self, results: Results) -> None:
        """Switch it off for the tables that Cassandra compacts by itself."""
        compaction = results.of(StagingConfirmed).compaction
        if compaction:
            statements = hold_statements(compaction, _views(results))
            self._nodes.run_on_first(results, "hold", MakeSchema(statements=statements))

    def release(self, results: Results) -> None:
        """Give the tables their options again; what nodetool had switched off stays off."""
        if statements := self._statements(results):
            task = MakeSchema(statements=tuple(statements.values()))
            self._nodes.run_on_first(results, "release", task)
        self._nodes.run(results, "keep_off", self._off(results))

    def undo(self, results: Results, fanout: Fanout) -> None:
        """After a failure: release as far as possible, and remember what may still be held."""
        statements = self._statements(results)
        if not statements:
            return
        task = MakeSchema(statements=tuple(statements.values()))
        try:
            self._nodes.run_on_one(results, "release_again", task, fanout)
        except BackupError as error:
            LOG.warning("compaction stays off after restore %s: %s", self._restore_id, error)
            self._left = statements
        self._nodes.run_to_the_end(results, "keep_off_again", self._off(results), fanout)

    def left(self) -> Mapping[str, str]:
        """Return by table, as in CQL, the statement that could not be executed after a failure."""
        return self._left

    def _statements(self, results: Results) -> Mapping[str, str]:
        confirmed = results.find(StagingConfirmed)
        return release_statements(confirmed.compaction, _views(results)) if confirmed else {}

    def _off(self, results: Results) -> Mapping[str, KeepCompactionOff]:
        off = results.of(StagingConfirmed).off
        return {host_id: KeepCompactionOff(tables=tables) for host_id, tables in off.items()}


def _views(results: Results) -> frozenset[str]:
    return frozenset(str(ref.target) for ref in results.of(Selected).views)
